from __future__ import annotations

import pytest

from marianne_core.model.errors import InputError
from marianne_tui.cli.variables import parse_variables


def test_values_are_read_as_yaml_scalars() -> None:
    pairs = [
        "a=3",
        "b=1.5",
        "c=true",
        "d=text",
        'e="3"',
        "f=",
        "g=x=y",
        "h=[1, 2]",
        "i=a: b",
        "j=.inf",
    ]
    assert parse_variables(pairs) == {
        "a": 3,
        "b": 1.5,
        "c": True,
        "d": "text",
        "e": "3",
        "f": "",
        "g": "x=y",
        "h": "[1, 2]",
        "i": "a: b",
        "j": ".inf",
    }


def test_dates_and_broken_yaml_stay_text_and_the_last_wins() -> None:
    assert parse_variables(["a=2024-01-01", "b='open", "c=1", "c=2"]) == {
        "a": "2024-01-01",
        "b": "'open",
        "c": 2,
    }


@pytest.mark.parametrize("pair", ["novalue", "=3", "two words=1", "1a=2"])
def test_what_is_not_key_value_is_refused(pair: str) -> None:
    with pytest.raises(InputError, match="KEY=VALUE"):
        parse_variables([pair])
