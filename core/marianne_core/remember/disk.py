"""Getting what is written onto the disk, beside the writer: no commit waits for a slow disk.

A commit at synchronous=NORMAL has written its frames into the write-ahead log; at FULL, SQLite syncs
the log as well (https://www.sqlite.org/pragma.html#pragma_synchronous). That sync may as well come
later and from another descriptor of the same file: what was committed before it is then on the disk.

Order is the point: the files that a result stands on are synced before the log that holds its row.
Everything that syncs the log, or copies it into the database, goes through here for that reason.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
"""Reasons for not opening a file that are the system's and not the file's."""


class SyncError(Exception):
    """The disk did not take what was written; `__cause__` is the OSError."""

    @property
    def number(self) -> int:
        """The system's error number."""
        return getattr(self.__cause__, "errno", None) or errno.EIO


class Disk:
    """What is committed and not yet synced, and a thread that syncs it in time.

    All methods belong to the writer's thread.
    """

    def __init__(self, database: Path, after: float, failed: Callable[[], None]) -> None:
        """`after`: seconds between a commit that waits for its sync and the sync.

        `failed` is called in the syncing thread when a sync failed (`broken` says so then; the
        next try is the writer's). The database must be open, in WAL mode. Raises OSError.
        """
        # Not locked by SQLite, unlike the database and its -shm: closing this one drops no locks.
        self._log = os.open(f"{database}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._after = after
        self._failed = failed
        self._turn = threading.Lock()
        """Held by whoever syncs."""
        self._gate = threading.Lock()
        """Held while the log is synced, and while results with files are committed. Within `_turn`."""
        # Under the condition.
        self._condition = threading.Condition()
        self._owing = False
        self._due: float | None = None
        self._files: list[str] = []
        self._closing = False
        self.broken = False
        """A sync failed, and none was made since. What was written may have been dropped."""
        self._thread = threading.Thread(target=self._live, name="mzt-sync", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def committing(self, files: Sequence[str]) -> Iterator[None]:
        """A commit within it may name these files: no sync of the log gets ahead of theirs."""
        if not files:
            yield
            return
        with self._gate:
            with self._condition:
                self._files += files
            yield

    def owe(self, *, soon: bool) -> None:
        """Something is committed and not synced. `soon`: the thread shall sync it in time."""
        self._owing = True
        if soon and self._due is None and not self.broken:
            with self._condition:
                self._due = time.monotonic() + self._after
                self._condition.notify()

    def sync_files(self, files: Sequence[str] = ()) -> None:
        """Sync these files and all that are owed, before SQLite syncs the log. Raises SyncError."""
        with self._turn:
            with self._condition:
                self._files += files
            self._sync_files()

    def sync(self) -> None:
        """Sync all that is owed. Raises SyncError."""
        with self._turn:
            if self._owing:
                self._sync()

    def settled(self) -> None:
        """SQLite has synced the log, after `sync_files`: nothing is owed any more."""
        with self._turn:
            self._owing = self.broken = False
            self._due = None

    def close(self) -> None:
        """End the thread, without a sync."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()
        os.close(self._log)

    def _live(self) -> None:
        while True:
            with self._condition:
                while not self._closing and not self._is_due():
                    self._condition.wait(self._timeout())
                if self._closing:
                    return
            try:
                with self._turn:
                    self._sync()
            except SyncError:
                self._failed()

    def _is_due(self) -> bool:
        return self._due is not None and time.monotonic() >= self._due

    def _timeout(self) -> float | None:
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def _sync(self) -> None:
        # Most files while results go on being committed, and then those that came meanwhile.
        self._sync_files()
        with self._gate:
            self._sync_files()
            # Before the sync: what is committed during it may not be part of it.
            self._owing, self._due = False, None
            try:
                sync_data(self._log)
            except OSError as error:
                raise self._broke() from error
            self.broken = False

    def _sync_files(self) -> None:
        with self._condition:
            files, self._files = self._files, []
        try:
            sync_files(files)
        except OSError as error:
            with self._condition:
                self._files[:0] = files
            raise self._broke() from error

    def _broke(self) -> SyncError:
        self._owing = self.broken = True
        self._due = None
        return SyncError("the disk did not take what was written")


def sync_data(fd: int) -> None:
    """Bring a file's content onto the disk, and of its metadata what is needed to read it."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def sync_files(paths: Sequence[str]) -> None:
    """Sync files and their entries in their directories. Raises OSError."""
    folders = {os.path.dirname(path) for path in paths if _sync_file(path)}
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            _sync_folder(folder)


def _sync_file(path: str) -> bool:
    """Sync one file; False when there is nothing to sync: missing, empty, or not a plain file."""
    try:
        # An instrument may have put anything in its place: a fifo would block, a link lead away.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise
        return False
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
            return False
        sync_data(fd)
    finally:
        os.close(fd)
    return True


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
