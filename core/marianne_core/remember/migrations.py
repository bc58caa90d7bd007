"""Opening the database: ours or refused, and brought to this program's version step by step.

Only the holder of the state lock opens it for writing. A reader of another version says so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from marianne_core.model.errors import OlderStoreError, StateError
from marianne_core.remember.schema import APPLICATION_ID, VERSION_1, VERSION_2, VERSION_3, VERSION_4

Migration = tuple[str, ...]
"""Statements that take a database from one version to the next, in one transaction."""

MIGRATIONS: tuple[Migration, ...] = (VERSION_1, VERSION_2, VERSION_3, VERSION_4)
"""MIGRATIONS[n] takes version n to n + 1. A released step is never changed, only followed."""

SCHEMA_VERSION = len(MIGRATIONS)

_MAGIC = b"SQLite format 3\0"
_HEADER = 100
_BUSY_SECONDS = 2.0
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def open_database(path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> sqlite3.Connection:
    """Open the database for writing, making or migrating it when it must be.

    The connection is in autocommit mode (transactions are begun by hand), in WAL mode, may be used
    from one thread after another, and waits up to 2 s for another writer. Raises StateError and
    leaves the file as it is when it is not ours, damaged, of a newer version, or unusable.
    """
    try:
        if _is_ours(path):
            check_version(path, len(migrations))
        else:
            _make(path, migrations)
        connection = _connect(path)
        try:
            _migrate(connection, path, migrations)
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            # A reader that stays long lets the log grow; afterwards it shrinks back to this.
            connection.execute("PRAGMA journal_size_limit=67108864")
            connection.execute("PRAGMA temp_store=MEMORY")
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise cannot_open(path, error) from error
    return connection


def open_for_reading(path: Path, version: int = SCHEMA_VERSION) -> sqlite3.Connection | None:
    """Open the database for reading only; None when there is none yet.

    Works while a conductor writes, and without one. Raises StateError when it is not ours, damaged,
    unusable, or of another version than this program's.
    """
    try:
        if not _is_ours(path):
            return None
        connection = _connect_read_only(path)
        try:
            _read_schema(connection)
            found = _version(connection)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise cannot_open(path, error) from error
    if found == version:
        return connection
    connection.close()
    if found > version:
        raise _newer(path, found, version)
    raise OlderStoreError(
        f"the database has version {found}, this program reads version {version}",
        where=str(path),
        hint="a conductor of this program brings it up to date: mzt run and mzt resume start one",
    )


def check_version(path: Path, version: int = SCHEMA_VERSION) -> None:
    """Raise StateError if the database at `path`, one of ours, is newer than `version`."""
    connection = _connect_read_only(path)
    try:
        found = _version(connection)
    finally:
        connection.close()
    if found > version:
        raise _newer(path, found, version)


def cannot_open(path: Path, error: Exception) -> StateError:
    """The sentence for a database that cannot be opened because of `error`."""
    code = primary_code(error)
    if code in _DAMAGED:
        return _damaged(str(path))
    number = error.errno if isinstance(error, OSError) else None
    sealed = code == sqlite3.SQLITE_CANTOPEN and not os.access(path.parent, os.W_OK)
    if (
        code == sqlite3.SQLITE_READONLY
        or number in (errno.EROFS, errno.EACCES, errno.EPERM)
        or (sealed and path.exists())
    ):
        return StateError(
            "the database cannot be written: it is read-only for you",
            where=str(path),
            hint="correct its permissions or its file system, or set MARIANNE_HOME",
        )
    why = error.strerror if isinstance(error, OSError) else error
    return StateError(
        f"the database cannot be opened: {why}",
        where=str(path),
        hint="look at the permissions and the free space of the state directory",
    )


def unreadable(where: str, error: sqlite3.Error) -> StateError:
    """The sentence for a database that could be opened, but not be read because of `error`."""
    if primary_code(error) in _DAMAGED:
        return _damaged(where)
    if primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StateError(
            "the database is locked by another program",
            where=where,
            hint="try again; close programs that work on this file",
        )
    return StateError(
        f"the database cannot be read: {error}",
        where=where,
        hint="look at the disk and the permissions of the state directory",
    )


def _damaged(where: str) -> StateError:
    return StateError(
        "the database is damaged",
        where=where,
        hint="move it away (mzt then starts with an empty one), or put a backup in its place",
    )


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of an error; 0 when it has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else 0


def _is_ours(path: Path) -> bool:
    """False when there is nothing yet. Looks at the file itself: SQLite might already change it.

    Raises StateError when something else is there, and OSError.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(_HEADER)
    except FileNotFoundError:
        return False
    if not header:
        return False
    application = int.from_bytes(header[68:72], "big")
    if header.startswith(_MAGIC) and application == APPLICATION_ID:
        return True
    what = "an SQLite database of another program" if header.startswith(_MAGIC) else "another file"
    raise StateError(
        f"this is {what}, not a database of mzt; it was left as it is",
        where=str(path),
        hint="move it away, or set MARIANNE_HOME to another directory",
    )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _newer(path: Path, found: int, known: int) -> StateError:
    return StateError(
        f"the database has version {found}, but this program knows versions up to {known}; "
        "it was left as it is",
        where=str(path),
        hint="use the newer mzt that wrote it",
    )


def _make(path: Path, migrations: Sequence[Migration]) -> None:
    """Make the database beside its place and move it there when it is whole and on the disk.

    So a crash leaves all or nothing, and never a file that cannot be told from somebody else's.
    """
    new = _beside(path, f".new-{os.urandom(4).hex()}")
    # The log and its index, made by SQLite beside the database, get the same mode.
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        connection = _connect(new)
        try:
            _migrate(connection, new, migrations)
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        finally:
            connection.close()
        if path.exists() and not path.stat().st_size:
            path.unlink()
        # Unlike a rename this leaves a database alone that another process made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        new.unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        _read_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_schema(connection: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError now rather than later when the file is damaged at its root."""
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Bring the database to the last version; each step is one synced transaction."""
    connection.execute("PRAGMA synchronous=FULL")
    while (version := _version(connection)) < len(migrations):
        connection.execute("BEGIN EXCLUSIVE")
        try:
            # Looked at again under the lock: another process may have been faster.
            if _version(connection) == version:
                for statement in migrations[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    if version > len(migrations):
        raise _newer(path, version, len(migrations))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _connect_read_only(path: Path) -> sqlite3.Connection:
    uri = "file://" + "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"/._-" else f"%{byte:02X}"
        for byte in os.fsencode(os.path.abspath(path))
    )
    # On a read-only file system SQLite cannot make the files beside the database that WAL mode
    # needs. Without a log there is nothing in them either, and nobody who could write.
    log = _beside(path, "-wal")
    if not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size):
        uri += "?mode=ro&immutable=1"
    else:
        uri += "?mode=ro"
    return sqlite3.connect(
        uri,
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
