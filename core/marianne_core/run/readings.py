"""Reads the events of agents while they work, so that their end finds little left to read.

What they have used so far is known meanwhile. It is done in the loop, a slice at a time: with threads
that parse the loop waits for the interpreter, and longer than for a slice.
"""

from __future__ import annotations

import asyncio
import logging

from marianne_core.model.errors import MztError
from marianne_core.run.active import Playing
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.instrument.progress import Progress

_PAUSE = 1.0
"""Seconds between two looks at what was added."""

_log = logging.getLogger(__name__)


class Readings:
    """One serves all attempts of a conductor. Belongs to one event loop."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self._read: dict[str, Playing] = {}
        """Attempts whose events are read, by their tokens."""
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        """One slice at a time: fifty agents that end at once are fifty tasks that read."""

    def begin(self, attempt: Playing) -> None:
        """The attempt's program works: read what it prints, if that is events."""
        sheet = attempt.run.plan.sheets[attempt.num - 1]
        try:
            attempt.progress = self._ensemble.reader(sheet.instrument).progress()
        except MztError:
            return  # a profile that is gone, or broken: who concludes the attempt says so
        if attempt.progress is None:
            return
        self._read[attempt.token] = attempt
        if self._task is None:
            self._task = asyncio.create_task(self._go_on(), name="mzt-readings")

    def end(self, attempt: Playing) -> None:
        """Its program is gone."""
        self._read.pop(attempt.token, None)

    async def to_the_end(self, attempt: Playing) -> None:
        """Read what is left of an attempt that has ended. Raises OSError, and InputError for a profile
        that cannot be used."""
        if attempt.progress is None:
            sheet = attempt.run.plan.sheets[attempt.num - 1]
            attempt.progress = self._ensemble.reader(sheet.instrument).progress()
        if attempt.progress is not None:
            name = attempt.files.name("out")
            while await self._slice(attempt.progress, name):
                pass

    async def _slice(self, progress: Progress, name: str) -> bool:
        async with self._turn:
            await asyncio.sleep(0)
            return progress.read_on(name)

    async def close(self) -> None:
        """Read nothing more."""
        self._read.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_on(self) -> None:
        try:
            while self._read:
                await asyncio.sleep(_PAUSE)
                for attempt in tuple(self._read.values()):
                    await self._catch_up(attempt)
        finally:
            self._task = None

    async def _catch_up(self, attempt: Playing) -> None:
        name = attempt.files.name("out")
        try:
            while attempt.token in self._read and attempt.progress is not None:
                if not await self._slice(attempt.progress, name):
                    return
        except OSError:
            # Nothing is lost: who concludes the attempt reads on from here, and says what is wrong.
            _log.debug("readings.not_read", extra={"file": name}, exc_info=True)
