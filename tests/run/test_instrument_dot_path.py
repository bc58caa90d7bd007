from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.model.errors import InputError
from marianne_core.run.instrument.dot_path import find_all, find_first, parse_path

DATA = {
    "result": "done",
    "items": [{"text": "one"}, {"text": "two"}, {}],
    "stats": {"models": {"pro-2.5": {"in": 3}, "flash": {"in": 4}, "odd": 7}},
    "0": "zero",
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("result", ["done"]),
        ("items[0].text", ["one"]),
        ("items[-2].text", ["two"]),
        ("items.1.text", ["two"]),
        ("items[*].text", ["one", "two"]),
        ("items.*.text", ["one", "two"]),
        ("stats.models.*.in", [3, 4]),
        ("0", ["zero"]),
        ("items[7].text", []),
        ("result.text", []),
        ("nothing.at.all", []),
        ("*.models.flash.in", [4]),
    ],
)
def test_values_at_a_path(path: str, found: list[object]) -> None:
    assert list(find_all(DATA, path)) == found
    assert find_first(DATA, path) == (found[0] if found else None)


@pytest.mark.parametrize("path", ["", ".a", "a.", "a..b", "a[", "a[x]", "a]b", "a[0]b", "a.[0]"])
def test_a_broken_path_is_refused_with_the_place(path: str) -> None:
    with pytest.raises(InputError, match="is not a path into JSON"):
        parse_path(path)


def test_a_list_at_the_top() -> None:
    assert find_first([{"a": 1}, {"a": 2}], "[-1].a") == 2


_KEYS = st.text(st.characters(exclude_characters=".[]", exclude_categories=["Cs"]), min_size=1)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


def _leaves(data: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every value below the top, with the path that names it."""
    found: list[tuple[str, Any]] = []
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "*":
                continue
            below = f"{path}.{key}" if path else key
            found += [(below, value), *_leaves(value, below)]
    elif isinstance(data, list):
        for at, value in enumerate(data):
            below = f"{path}[{at}]"
            found += [(below, value), *_leaves(value, below)]
    return found


@settings(max_examples=150, deadline=None)
@given(_JSON)
def test_every_value_is_found_by_its_path(data: Any) -> None:
    for path, value in _leaves(data):
        assert list(find_all(data, path)) == [value]


@settings(max_examples=200, deadline=None)
@given(_JSON, st.text(st.sampled_from("ab.[]*0-1"), max_size=12))
def test_any_path_is_refused_or_finds_parts_of_the_data(data: Any, path: str) -> None:
    try:
        found = list(find_all(data, path))
    except InputError:
        return
    values = [value for _, value in _leaves_with_stars(data)]
    assert all(any(value is other for other in values) for value in found)


def _leaves_with_stars(data: Any) -> list[tuple[str, Any]]:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    found: list[tuple[str, Any]] = []
    for value in inner:
        found += [("", value), *_leaves_with_stars(value)]
    return found
