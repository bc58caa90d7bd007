"""Answers as they come: server-sent events, a JSON object a line, or one JSON document."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from typing import Any

from marianne_core.ask.trouble import ANSWER, Trouble

_LONGEST = 64 * 1024 * 1024
"""Bytes of one line or document; more is no answer."""

Take = Callable[[dict[str, Any]], None]


def read_answer(pieces: Iterable[bytes], content_type: str, take: Take, *, by_line: bool) -> None:
    """Give every JSON object of an answer to `take`, as soon as it is there.

    What it is shows at its beginning; `by_line`: JSON comes as an object a line. Raises Trouble for
    what is no JSON, and what `take` raises.
    """
    lines = _Lines()
    reader: _Events | _Objects | _Document | None = None

    def reader_for(line: bytes) -> _Events | _Objects | _Document:
        if line.lstrip().startswith(b"{"):  # errors come so too, whatever was announced
            return _Objects(take) if by_line else _Document(take)
        if "event-stream" in content_type or line.startswith((b"data:", b"event:", b":")):
            return _Events(take)
        raise _no_json(content_type, line)

    for piece in pieces:
        for line in lines.feed(piece):
            if reader is None:
                line = line.removeprefix(BOM_UTF8)
                if line.strip():
                    reader = reader_for(line)
            if reader is not None:
                reader.line(line)
    rest = lines.rest()
    if reader is None:
        rest = rest.removeprefix(BOM_UTF8)
        if rest.strip():
            reader = reader_for(rest)
    if reader is not None:
        reader.finish(rest)


class _Lines:
    """Splits bytes into lines."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`."""
        *ended, rest = data.split(b"\n")
        if ended:
            ended[0] = b"".join([*self._pieces, ended[0]])
            self._pieces, self._size = [], 0
        self._pieces.append(rest)
        self._size += len(rest)
        if self._size > _LONGEST:
            raise Trouble(f"{ANSWER}has a line of more than {_LONGEST} bytes")
        return [line.rstrip(b"\r") for line in ended]

    def rest(self) -> bytes:
        """What stands behind the last line's end."""
        return b"".join(self._pieces)


class _Events:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): only
    their data counts, which names the event as well."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._data: list[bytes] = []

    def line(self, line: bytes) -> None:
        """A line; an empty one ends an event."""
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
        else:
            self._end()

    def finish(self, rest: bytes) -> None:
        """The stream is over, with `rest` as its last line; some servers leave out the empty one."""
        if rest:
            self.line(rest)
        self._end(cut=True)

    def _end(self, *, cut: bool = False) -> None:
        data, self._data = b"\n".join(self._data), []
        if data.strip() != b"[DONE]":
            _take_line(data, self._take, cut=cut)


class _Objects:
    """A JSON object a line."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def line(self, line: bytes) -> None:
        """A whole line."""
        _take_line(line, self._take)

    def finish(self, rest: bytes) -> None:
        """The last line has no end."""
        _take_line(rest, self._take, cut=True)


class _Document:
    """One JSON object on many lines."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._lines: list[bytes] = []
        self._size = 0

    def line(self, line: bytes) -> None:
        """A line of it."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > _LONGEST:
            raise Trouble(f"{ANSWER}is longer than {_LONGEST} bytes")

    def finish(self, rest: bytes) -> None:
        """The last line of it."""
        _take_line(b"\n".join([*self._lines, rest]), self._take)


def _take_line(line: bytes, take: Take, *, cut: bool = False) -> None:
    """Take one object. `cut`: half an object is the end of a connection, which is told elsewhere."""
    if not line.strip():
        return
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        if cut:
            return
        raise Trouble(f"{ANSWER}is no JSON: {_beginning(line)}") from error
    if isinstance(value, dict):
        take(value)


def _no_json(content_type: str, line: bytes) -> Trouble:
    kind = content_type.partition(";")[0].strip() or "of no type"
    return Trouble(f"{ANSWER}is no JSON ({kind}): {_beginning(line)}")


def _beginning(line: bytes) -> str:
    return " ".join(line[:400].decode("utf-8", "replace").split())[:200]
