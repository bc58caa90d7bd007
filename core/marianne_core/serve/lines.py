"""Messages out of a byte stream: one a line, bounded, without ever holding more than one bound."""

from __future__ import annotations

import asyncio

from marianne_core.serve.wire import MAX_MESSAGE

_CHUNK = 64 * 1024


class TooLong(Exception):
    """A line was longer than the bound; it was skipped and the next one can be read."""


class LineReader:
    """Reads lines from an asyncio stream. Cancelling `read` loses nothing that had arrived."""

    def __init__(self, stream: asyncio.StreamReader, limit: int = MAX_MESSAGE) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self._eof = False

    async def read(self) -> bytes | None:
        """The next line without its newline, or None at the end of the stream.

        What stands after the last newline counts as a line. Raises TooLong once for each line
        that is longer than the limit, and ConnectionError when the other end broke off.
        """
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                return self._finish(end, end + 1)
            self._searched = len(self._buffer)
            if self._searched > self._limit:
                self._skipping = True
            if self._skipping:
                self._buffer.clear()
                self._searched = 0
            if self._eof:
                if self._skipping or self._buffer:
                    return self._finish(self._searched, self._searched)
                return None
            chunk = await self._stream.read(_CHUNK)
            self._eof = not chunk
            self._buffer += chunk

    def _finish(self, end: int, after: int) -> bytes:
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:after]
        self._searched = 0
        skipped, self._skipping = self._skipping, False
        if skipped or end > self._limit:
            raise TooLong
        return line
