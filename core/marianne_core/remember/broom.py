"""Removing the files of forgotten runs while a conductor works, without holding up its loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from marianne_core.remember.home import Home
from marianne_core.remember.run_dirs import not_removed, removing, set_strays_aside

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


class Broom:
    """Sweeps at the start what an earlier conductor left, and removes what is cleared."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._sweeping: asyncio.Task[None] | None = None

    async def sweep(self) -> None:
        """Set aside the directories that no run has; they are removed after the return.

        To be called before runs are accepted. A directory that cannot be looked at or removed is
        told to the log: it keeps nothing from working.
        """
        try:
            strays = await asyncio.to_thread(set_strays_aside, self._home)
        except OSError as error:
            _log.warning("broom.not_swept", extra={"why": str(error)})
            return
        if strays:
            self._sweeping = asyncio.create_task(self._sweep(strays), name="mzt-broom")

    async def remove(self, run_ids: Sequence[int]) -> None:
        """Remove the files of runs whose rows are gone; returns when that is done.

        Raises StateError when some cannot be removed: the next conductor tries again.
        """
        try:
            await _remove(self._home.run_dir(run_id) for run_id in run_ids)
        except OSError as error:
            raise not_removed(error) from error

    async def leave(self) -> None:
        """Stop removing; what is left, the next conductor finds."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _sweep(self, strays: Sequence[Path]) -> None:
        try:
            removed = await _remove(strays)
        except OSError as error:
            _log.warning("broom.not_swept", extra={"why": str(error)})
        else:
            _log.info("broom.swept", extra={"runs": len(strays), "files": removed})


async def _remove(folders: Iterable[Path]) -> int:
    """How many files were removed. A thread of its own for each portion: it ends soon when told to."""
    portions = removing(folders)
    removed = 0
    while (now := await asyncio.to_thread(next, portions, None)) is not None:
        removed = now
    return removed
