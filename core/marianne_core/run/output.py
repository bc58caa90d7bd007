"""What sheets wrote and write: pages from anywhere in it, and streams that follow it.

Attempts write into files; these are read from an offset, by whoever asks and as fast as he asks.
Unwatched output costs nothing here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from marianne_core.config.profiles import Profiles
from marianne_core.model.output import (
    PAGE_LINES,
    OutputPage,
    OutputPiece,
    OutputRequest,
)
from marianne_core.read.dialects import PLAIN, formatter_of
from marianne_core.read.output_file import (
    LONGEST_LINE,
    Slice,
    bytes_before,
    bytes_from,
    line_from,
    lines_before,
    lines_from,
    tail_offset,
)
from marianne_core.remember.home import Home
from marianne_core.remember.rows import AttemptRow
from marianne_core.run.output_look import Look, file_of, first_look, look_again, readable
from marianne_core.run.output_stream import SLICE, FileStream
from marianne_core.watch.bus import EventBus


class Outputs:
    """Answers what clients ask of the output of sheets. Belongs to one event loop."""

    def __init__(
        self,
        home: Home,
        bus: EventBus,
        profiles: Profiles,
        written: Callable[[], Awaitable[None]],
    ) -> None:
        """`written` returns when the store has what happened until now."""
        self._home = home
        self._bus = bus
        self._profiles = profiles
        self._written = written
        self._streams: set[FileStream] = set()
        self._turn = asyncio.Lock()
        """One slice at a time, however many streams there are."""

    async def page(self, request: OutputRequest) -> OutputPage:
        """A part of the output as it is now. Raises InputError, and StateError for a file that cannot
        be read; one that is not there is empty."""
        request.check(follow=False)
        look = await self._first_look(request)
        row = look.newest if request.attempt is None else look.attempt(request.attempt)
        newest = look.newest
        if row is None or newest is None:
            return _page(request, look, 0, look.over, OutputPiece(0, 0, 0))
        path, dialect = self._place(look, row, request)
        part = await asyncio.to_thread(_slice, path, request)
        if request.raw:
            piece = OutputPiece(row.attempt, part.offset, part.end, data=part.data)
        else:
            text = await _readable(part, dialect)
            piece = OutputPiece(row.attempt, part.offset, part.end, text=text)
        return _page(request, look, part.size, row.ended is not None, piece)

    async def follow(self, request: OutputRequest) -> FileStream:
        """The output from the given place on, as it grows. Raises as `page`."""
        request.check(follow=True)
        look = await self._first_look(request)
        run_id = look.run.run_id
        row = look.newest if request.attempt is None else look.attempt(request.attempt)
        offset = 0
        if row is not None and (request.offset or request.lines is not None):
            path, _ = self._place(look, row, request)
            offset = await asyncio.to_thread(_beginning, path, request)

        async def again() -> Look | None:
            await self._written()
            return await asyncio.to_thread(look_again, self._home, run_id, request.sheet)

        stream = FileStream(
            request,
            look,
            bus=self._bus,
            turn=self._turn,
            look_again=again,
            place=lambda row: self._place(look, row, request),
            closed=self._streams.discard,
            offset=offset,
        )
        self._streams.add(stream)
        return stream

    def close(self) -> None:
        """End all streams: the conductor leaves."""
        for stream in tuple(self._streams):
            stream.end()

    async def _first_look(self, request: OutputRequest) -> Look:
        await self._written()
        return await asyncio.to_thread(first_look, self._home, request)

    def _place(self, look: Look, row: AttemptRow, request: OutputRequest) -> tuple[Path, str]:
        """An attempt's file, and whose events it holds."""
        profile = self._profiles.get(row.instrument)
        dialect = profile.cli.output.dialect if profile is not None and profile.cli else PLAIN
        return file_of(self._home, look.run.run_id, row, stderr=request.stderr), dialect


def _page(
    request: OutputRequest, look: Look, size: int, over: bool, piece: OutputPiece
) -> OutputPage:
    newest = look.newest
    return OutputPage(
        job_id=look.run.job_id,
        run=look.run.run,
        sheet=request.sheet,
        attempts=0 if newest is None else newest.attempt,
        size=size,
        over=over,
        piece=piece,
    )


def _slice(path: Path, request: OutputRequest) -> Slice:
    with _opened(path) as fd:
        if fd is None:
            return Slice(0, 0, 0, b"")
        if request.offset is not None:
            forward = bytes_from if request.raw else lines_from
            return forward(fd, request.offset, request.limit)
        backward = bytes_before if request.raw else lines_before
        lines = PAGE_LINES if request.lines is None else request.lines
        return backward(fd, request.before, lines, request.limit)


def _beginning(path: Path, request: OutputRequest) -> int:
    """Where a stream begins in its first file."""
    with _opened(path) as fd:
        if fd is None:
            return 0
        if request.lines is not None:
            return tail_offset(fd, request.lines)
        offset = request.offset or 0
        return min(offset, os.fstat(fd).st_size) if request.raw else line_from(fd, offset)


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """The file's descriptor; None where it is not there. Raises StateError."""
    with readable(path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        try:
            yield fd
        finally:
            os.close(fd)


async def _readable(part: Slice, dialect: str) -> str:
    """A part as text, some of it at a time."""
    formatter = formatter_of(dialect, line_limit=LONGEST_LINE, whole=part.offset == 0)
    texts = []
    for start in range(0, len(part.data), SLICE):
        texts.append(formatter.feed(part.data[start : start + SLICE]))
        await asyncio.sleep(0)
    return "".join([*texts, formatter.finish(), part.note])
