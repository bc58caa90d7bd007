"""What agents print while they work, as lines for people: one formatter a dialect of event streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from marianne_core.read.dialects.claude import Claude
from marianne_core.read.dialects.cline import Cline
from marianne_core.read.dialects.codex import Codex
from marianne_core.read.dialects.gemini import Gemini
from marianne_core.read.dialects.http import Http
from marianne_core.read.dialects.opencode import Opencode
from marianne_core.read.dialects.stream import LINE_LIMIT, EventFormatter
from marianne_core.read.printable import StreamCleaner


class Formatter(Protocol):
    """Makes readable text of one output file, whose bytes come piece by piece.

    No input makes it fail, what it gives is printable and without credentials, and its memory is
    bounded. Texts are to be shown one after the other: a piece may end within a line.
    """

    def feed(self, data: bytes) -> str:
        """What is certain so far."""
        ...

    def finish(self) -> str:
        """The rest, when no more bytes come."""
        ...


_FORMATTERS: Final[Mapping[str, type[EventFormatter]]] = {
    "claude": Claude,
    "cline": Cline,
    "codex": Codex,
    "gemini": Gemini,
    "http": Http,
    "opencode": Opencode,
}


PLAIN: Final = "text"
"""The dialect of what is no stream of events: it is shown as it is."""


def formatter_of(
    dialect: str | None, *, line_limit: int = LINE_LIMIT, whole: bool = True
) -> Formatter:
    """A new formatter for a dialect (`cli.output.dialect` of a profile); plain text for all that
    is not known.

    Of a line of events that is longer than `line_limit` bytes only its length is told. One that
    does not get the `whole` file leaves out what can only be told of that: what was used so far.
    """
    made = _FORMATTERS.get(dialect or PLAIN)
    return StreamCleaner() if made is None else made(line_limit, whole=whole)


def counts_on(dialect: str | None) -> bool:
    """True for a dialect whose lines depend on what came before: its files are read from their
    beginning."""
    return dialect in _FORMATTERS
