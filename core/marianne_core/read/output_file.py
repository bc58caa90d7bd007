"""Parts of files that agents write to: forward from an offset, backward by lines, never all at once."""

from __future__ import annotations

import os
from dataclasses import dataclass

PIECE = 1 << 16
"""Bytes that are read at once."""

LONGEST_LINE = 512 * 1024
"""Longest line that a part holds, in bytes; of a longer one only its length is told."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Whole lines of a file, or bytes of it as they are."""

    offset: int
    """Where it begins."""
    end: int
    """Where what follows begins."""
    size: int
    """Of the file when it was read."""
    data: bytes
    note: str = ""
    """A line for a person where the file's own is too long."""


def tail_offset(fd: int, lines: int | None, end: int | None = None) -> int:
    """Where the last `lines` lines before `end` (None: the file's end) begin; None: where it begins.

    It is found from the end: how long the file is makes no difference.
    """
    stop = os.fstat(fd).st_size if end is None else end
    if lines is None:
        return 0
    if lines == 0:
        return stop
    position, missing = stop, lines
    while position > 0:
        start = max(0, position - PIECE)
        piece = os.pread(fd, position - start, start)
        last = len(piece)
        if position == stop and piece.endswith(b"\n"):
            last -= 1  # the last line's own end does not begin another
        while (at := piece.rfind(b"\n", 0, last)) >= 0:
            missing -= 1
            if missing == 0:
                return start + at + 1
            last = at
        position = start
    return 0


def line_from(fd: int, offset: int) -> int:
    """Where the first line begins that does so at `offset` or behind it; the file's end where none
    does."""
    size = os.fstat(fd).st_size
    return _line_start(fd, min(offset, size), size)


def bytes_from(fd: int, offset: int, limit: int) -> Slice:
    """At most `limit` bytes from `offset` on; from the file's end where that lies before it."""
    size = os.fstat(fd).st_size
    start = min(offset, size)
    data = os.pread(fd, limit, start)
    return Slice(start, start + len(data), size, data)


def bytes_before(fd: int, before: int | None, lines: int, limit: int) -> Slice:
    """The last `lines` lines before an offset (None: the file's end), or at most `limit` bytes of
    them."""
    size = os.fstat(fd).st_size
    stop = size if before is None else min(before, size)
    start = max(tail_offset(fd, lines, stop), stop - limit)
    data = os.pread(fd, stop - start, start)
    return Slice(start, start + len(data), size, data)


def lines_from(fd: int, offset: int, limit: int) -> Slice:
    """Whole lines from the first on that begins at `offset` or behind it: about `limit` bytes, and
    one line at least.

    A last line without its end is in it too, and `end` is where that line begins.
    """
    size = os.fstat(fd).st_size
    start = _line_start(fd, min(offset, size), size)
    data = os.pread(fd, limit, start)
    after = data.rfind(b"\n") + 1
    if start + len(data) >= size:
        return Slice(start, start + after, size, data)
    if after:
        return Slice(start, start + after, size, data[:after])
    return _one_line(fd, start, _line_end(fd, start + len(data), size), size)


def lines_before(fd: int, before: int | None, lines: int, limit: int) -> Slice:
    """The last `lines` whole lines before an offset (None: the file's end), or about `limit` bytes
    of them and one line at least.

    What stands between the beginning of the line in which `before` lies and `before` is left out.
    """
    size = os.fstat(fd).st_size
    stop = size if before is None else min(before, size)
    if before is not None and stop and os.pread(fd, 1, stop - 1) != b"\n":
        stop = tail_offset(fd, 1, stop)
    start = tail_offset(fd, lines, stop)
    if stop - start > limit:
        start = _line_start(fd, stop - limit, stop)
        if start >= stop:
            return _one_line(fd, tail_offset(fd, 1, stop), stop, size)
    data = os.pread(fd, stop - start, start)
    after = data.rfind(b"\n") + 1
    return Slice(start, start + after, size, data)


def _one_line(fd: int, start: int, end: int, size: int) -> Slice:
    """A line by itself, however long."""
    length = end - start
    if length > LONGEST_LINE:
        return Slice(
            start, end, size, b"", f"(a line of {length:,} bytes is too long to be shown)\n"
        )
    data = os.pread(fd, length, start)
    whole = data.endswith(b"\n")
    return Slice(start, end if whole else start, size, data)


def _line_start(fd: int, offset: int, size: int) -> int:
    return _line_end(fd, offset - 1, size) if offset else 0


def _line_end(fd: int, offset: int, size: int) -> int:
    """Behind the first end of a line at `offset` or behind it; `size` where there is none."""
    while offset < size:
        piece = os.pread(fd, min(PIECE, size - offset), offset)
        if not piece:
            break
        at = piece.find(b"\n")
        if at >= 0:
            return offset + at + 1
        offset += len(piece)
    return size
