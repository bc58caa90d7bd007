"""Judgements: what a dependent builds on is in the store before it may change it.

Else a kill could let the files of a sheet be validated a second time, as its dependent left them.
"""

from __future__ import annotations

import asyncio

from marianne_core.model.outcome import Ended, Outcome
from marianne_core.remember.changes import Sync
from marianne_core.remember.journal import Journal


class Judgements:
    """Knows whether what ended is in the store. Belongs to one event loop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._builds_on_others = False
        """A sheet was just launched that depends on others."""
        self._fresh = False
        """Something ended since `_writing` whose files alone do not tell its result."""
        self._writing: asyncio.Future[None] | None = None
        """Done when what ended before it is in the store, or cannot be written."""

    def launched(self, *, dependent: bool) -> None:
        """A sheet was launched; `dependent`: it builds on others."""
        self._builds_on_others |= dependent

    def ended(self, outcome: Outcome, *, validated: bool) -> None:
        """An attempt ended; its row and the launches that follow from it were handed out already."""
        # Whoever has only an exit status has the same one after a kill. What was validated or
        # skipped would be judged anew.
        self._fresh |= outcome.ended is not Ended.OK or validated
        if self._builds_on_others and self._fresh:
            # What follows waits for these rows before it starts; until then it is prepared.
            self._journal.hasten()
        self._builds_on_others = False

    async def written(self) -> None:
        """Returns when all that ended so far is in the store. Raises StateError when it cannot be."""
        writing = self._writing
        failed = writing is not None and writing.done() and writing.exception() is not None
        if self._fresh or failed:
            self._fresh = False
            writing = self._writing = asyncio.ensure_future(
                self._journal.commit([], sync=Sync.WRITE)
            )
        if writing is not None and not writing.done():
            await asyncio.shield(writing)
