"""What a stand-in for a model does when it is called, whatever protocol it is called by."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

READ = 1200
"""Tokens that a call of a scripted turn reads, `CACHED` of them from a cache."""
CACHED = 200
WRITTEN = 45
"""Tokens that it writes."""


@dataclass(frozen=True, slots=True)
class Say:
    """Answer with a text."""

    text: str = "The work is done."

    def pieces(self) -> Iterator[str]:
        """The answer as it is streamed."""
        yield self.text


@dataclass(frozen=True, slots=True)
class Stream:
    """Answer with line after line, until the test lets the turn end."""

    pause: float = 0.05
    """Seconds between two lines."""
    enough: threading.Event = field(default_factory=threading.Event)
    """Set it, and the turn ends well."""

    def pieces(self) -> Iterator[str]:
        """The answer as it is streamed; the last piece comes when it is `enough`."""
        number = 0
        while not self.enough.wait(self.pause):
            number += 1
            yield f"line {number} of the work\n"
        yield "and done."


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Call the program's own tool that writes a file, or its shell."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an HTTP error."""

    status: int
    kind: str
    """Name of the error in the answer, as services give it."""
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


Turn = Say | Stream | WriteFile | Refuse

LIMIT_SECONDS = 97
"""How long the limit holds, in the words of the service."""
LIMIT = Refuse(
    429,
    "rate_limit_error",
    f"This request would exceed your account's rate limit. Please try again in {LIMIT_SECONDS} s.",
    {"retry-after": "1"},  # for the program itself: nobody wants to wait for its own tries
)
OVERLOAD = Refuse(529, "overloaded_error", "Overloaded")
OVERLOAD_503 = Refuse(503, "server_error", "The model is overloaded. Please try again later.")
