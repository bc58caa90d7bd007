"""Lines out of a byte stream."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.serve.lines import LineReader, TooLong

LIMIT = 10
TOO_LONG = "too long"


async def read_all(chunks: list[bytes]) -> list[bytes | str]:
    stream = asyncio.StreamReader()
    reader = LineReader(stream, LIMIT)

    async def feed() -> None:
        for chunk in chunks:
            stream.feed_data(chunk)
            await asyncio.sleep(0)
        stream.feed_eof()

    feeding = asyncio.create_task(feed())
    lines: list[bytes | str] = []
    while True:
        try:
            line = await reader.read()
        except TooLong:
            lines.append(TOO_LONG)
            continue
        if line is None:
            break
        lines.append(line)
    await feeding
    assert await reader.read() is None
    return lines


def expected(data: bytes) -> list[bytes | str]:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [TOO_LONG if len(line) > LIMIT else line for line in lines]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.text("ab\n", min_size=1, max_size=30).map(str.encode)))
def test_lines_do_not_depend_on_how_the_bytes_arrive(chunks: list[bytes]) -> None:
    assert asyncio.run(read_all(chunks)) == expected(b"".join(chunks))


async def test_a_long_line_is_skipped_without_being_kept() -> None:
    chunks = [b"ok\n", *[b"x" * 5000] * 40, b"\nnext\n"]
    assert await read_all(chunks) == [b"ok", TOO_LONG, b"next"]


async def test_cancelling_a_read_loses_nothing() -> None:
    stream = asyncio.StreamReader()
    reader = LineReader(stream, LIMIT)
    stream.feed_data(b"hel")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await reader.read()
    stream.feed_data(b"lo\n")
    assert await reader.read() == b"hello"
