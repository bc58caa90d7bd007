"""One transaction per group of work, synced as far as its strictest member needs."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from marianne_core.remember.changes import AttemptFinished, Change, Sync
from marianne_core.remember.disk import Disk
from marianne_core.remember.writing import apply

_TRIAL = "INSERT OR REPLACE INTO marks (name, value) VALUES ('room', zeroblob(65536))"

_CHECKPOINT_AFTER = 4000
"""Rows changed between two checkpoints; about as many pages of the log, of 4 KiB each."""

_ROWS_OF_A_COMMIT = 4
"""What a small commit writes besides its rows counts as so many."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one call wants written: changes, or a function, or nothing (only to be synced)."""

    changes: Sequence[Change] = ()
    function: Callable[[sqlite3.Connection], Any] | None = None
    sync: Sync = Sync.WRITE


class Transactions:
    """Writes groups of work with a connection in autocommit mode. For one thread."""

    def __init__(self, connection: sqlite3.Connection, disk: Disk) -> None:
        self._connection = connection
        self._disk = disk
        self._level = ""
        self._rows = 0
        """Changed since the last checkpoint."""
        # A checkpoint of SQLite's own would sync rows before the files that belong to them.
        connection.execute("PRAGMA wal_autocheckpoint=0")

    def write(self, group: Sequence[Work], *, sync_now: bool = False) -> list[Any]:
        """Write a group in one transaction; returns what its functions returned, None for others.

        With `sync_now`, with a member that needs the disk, or after a sync that failed, all of it
        is synced when this returns, and what was written before. Raises whatever SQLite or a
        function raises, and SyncError; then nothing of the group is written.
        """
        try:
            return self._write(group, sync_now, clean=False)
        except UnicodeEncodeError:
            # Rare, and costs a pass over all texts: only then are lone surrogates looked for.
            return self._write(group, sync_now, clean=True)

    def try_disk(self) -> None:
        """See whether changes could be written and synced: 64 KiB. Raises sqlite3.Error, SyncError."""
        self._prepare_sync()
        self._begin("FULL")
        try:
            self._connection.execute(_TRIAL)
            self._connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        self._disk.settled()

    def keep_log_short(self) -> None:
        """Copy what was committed into the database when the log has become long.

        When that fails the log keeps everything, and it is tried again later.
        """
        if self._rows < _CHECKPOINT_AFTER or self._disk.broken:
            return
        self._rows = 0
        try:
            self._checkpoint()
        except (sqlite3.Error, OSError):
            # A full disk: the next commit that needs room says so to those who wait for it.
            return

    def _write(self, group: Sequence[Work], sync_now: bool, *, clean: bool) -> list[Any]:
        strictest = max((work.sync for work in group), default=Sync.WRITE)
        sync = sync_now or strictest is Sync.DISK or self._disk.broken
        if all(work.function is None and not work.changes for work in group):
            if sync:
                self._sync()
            return [None] * len(group)
        files = _files(group)
        if not sync:
            with self._disk.committing(files):
                results, _ = self._commit("NORMAL", group, clean)
            self._disk.owe(soon=strictest is Sync.LAZY)
            return results
        self._prepare_sync(files)
        results, changed = self._commit("FULL", group, clean)
        if changed:
            self._disk.settled()
        else:
            # A commit without a change has synced nothing.
            self._disk.sync()
        return results

    def _commit(self, level: str, group: Sequence[Work], clean: bool) -> tuple[list[Any], bool]:
        """Write a group in one transaction; what its functions returned, and whether it changed a row."""
        self._begin(level)
        try:
            before = self._connection.total_changes
            results = self._carry_out(group, clean)
            changed = self._connection.total_changes - before
            self._connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        self._rows += changed + _ROWS_OF_A_COMMIT
        return results, bool(changed)

    def _sync(self) -> None:
        if self._disk.broken:
            self._prepare_sync()
        self._disk.sync()

    def _prepare_sync(self, files: Sequence[str] = ()) -> None:
        """What comes before SQLite syncs the log."""
        if self._disk.broken:
            # After a sync that failed, the system counts the pages it could not write as written.
            # They are still in memory: they are written anew, into the database.
            self._checkpoint()
        self._disk.sync_files(files)

    def _checkpoint(self) -> None:
        self._disk.sync_files()
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

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


def _files(group: Sequence[Work]) -> list[str]:
    """The files that results of a group stand on, without those that are empty or gone."""
    return [
        path
        for work in group
        for change in work.changes
        if type(change) is AttemptFinished
        for path in change.outputs
        if _has_content(path)
    ]


def _has_content(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return found.st_size > 0 and stat.S_ISREG(found.st_mode)
