"""Answers that come in pieces of any size, and values that nobody expects."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.ask.families import FAMILIES
from marianne_core.ask.report import Report
from marianne_core.ask.stream import read_answer
from marianne_core.ask.trouble import Trouble
from tests.ask.service import chunks, lines, said

WORDS = ("La ", "é😀\u2028", "la.")
SSE = "text/event-stream; charset=utf-8"


def _events(events: list[Any], end: str = "\n") -> bytes:
    texts = [e if isinstance(e, str) else json.dumps(e, ensure_ascii=False) for e in events]
    return "".join(f": hello{end}event: x{end}data: {t}{end}{end}" for t in texts).encode()


ANSWERS = {
    "anthropic": (SSE, _events(said(*WORDS))),
    "openai": (SSE, _events(chunks(*WORDS), "\r\n")),
    "ollama": ("application/x-ndjson", "\n".join(map(json.dumps, lines(*WORDS))).encode()),
}


def _read(family: str, kind: str, data: bytes, cuts: list[int]) -> tuple[str, list[str]]:
    """The whole answer, and the pieces that were told."""
    stream = io.BytesIO()
    reader = FAMILIES[family](Report(stream))

    def pieces() -> Iterator[bytes]:
        places = [0, *sorted(cuts), len(data)]
        for start, end in pairwise(places):
            yield data[start:end]

    read_answer(pieces(), kind, reader.take, by_line=family == "ollama")
    reader.check_end()
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    return reader.report.text, [each["text"] for each in told if each["type"] == "text"]


@pytest.mark.parametrize("family", ANSWERS)
@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_where_the_pieces_are_cut_makes_no_difference(family: str, cuts: list[int]) -> None:
    kind, data = ANSWERS[family]
    assert _read(family, kind, data, cuts) == ("".join(WORDS), list(WORDS))


@pytest.mark.parametrize("family", ANSWERS)
@settings(max_examples=40)
@given(end=st.integers(0, 2000))
def test_half_an_answer_is_none(family: str, end: int) -> None:
    kind, data = ANSWERS[family]
    marks = {"anthropic": b"message_stop", "openai": b"finish_reason", "ollama": b'"done": true'}
    whole = data.rindex(marks[family])
    with pytest.raises(Trouble, match="the answer was cut"):
        _read(family, kind, data[: min(end, whole)], [])


def test_characters_in_halves() -> None:
    """Some services cut a text between the two halves of a character."""
    one = b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n'
    other = b'data: {"choices":[{"delta":{"content":"\\ude00"},"finish_reason":"stop"}]}\n\n'
    assert _read("openai", SSE, one + other, [])[0] == "😀"


def test_thoughts_and_parts() -> None:
    stream = io.BytesIO()
    reader = FAMILIES["openai"](Report(stream))
    part = {"content": [{"type": "text", "text": "La"}, 7, None], "reasoning_content": "Hm"}
    reader.take({"choices": [{"message": part, "finish_reason": "stop"}]})
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert told == [{"type": "thinking", "text": "Hm"}, {"type": "text", "text": "La"}]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = (
    *("type", "message", "delta", "usage", "content_block", "choices", "error", "content"),
    *("model", "id", "done", "done_reason", "prompt_eval_count", "prompt_tokens_details"),
)
KINDS = (
    *("message_start", "message_delta", "content_block_delta", "content_block_start", "message"),
    *("message_stop", "error"),
)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40)
@given(part=st.dictionaries(st.sampled_from(NAMES), anything), kind=st.sampled_from(KINDS))
def test_no_value_breaks_it(family: str, part: dict[str, Any], kind: str) -> None:
    reader = FAMILIES[family](Report(io.BytesIO()))
    for each in (part, {**part, "type": kind}, {**part, "choices": [part]}):
        with suppress(Trouble):
            reader.take(each)
