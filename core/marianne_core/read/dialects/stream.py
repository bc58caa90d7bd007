"""A stream of JSON events, one a line, cut anywhere: what all dialects have in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from marianne_core.read.dialects.tally import Tally
from marianne_core.read.dialects.values import short, so_far, text_of
from marianne_core.read.printable import TextCleaner, shown

LINE_LIMIT = 8 * 1024 * 1024
"""Longest line that is looked at, in bytes; of a longer one only its length is told."""

_DOCUMENT_LIMIT = 1024 * 1024
"""Longest document over many lines, in bytes; a longer one is shown as the text it is."""


class Page:
    """Gathers lines, and words that come in pieces."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._speech: TextCleaner | None = None
        self._in_line = False
        self.written = 0
        """How often something was added: tells whether anything came between two events."""

    def line(self, text: str) -> None:
        """A line that is printable already; nothing for ""."""
        if text:
            self.end_speech()
            self._parts.append(f"{text}\n")
            self.written += 1

    def text(self, text: str) -> None:
        """Lines as somebody wrote them; nothing where there is nothing to read."""
        if text.strip():
            self.line(shown(text).strip("\n"))

    def speak(self, piece: str) -> None:
        """A piece of words that go on with the next piece."""
        if self._speech is None:
            self._speech = TextCleaner()
        self._add(self._speech.feed(piece))

    def end_speech(self) -> None:
        """The words are over, so is their line."""
        if self._speech is not None:
            self._add(self._speech.finish())
            self._speech = None
        if self._in_line:
            self._parts.append("\n")
            self._in_line = False

    def take(self) -> str:
        """What was gathered since the last call."""
        text = "".join(self._parts)
        self._parts.clear()
        return text

    def _add(self, text: str) -> None:
        if text:
            self._parts.append(text)
            self.written += 1
            self._in_line = not text.endswith("\n")


class EventFormatter(ABC):
    """A formatter (`dialects.Formatter`) of events; a dialect says what each of them means."""

    def __init__(self, line_limit: int = LINE_LIMIT, *, whole: bool = True) -> None:
        """`whole`: the first bytes are those of the file. Else what was used in all is not known."""
        self._line_limit = line_limit
        self._whole = whole
        self._pieces: list[bytes] = []
        self._size = 0
        self._document: list[bytes] = []
        self._document_size = 0
        self._error = ("", 0)
        self.page = Page()

    @abstractmethod
    def event(self, event: dict[str, Any]) -> None:
        """Show one event. No values are certain: anybody may have printed it."""

    def feed(self, data: bytes) -> str:
        """What is certain so far."""
        first, *more = data.split(b"\n")
        self._keep(first)
        for piece in more:
            self._end_line()
            self._keep(piece)
        return self.page.take()

    def finish(self) -> str:
        """The rest, when no more bytes come."""
        self._end_line()
        self._no_document()
        self.page.end_speech()
        return self.page.take()

    def failure(self, words: object, *, kind: str = "error") -> None:
        """An error of the agent or its service; said once where the next event repeats it."""
        said = short(words, 400)
        if not said or (said, self.page.written) != self._error:
            self.page.line(f"{kind}: {said}" if said else kind)
        self._error = (said, self.page.written)

    def so_far(self, tally: Tally) -> None:
        """What was used until now, unless something of it stands before what was read."""
        if self._whole:
            self.page.line(so_far(tally.tokens_in, tally.tokens_out, tally.cost))

    def unknown(self, event: dict[str, Any], kind: str) -> None:
        """An event that the dialect did not have when this was written."""
        said = next((text_of(event.get(key)) for key in ("message", "text") if event.get(key)), "")
        self.page.line(f"({short(kind, 40) or 'an event'}) {short(said)}".rstrip())

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._line_limit:
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)

    def _end_line(self) -> None:
        line, size = b"".join(self._pieces), self._size
        self._pieces.clear()
        self._size = 0
        if size > self._line_limit:
            self.page.line(f"(a line of {size:,} bytes is too long to be shown)")
        elif self._document or line.rstrip() == b"{":
            self._gather(line)
        elif line.strip():
            self._line(line)

    def _line(self, line: bytes) -> None:
        value = _parsed(line)
        if isinstance(value, dict):
            self.event(value)
        else:
            self.page.text(line.decode("utf-8", "replace"))

    def _gather(self, line: bytes) -> None:
        """A line of a JSON document that was printed for people: it ends with a lone bracket."""
        self._document.append(line)
        self._document_size += len(line) + 1
        if line.rstrip() == b"}":
            value = _parsed(b"\n".join(self._document))
            if isinstance(value, dict):
                self._document.clear()
                self._document_size = 0
                self.event(value)
                return
            self._no_document()
        elif self._document_size > _DOCUMENT_LIMIT:
            self._no_document()

    def _no_document(self) -> None:
        lines = self._document
        self._document, self._document_size = [], 0
        for line in lines:
            self._line(line)


def _parsed(line: bytes) -> object:
    """A JSON object; None for anything else, however deep."""
    if line.lstrip()[:1] != b"{":
        return None
    try:
        return json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
