"""What a sheet wrote, as clients ask for it and get it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from marianne_core.model.errors import InputError

PAGE_BYTES = 64 * 1024
"""Bytes of a file that a page covers, unless it is said."""
MOST_PAGE_BYTES = 256 * 1024
"""Bytes of a file that a page covers, at most; one line of up to 512 KiB fits always."""
PAGE_LINES = 1000
"""Lines of a file that a page backward covers, unless it is said."""


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """Which output. With neither `offset` nor `before`: its end, or, followed, all of it."""

    job: str
    """`job`, its newest run, or `job#3`."""
    sheet: int
    attempt: int | None = None
    """None: the last one, and, followed, those that come after it."""
    stderr: bool = False
    """Standard error instead of standard output."""
    raw: bool = False
    """Bytes as they are instead of readable lines."""
    offset: int | None = None
    """Bytes of the file to leave out. Readable lines begin with the next line."""
    before: int | None = None
    """Only what stands before this offset, backward from there; not for following."""
    lines: int | None = None
    """Only so many lines of the file, from its end or from `before` backward."""
    limit: int = PAGE_BYTES
    """Bytes of the file that a page covers, 1 to `MOST_PAGE_BYTES`."""

    def check(self, *, follow: bool) -> None:
        """Raises InputError for values that are out of bounds or exclude each other."""
        bounds = (
            ("sheet", self.sheet, 1),
            ("attempt", self.attempt, 1),
            ("offset", self.offset, 0),
            ("before", self.before, 0),
            ("lines", self.lines, 0),
            ("limit", self.limit, 1),
        )
        for name, value, least in bounds:
            if value is not None and value < least:
                raise InputError(f"`{name}` must be {least} or more")
        if self.limit > MOST_PAGE_BYTES:
            raise InputError(f"`limit` must be {MOST_PAGE_BYTES} or less")
        if self.offset is not None and (self.before is not None or self.lines is not None):
            raise InputError("`offset` goes forward, `before` and `lines` go backward: name one")
        if follow and self.before is not None:
            raise InputError("what stands before an offset cannot be followed")


@dataclass(frozen=True, slots=True)
class OutputPiece:
    """A part of an attempt's output. The texts of one attempt are shown one after the other."""

    attempt: int
    offset: int
    """Where in the file it begins, in bytes."""
    end: int
    """From where to go on; readable lines go on with a whole one, so that what of it was told
    before comes again."""
    text: str = ""
    """Readable, printable and without credentials; "" for a raw one."""
    data: bytes = b""
    """The bytes, of a raw one."""


@dataclass(frozen=True, slots=True)
class OutputPage:
    """A part of an attempt's output, and where it stands."""

    job_id: str
    run: int
    sheet: int
    attempts: int
    """Number of the newest attempt; 0 = nothing was started yet."""
    size: int
    """Bytes of the file."""
    over: bool
    """Nothing is added to it any more."""
    piece: OutputPiece


@dataclass(frozen=True, slots=True)
class OutputEnd:
    """Why nothing more comes."""

    status: str
    """The sheet's status; "" when the run was cleared meanwhile."""
    reason: str = ""
    """The sheet's reason, one line."""


@runtime_checkable
class OutputStream(Protocol):
    """Output as it is written: `async for piece in stream`, and `aclose` to give it up.

    Nothing is read ahead: a slow reader gets everything, later.
    """

    outcome: OutputEnd | None
    """Set when the stream has come to its end; None: it was given up, or the conductor left."""

    @property
    def ended(self) -> bool:
        """Nothing more comes, for whatever reason."""
        ...

    def __aiter__(self) -> AsyncIterator[OutputPiece]: ...

    async def __anext__(self) -> OutputPiece: ...

    async def aclose(self) -> None: ...
