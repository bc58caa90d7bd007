"""What a stream of events says so far: read on while the agent works, and to its end afterwards."""

from __future__ import annotations

import os

from marianne_core.read.dialects.tally import tally_of
from marianne_core.run.instrument.extract import Extract, Extractor, Usage
from marianne_core.run.instrument.json_text import JsonLines

SLICE = 32 * 1024
"""Bytes that are read before others have the loop again: about a millisecond of work."""


class Progress:
    """One attempt's events, from the beginning to where they were read."""

    def __init__(self, extractor: Extractor, dialect: str) -> None:
        """`dialect` says whose events they are (`cli.output.dialect`)."""
        self._tally = tally_of(dialect)
        self._lines = JsonLines()
        self._events = extractor.events()
        self._offset = 0

    @property
    def skipped(self) -> int:
        """Lines that were not JSON, or too long."""
        return self._lines.skipped

    @property
    def so_far(self) -> Usage | None:
        """What was used so far; None as long as nothing tells."""
        told = self._events.found().usage
        tally = self._tally
        if tally is None or not (tally.tokens_in or tally.tokens_out or tally.cost):
            return None if told == Usage() else told
        return Usage(tally.tokens_in, tally.tokens_out, told.cost_usd or tally.cost or None)

    def read_on(self, path: str | os.PathLike[str]) -> bool:
        """Read a slice; False at the end of the file, or where there is none. Raises OSError."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            data = os.pread(fd, SLICE, self._offset)
        finally:
            os.close(fd)
        self._offset += len(data)
        for value in self._lines.feed(data):
            self._take(value)
        return len(data) == SLICE

    def finish(self) -> Extract:
        """What all of it says, when nothing is added any more and all was read."""
        for value in self._lines.finish():
            self._take(value)
        return self._events.found()

    def _take(self, value: object) -> None:
        self._events.take(value)
        if self._tally is not None and isinstance(value, dict):
            self._tally.take(value)
