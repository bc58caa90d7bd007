"""What the machine is short of: nothing new starts until it has some again.

A full disk or a lack of processes is no sheet's fault. Starts are held, a trial is made now and
then, and the reason stands beside every sheet that waits.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from marianne_core.model.waits import Wait, WaitReason
from marianne_core.run.system_errors import when_there_are_means

_TRIAL = bytes(65536)
"""What must find room before starts go on."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
"""Seconds between two trials; each pause is twice the one before."""

_FORGOTTEN_AFTER = 30.0
"""Seconds without a shortage after which the next one begins with a short pause again."""

_MEANS = "means"


class Shortages:
    """Holds and releases starts. Belongs to one event loop."""

    def __init__(self, hold: Callable[[str, Wait], None], release: Callable[[str], None]) -> None:
        """`hold` and `release` take a name of the reason, so that each is released by itself."""
        self._hold = hold
        self._release = release
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._pause = _FIRST_PAUSE
        self._last = 0.0

    def disk_full(self, folder: Path, reason: str) -> None:
        """Start nothing until something can be written into this folder again."""
        self._begin(f"disk of {folder}", WaitReason.DISK, reason, lambda: self._until_room(folder))

    def of_means(self, reason: str) -> None:
        """Start nothing for a moment, longer each time while this goes on."""
        if _MEANS in self._waiting:
            return  # starts that were under way fail of the same
        now = asyncio.get_running_loop().time()
        if now - self._last > _FORGOTTEN_AFTER:
            self._pause = _FIRST_PAUSE
        self._last = now
        pause = self._pause
        self._begin(_MEANS, WaitReason.PRESSURE, reason, lambda: asyncio.sleep(pause))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def close(self) -> None:
        """Stop waiting for anything to come back."""
        tasks = list(self._waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self, name: str, why: WaitReason, reason: str, until: Callable[[], Awaitable[None]]
    ) -> None:
        if name in self._waiting:
            return
        self._hold(name, Wait(why, blocker=reason))
        self._waiting[name] = asyncio.create_task(self._wait(name, until), name=f"mzt-{name}")

    async def _wait(self, name: str, until: Callable[[], Awaitable[None]]) -> None:
        try:
            await until()
        finally:
            # Whatever happened to the trial: starts are the better trial then.
            del self._waiting[name]
            self._release(name)

    @staticmethod
    async def _until_room(folder: Path) -> None:
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            if await when_there_are_means(lambda: asyncio.to_thread(_has_room, folder)):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)


def _has_room(folder: Path) -> bool:
    """Whether a trial write works. A folder that is gone is no matter of room: the next start says so."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as trial:
            trial.write(_TRIAL)
            os.fsync(trial.fileno())
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
