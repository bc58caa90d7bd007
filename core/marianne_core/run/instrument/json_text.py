"""JSON as programs really print it: whole files, files with other lines around, lines of events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from pydantic_core import from_json

LINE_LIMIT = 16 * 1024 * 1024
"""Longest line of an event stream that is parsed, in bytes; a longer one is passed over."""

_AROUND = 20
"""How many lines before or after a document are tried."""


def parse_json(text: str | bytes) -> object:
    """One JSON document. Raises ValueError for anything else, however deep or long.

    Half characters (`\\ud83d` alone), which programs print where they cut a text, are accepted.
    """
    try:
        return from_json(text)
    except ValueError:
        if b"\\u" not in text if isinstance(text, bytes) else "\\u" not in text:
            raise
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_output(text: str) -> object:
    """The JSON document in a program's output, lines before or after it left aside.

    Raises ValueError when there is none.
    """
    try:
        return parse_json(text)
    except ValueError as error:
        problem = error
    for line in reversed(text.rstrip().rsplit("\n", _AROUND)[1:]):
        if line.lstrip()[:1] in {"{", "["}:
            try:
                return parse_json(line)
            except ValueError:
                continue
    decoder = json.JSONDecoder()
    for start in islice(_document_starts(text), _AROUND):
        try:
            return decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            continue
    raise problem


def _document_starts(text: str) -> Iterator[int]:
    """Where lines begin that begin with a bracket."""
    start = 0
    while start >= 0:
        if text[start : start + 1] in {"{", "["}:
            yield start
        start = text.find("\n", start) + 1 or -1


class JsonLines:
    """Splits a stream of bytes into JSON values, one a line, whatever the chunks are."""

    def __init__(self, line_limit: int = LINE_LIMIT) -> None:
        self._limit = line_limit
        self._parts: list[bytes] = []
        self._size = 0
        self.skipped = 0
        """Lines that were not JSON, or too long to be looked at; empty lines do not count."""

    def feed(self, chunk: bytes) -> list[object]:
        """The values whose lines end in this chunk."""
        first, *more = chunk.split(b"\n")
        self._keep(first)
        if not more:
            return []
        values = self.finish()
        self._keep(more.pop())
        for line in more:
            self._read(line, values)
        return values

    def finish(self) -> list[object]:
        """The value of a last line without its newline, if there is one."""
        line, size = b"".join(self._parts), self._size
        self._parts.clear()
        self._size = 0
        values: list[object] = []
        if size > self._limit:
            self.skipped += 1
        else:
            self._read(line, values)
        return values

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _read(self, line: bytes, values: list[object]) -> None:
        line = line.strip()
        if not line:
            return
        if len(line) > self._limit:
            self.skipped += 1
            return
        try:
            values.append(parse_json(line))
        except ValueError:
            self.skipped += 1
