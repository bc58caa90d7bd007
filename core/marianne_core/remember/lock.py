"""The lock that makes one process the conductor of a state directory."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from marianne_core.model.errors import StateError

_ATTEMPTS = 200
"""How often a lock that only lookers hold is tried again, 1 ms apart."""


class LockHolder(NamedTuple):
    """Who conducts."""

    pid: int
    """0 in the moment between taking the lock and writing into its file."""
    version: str
    """Of the program."""
    socket: str
    """Where it listens."""


class StateLock:
    """A lock on a file (flock): the kernel frees it when its process ends, however it ends.

    The file is never removed, since a removed and remade file could be locked twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """True while this object holds the lock."""
        return self._fd is not None

    def try_acquire(self, *, version: str, socket: Path) -> bool:
        """Take the lock and write pid, version and socket into its file; False if another has it.

        Raises StateError when the file cannot be opened or written.
        """
        if self._fd is not None:
            return True
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            if not _exclusive(fd):
                os.close(fd)
                return False
            text = json.dumps({"pid": os.getpid(), "version": version, "socket": str(socket)})
            os.ftruncate(fd, 0)
            os.pwrite(fd, text.encode(), 0)
        except OSError as error:
            os.close(fd)
            raise self._unusable(error) from error
        self._fd = fd
        return True

    def acquire(self, *, version: str, socket: Path) -> None:
        """Take the lock. Raises StateError that names the holder's pid when another has it."""
        if self.try_acquire(version=version, socket=socket):
            return
        holder = self.holder()
        who = f"pid {holder.pid}, version {holder.version}" if holder and holder.pid else "starting"
        raise StateError(
            f"a conductor already works in this state directory ({who})",
            where=str(self.path),
            hint="talk to it (mzt list, mzt status, mzt cancel), or set MARIANNE_HOME for a second one",
        )

    def holder(self) -> LockHolder | None:
        """Who holds the lock now (this process too); None when it is free or was never taken.

        Raises StateError when the file cannot be read.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            if _try(fd, fcntl.LOCK_SH):
                return None
            return _parse(os.pread(fd, 65536, 0))
        finally:
            os.close(fd)

    def release(self) -> None:
        """Let go of the lock; harmless without it."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            os.ftruncate(fd, 0)
        finally:
            # Not by closing alone: a program that is just being started still has a copy.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def is_a_dead_ones(self) -> bool:
        """Whether the lock is held although its holder is dead: by the copy of a program that was
        just being started when its conductor was killed. It is free in some milliseconds."""
        holder = self.holder()
        if holder is None or holder.pid <= 0:
            return False
        try:
            os.kill(holder.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"the lock of the state directory cannot be used: {error.strerror}",
            where=str(self.path),
            hint="look at the directory's owner, permissions and free space",
        )


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _exclusive(fd: int) -> bool:
    """Take the exclusive lock unless another has it.

    Somebody who asks for the holder shares the lock for some microseconds. That is told from a
    holder by sharing it too, and is not a reason to give up.
    """
    for _ in range(_ATTEMPTS):
        if _try(fd, fcntl.LOCK_EX):
            return True
        if not _try(fd, fcntl.LOCK_SH):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        time.sleep(0.001)
    return False


def _parse(content: bytes) -> LockHolder:
    try:
        said = json.loads(content)
        return LockHolder(int(said["pid"]), str(said["version"]), str(said["socket"]))
    except (ValueError, KeyError, TypeError):
        return LockHolder(0, "", "")
