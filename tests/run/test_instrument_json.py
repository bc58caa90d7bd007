from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.run.instrument.json_text import JsonLines, parse_json, parse_output


def _fed(chunks: list[bytes], limit: int = 1 << 20) -> tuple[list[object], int]:
    lines = JsonLines(limit)
    values = [value for chunk in chunks for value in lines.feed(chunk)]
    values += lines.finish()
    return values, lines.skipped


_VALUES = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), max_size=3),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(_VALUES, st.lists(st.integers(0, 400), max_size=20), st.booleans())
def test_events_do_not_depend_on_the_chunks(
    values: list[Any], cuts: list[int], newline_at_end: bool
) -> None:
    whole = "\n".join(json.dumps(v, ensure_ascii=False) for v in values).encode()
    whole += b"\n" if newline_at_end else b""
    places = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    chunks = [whole[a:b] for a, b in pairwise(places)]
    assert _fed(chunks) == (values, 0)


def test_lines_that_are_no_json_are_counted_and_passed_over() -> None:
    assert _fed([b'warming up\n{"a":1}\n\n  \n{"a":\n[2]\r\n']) == ([{"a": 1}, [2]], 2)


def test_an_endless_line_costs_no_memory_and_does_not_hide_the_next() -> None:
    lines = JsonLines(line_limit=1000)
    for _ in range(1000):
        assert list(lines.feed(b"x" * 900)) == []
    assert list(lines.feed(b'\n{"a":1}\n')) == [{"a": 1}]
    assert lines.skipped == 1


def test_half_characters_are_accepted() -> None:
    assert parse_json('{"a": "cut \\ud83d"}') == {"a": "cut \ud83d"}
    assert parse_json(b'["\\udc00"]') == ["\udc00"]


@pytest.mark.parametrize("text", ["", "no", "[" * 100_000, '{"a":1} x', '["\\u"]'])
def test_what_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        'Loaded credentials.\n{"a": 1}',
        'Loaded credentials.\n{"a": 1}\nbye\n',
        'first\n{\n  "a": 1\n}\n',
        'first\n{\n  "a": 1\n}\nthen a warning\n',
        '\n\n  {"a": 1}\n\n',
    ],
)
def test_a_document_with_other_lines_around_it(text: str) -> None:
    assert parse_output(text) == {"a": 1}


@pytest.mark.parametrize("text", ["plain words\nof two lines", "{ not json }", "[1, 2"])
def test_output_without_a_document(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_output(text)
