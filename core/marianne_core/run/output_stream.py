"""What a sheet writes, piece by piece as it is taken, from attempt to attempt, to the sheet's end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from marianne_core.model.events import Event
from marianne_core.model.output import OutputEnd, OutputPiece, OutputRequest
from marianne_core.read.dialects import Formatter, formatter_of
from marianne_core.read.output_file import LONGEST_LINE
from marianne_core.remember.rows import AttemptRow
from marianne_core.run.output_look import Look, readable
from marianne_core.watch.bus import EventBus

SLICE = 16 * 1024
"""Bytes that are made readable before others have the loop again: about a millisecond of work."""

_NAP = 0.1
"""Seconds between two looks at a file at whose end the reader is."""
_SLOW_LOOK = 5.0
"""Seconds after which the store is asked even if no event told of a change."""


class FileStream:
    """An `OutputStream` of the files of a sheet's attempts. For one task at a time.

    It holds one slice at most. Nothing is read before it is asked for, so that a slow reader costs
    nothing; while no slice is there it looks at the file ten times a second.
    """

    def __init__(
        self,
        request: OutputRequest,
        look: Look,
        *,
        bus: EventBus,
        turn: asyncio.Lock,
        look_again: Callable[[], Awaitable[Look | None]],
        place: Callable[[AttemptRow], tuple[Path, str]],
        closed: Callable[[FileStream], None],
        offset: int,
    ) -> None:
        """`look` is what was found, and `place` says file and dialect of an attempt; the first one is
        read from `offset` on. Who has the `turn` reads a slice."""
        self.outcome: OutputEnd | None = None
        """Why nothing more comes."""
        self._request = request
        self._look = look
        self._look_again = look_again
        self._place = place
        self._closed = closed
        self._bus = bus
        self._turn = turn
        self._wake = asyncio.Event()
        self._changed = True
        self._looked = 0.0
        self._number = 0
        self._file: _Following | None = None
        self._over = False
        self._subscription = bus.subscribe_callback(self._told, self._concerns)
        first = look.newest if request.attempt is None else look.attempt(request.attempt)
        if first is not None:
            self._begin(first, offset)

    @property
    def ended(self) -> bool:
        """Nothing more comes, for whatever reason."""
        return self._over

    def __aiter__(self) -> AsyncIterator[OutputPiece]:
        return self

    async def __anext__(self) -> OutputPiece:
        while not self._over:
            if self._changed or asyncio.get_running_loop().time() - self._looked > _SLOW_LOOK:
                await self._ask()
                continue
            piece, more = await self._read_on()
            if piece is not None:
                return piece
            if more:
                continue
            if self._file is not None and not self._ended():
                await self._woken(_NAP)
            elif self._file is not None:
                rest = self._file.finish()
                self._let_go()
                if rest is not None:
                    return rest
            elif not self._go_on():
                await self._woken(_NAP if self._look.coming else _SLOW_LOOK)
        raise StopAsyncIteration

    async def _read_on(self) -> tuple[OutputPiece | None, bool]:
        """A slice, when it is this stream's turn; others have the loop between two slices."""
        async with self._turn:
            await asyncio.sleep(0)
            return self._file.read_on() if self._file is not None else (None, False)

    async def aclose(self) -> None:
        """Give it up. Harmless when done twice."""
        self.end()

    def end(self) -> None:
        """Nothing more comes."""
        if not self._over:
            self._over = True
            self._bus.unsubscribe(self._subscription)
            self._let_go()
            self._wake.set()
            self._closed(self)

    async def _ask(self) -> None:
        """Look at the store. It is asked before the files are read: what it calls ended has written
        all."""
        self._changed = False
        look = await self._look_again()
        self._looked = asyncio.get_running_loop().time()
        if self._over:
            return
        if look is None:
            self.outcome = OutputEnd("", "the run was cleared")
            self.end()
        else:
            self._look = look

    def _ended(self) -> bool:
        row = self._look.attempt(self._number)
        return row is None or row.ended is not None

    def _go_on(self) -> bool:
        """Begin the next attempt, or come to the end; False where neither can be done yet."""
        row = self._look.after(self._number) if self._request.attempt is None else None
        if row is not None:
            self._begin(row, 0)
        elif self._look.over or self._request.attempt is not None:
            self.outcome = self._look.end()
            self.end()
        else:
            return False
        return True

    def _begin(self, row: AttemptRow, offset: int) -> None:
        path, dialect = self._place(row)
        self._number = row.attempt
        self._file = _Following(path, row.attempt, None if self._request.raw else dialect, offset)

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _woken(self, seconds: float) -> None:
        """Wait for an event that concerns the sheet, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
        self._changed |= self._file is None and self._look.coming

    def _concerns(self, event: Event) -> bool:
        run = self._look.run
        mine = event.job_id == run.job_id and event.run == run.run
        return mine and event.sheet_num in (0, self._request.sheet)

    def _told(self, event: Event) -> None:
        self._changed = True
        self._wake.set()


class _Following:
    """One file, from an offset on."""

    def __init__(self, path: Path, attempt: int, dialect: str | None, offset: int) -> None:
        """`dialect` None: its bytes."""
        self._path = path
        self._attempt = attempt
        self._offset = offset
        self._line = offset
        """Where the line begins in which what follows stands."""
        self._fd = -1
        self._formatter: Formatter | None = None
        if dialect is not None:
            self._formatter = formatter_of(dialect, line_limit=LONGEST_LINE, whole=offset == 0)

    def read_on(self) -> tuple[OutputPiece | None, bool]:
        """The next piece, and whether there may be more; an event may have nothing to show."""
        data = self._read()
        if not data:
            return None, False
        start = self._offset
        self._offset += len(data)
        if self._formatter is None:
            return OutputPiece(self._attempt, start, self._offset, data=data), True
        last = data.rfind(b"\n")
        if last >= 0:
            self._line = start + last + 1
        text = self._formatter.feed(data)
        piece = OutputPiece(self._attempt, start, self._line, text=text) if text else None
        return piece, True

    def finish(self) -> OutputPiece | None:
        """What was held back of a file that has ended."""
        text = "" if self._formatter is None else self._formatter.finish()
        return OutputPiece(self._attempt, self._line, self._offset, text=text) if text else None

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> bytes:
        with readable(self._path):
            if self._fd < 0:
                try:
                    self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    return b""
            return os.pread(self._fd, SLICE, self._offset)
