"""A gate that commands pass: it can be shut, and then knows when the last one is through."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from marianne_core.model.errors import NoConductorError


class Gate:
    """Lets commands through while it is open, and counts those under way."""

    def __init__(self) -> None:
        self._open = True
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold this while a command is carried out. Raises NoConductorError when shut."""
        if not self._open:
            raise NoConductorError(
                "the conductor is leaving and takes no more commands", hint="try again in a moment"
            )
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def close(self) -> None:
        """Shut the gate and wait until nobody is inside."""
        self._open = False
        await self._empty.wait()

    def open(self) -> None:
        """Let commands through again."""
        self._open = True
