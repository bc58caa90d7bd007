"""One transaction per group of work, synced as far as its strictest member needs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from marianne_core.remember.changes import Change, Sync
from marianne_core.remember.writing import apply

_SYNC_MARK = "INSERT OR REPLACE INTO marks (name, value) VALUES ('sync', 0)"
_TRIAL = "INSERT OR REPLACE INTO marks (name, value) VALUES ('room', zeroblob(65536))"


@dataclass(frozen=True, slots=True)
class Work:
    """What one call wants written: changes, or a function, or nothing (only to be synced)."""

    changes: Sequence[Change] = ()
    function: Callable[[sqlite3.Connection], Any] | None = None
    sync: Sync = Sync.WRITE


class Transactions:
    """Writes groups of work with a connection in autocommit mode. For one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._level = ""
        self._unsynced = False
        self.unsynced_since: float | None = None
        """Monotonic time of the oldest LAZY change that a power cut could still undo, or None."""

    def sync_due(self, now: float, after: float) -> bool:
        """True when a LAZY change has waited `after` seconds for its sync."""
        return self.unsynced_since is not None and now >= self.unsynced_since + after

    def write(self, group: Sequence[Work], *, sync_now: bool = False) -> list[Any]:
        """Write a group in one transaction; returns what its functions returned, None for others.

        `sync_now` also syncs what was written before. Raises whatever SQLite or a function raises;
        then nothing of the group is written.
        """
        try:
            return self._write(group, sync_now, clean=False)
        except UnicodeEncodeError:
            # Rare, and costs a pass over all texts: only then are lone surrogates looked for.
            return self._write(group, sync_now, clean=True)

    def try_disk(self) -> None:
        """See whether changes could be written and synced: 64 KiB. Raises sqlite3.Error."""
        self._begin("FULL")
        try:
            self._connection.execute(_TRIAL)
            self._connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        self._synced()

    def _write(self, group: Sequence[Work], sync_now: bool, *, clean: bool) -> list[Any]:
        strictest = max((work.sync for work in group), default=Sync.WRITE)
        sync = strictest is Sync.DISK or (sync_now and self.unsynced_since is not None)
        idle = all(work.function is None and not work.changes for work in group)
        if idle and not (sync and self._unsynced):
            return [None] * len(group)
        began = time.monotonic()
        self._begin("FULL" if sync else "NORMAL")
        try:
            before = self._connection.total_changes
            results = self._carry_out(group, clean)
            if sync and self._unsynced and self._connection.total_changes == before:
                # A commit without a change syncs nothing. One changed row makes sure of it.
                self._connection.execute(_SYNC_MARK)
            self._connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        if sync:
            self._synced()
            return results
        self._unsynced = True
        if strictest is Sync.LAZY and self.unsynced_since is None:
            self.unsynced_since = began
        return results

    def _synced(self) -> None:
        self._unsynced = False
        self.unsynced_since = None

    def _carry_out(self, group: Sequence[Work], clean: bool) -> list[Any]:
        connection = self._connection
        results: list[Any] = []
        changes: list[Change] = []
        for work in group:
            if work.function is None:
                changes += work.changes
                results.append(None)
                continue
            # The function sees all that was stated before it.
            apply(connection, changes, clean=clean)
            changes = []
            results.append(work.function(connection))
        apply(connection, changes, clean=clean)
        return results

    def _begin(self, level: str) -> None:
        # SQLite refuses to change the level inside a transaction.
        if level != self._level:
            self._connection.execute(f"PRAGMA synchronous={level}")
            self._level = level
        self._connection.execute("BEGIN IMMEDIATE")

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
