"""The socket's file: made so that nobody else can ever connect, and who is at the other end."""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Protocol

from marianne_core.model.errors import StateError
from marianne_core.remember.home import private_folder

_BACKLOG = 128


class _HasOptions(Protocol):
    """The part of a socket, or of asyncio's wrapper of one, that is asked for options."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


class SocketFile:
    """A listening Unix socket at a path, reachable for its owner alone.

    The caller holds the state lock, so a socket found at the path is a dead conductor's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: tuple[int, int] | None = None

    def listen(self) -> socket.socket:
        """Make the folder (0700) and the socket (0600), and listen.

        Raises StateError when the path, or its folder, is a symbolic link, belongs to somebody
        else, or is something else than a socket or a folder; nothing is removed then.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            private_folder(self.path.parent)
            self._remove_stale()
            # The mode is right from the first moment: a chmod after bind would leave a gap.
            before = os.umask(0o077)
            try:
                listener.bind(str(self.path))
            finally:
                os.umask(before)
            self._made = _identity(self.path)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise StateError(
                f"the socket cannot be opened: {error.strerror or error}",
                where=str(self.path),
                hint="choose another state directory with MARIANNE_HOME",
            ) from error
        except BaseException:
            listener.close()
            raise
        return listener

    def remove(self) -> None:
        """Remove the socket, unless another conductor has put its own there since."""
        if self._made is not None and _identity(self.path) == self._made:
            self.path.unlink(missing_ok=True)
        self._made = None

    def _remove_stale(self) -> None:
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise _refused(self.path, "what stands at the socket's place is not a socket")
        self.path.unlink()


def peer_uid(connection: _HasOptions) -> int | None:
    """The user at the other end of a Unix socket, or None where the system does not tell."""
    try:
        if sys.platform == "linux":
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return int(struct.unpack("3i", raw)[1])  # pid, uid, gid
        # BSD and macOS: struct xucred at level 0 begins with its version and the uid.
        local_peercred = 1
        raw = connection.getsockopt(0, local_peercred, 76)
        return int(struct.unpack_from("=II", raw)[1])
    except (OSError, struct.error):
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _refused(path: Path, what: str) -> StateError:
    return StateError(
        what, where=str(path), hint="remove it, or set MARIANNE_HOME to another folder"
    )
