"""Telling a store that cannot be written now from a change that can never be written."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from marianne_core.model.errors import StateError
from marianne_core.remember.disk import SyncError
from marianne_core.remember.migrations import primary_code

_WORDS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "look at the disk and its quota"),
    sqlite3.SQLITE_READONLY: ("it is read-only", "make its file system writable again"),
    sqlite3.SQLITE_BUSY: ("another program keeps it locked", "end the other program"),
    sqlite3.SQLITE_LOCKED: ("another program keeps it locked", "end the other program"),
    sqlite3.SQLITE_CANTOPEN: ("one of its files cannot be opened", "look at the state directory"),
    sqlite3.SQLITE_PERM: ("permission is denied", "look at the permissions of the state directory"),
    sqlite3.SQLITE_NOMEM: ("memory is short", "free some memory"),
    sqlite3.SQLITE_PROTOCOL: ("its locks do not work", "move it to a local file system"),
    sqlite3.SQLITE_NOLFS: ("the file system cannot hold it", "move it to another file system"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "stop the conductor and put a backup in its place"),
    sqlite3.SQLITE_NOTADB: ("it is damaged", "stop the conductor and put a backup in its place"),
    sqlite3.SQLITE_INTERRUPT: ("the write was interrupted", "try again"),
}

_CODES = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.EMFILE: sqlite3.SQLITE_CANTOPEN,
    errno.ENFILE: sqlite3.SQLITE_CANTOPEN,
    errno.ENOMEM: sqlite3.SQLITE_NOMEM,
}
"""What SQLite would have said of a sync that failed; an error of the disk otherwise."""


def is_trouble(error: BaseException) -> bool:
    """True when the same change may well be written later: the disk is at fault, not the change."""
    return isinstance(error, sqlite3.Error | SyncError) and _code(error) in _WORDS


def depends_on_size(error: BaseException) -> bool:
    """True when a smaller change may still fit where this one did not: the disk is full."""
    return isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_FULL


def sentence(error: BaseException) -> str:
    """What is the matter with the store, in one sentence."""
    why = _WORDS[_code(error)][0] if is_trouble(error) else str(error)
    return f"the state database cannot be written: {why}"


def refusal(error: BaseException, database: Path) -> StateError:
    """The answer to somebody whose change was not written."""
    if not is_trouble(error):
        return StateError(
            f"the state database refused a change: {error}",
            where=str(database),
            hint="nothing was changed; this is a fault of mzt, please report it",
        )
    what = _WORDS[_code(error)][1]
    return StateError(
        sentence(error),
        where=str(database),
        hint=f"nothing was changed; {what}, then try again",
    )


def _code(error: BaseException) -> int:
    """SQLite's primary code for an error of its own or of a sync; 0 for others."""
    if isinstance(error, SyncError):
        return _CODES.get(error.number, sqlite3.SQLITE_IOERR)
    return primary_code(error)
