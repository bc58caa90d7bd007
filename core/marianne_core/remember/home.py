"""The state directory: where it is, what is in it, and whether it can be used."""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path

from marianne_core.model.errors import InputError, StateError

SOCKET_PATH_LIMIT = 100
"""Bytes. The system's own limit is 104 (BSD, macOS) or 108 (Linux), the closing zero included."""

_CLONE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Home:
    """One state directory. Exactly one conductor works in it at a time (see `StateLock`)."""

    __slots__ = ("root",)

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        """Absolute, but not resolved: a symbolic link is refused by `prepare`, not followed."""

    @classmethod
    def find(cls, env: Mapping[str, str]) -> Home:
        """The state directory that these environment variables name. Touches no file.

        `$MARIANNE_HOME`, else `$XDG_STATE_HOME/marianne` if that is absolute (a relative one does
        not count, XDG base directory specification), else `~/.local/state/marianne`.
        """
        if own := env.get("MARIANNE_HOME"):
            return cls(_expanded(own, env))
        state = env.get("XDG_STATE_HOME", "")
        if os.path.isabs(state):
            return cls(Path(state, "marianne"))
        return cls(_expanded("~/.local/state/marianne", env))

    def clone(self, name: str) -> Home:
        """The state directory of the clone `name`, inside this one. Raises InputError for its name."""
        if not _CLONE_NAME.fullmatch(name):
            raise InputError(
                f"{name!r} cannot be the name of a clone",
                hint="use up to 64 letters, digits, '-' and '_', a letter or digit first",
            )
        return Home(self.root / "clones" / name)

    @property
    def database(self) -> Path:
        """Everything that is remembered."""
        return self.root / "marianne.db"

    @property
    def lock(self) -> Path:
        """The file whose lock makes a process the conductor of this directory."""
        return self.root / "conductor.lock"

    @property
    def log(self) -> Path:
        """The conductor's own log."""
        return self.root / "conductor.log"

    @property
    def versions(self) -> Path:
        """What programs of instruments said their version is; may be removed at any time."""
        return self.root / "versions.json"

    @property
    def runs(self) -> Path:
        """Holds one directory of attempt files per run."""
        return self.root / "runs"

    def run_dir(self, run_id: int) -> Path:
        """The attempt files of one run. Not made here; `run_id` is never used twice."""
        return self.runs / str(run_id)

    @property
    def socket(self) -> Path:
        """The conductor's socket: always at the same place for cron, sudo, tmux and ssh.

        A path too long for a socket becomes a short name, made from the long one, in a private
        folder of the user under /tmp.
        """
        direct = self.root / "run" / "mzt.sock"
        encoded = os.fsencode(direct)
        if len(encoded) <= SOCKET_PATH_LIMIT:
            return direct
        # Enough to tell one user's directories apart, and there long before hashlib is.
        name = f"{zlib.crc32(encoded):08x}{zlib.crc32(encoded[::-1]):08x}"
        return Path(f"/tmp/marianne-{os.geteuid()}", f"{name}.sock")

    def prepare(self) -> None:
        """Make the directory and its folders, private to their owner (0700), and prove it writable.

        Raises StateError, saying what is wrong and what to do, for a symbolic link, another owner,
        something that is not a directory, and a place that cannot be written.
        """
        private_folder(self.root)
        for folder in (self.runs, self.root / "run", self.socket.parent):
            private_folder(folder)
        probe = self.root / f".write-probe-{os.getpid()}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(probe, flags, 0o600))
            os.unlink(probe)
        except OSError as error:
            raise _unusable(self.root, error) from error

    def __repr__(self) -> str:
        return f"Home({str(self.root)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Home) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)


def private_folder(path: Path) -> None:
    """Make sure that `path` is a directory of ours that nobody else can enter.

    Missing parents are made with the usual mode. Raises StateError.
    """
    try:
        found = _lstat(path)
        if found is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Another process of ours may have made it meanwhile; it is looked at just the same.
            path.mkdir(mode=0o700, exist_ok=True)
            found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise StateError(
                "the state directory must not be a symbolic link",
                where=str(path),
                hint=f"set MARIANNE_HOME to the directory itself: {os.path.realpath(path)}",
            )
        if not stat.S_ISDIR(found.st_mode):
            raise StateError(
                "a directory is needed here, but this is something else",
                where=str(path),
                hint="move it away, or set MARIANNE_HOME to another directory",
            )
        if found.st_uid != os.geteuid():
            raise StateError(
                f"it belongs to another user (uid {found.st_uid}, you are uid {os.geteuid()})",
                where=str(path),
                hint="work as that user, or set MARIANNE_HOME to a directory of your own",
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)
    except OSError as error:
        raise _unusable(path, error) from error


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _expanded(path: str, env: Mapping[str, str]) -> Path:
    if path == "~" or path.startswith("~/"):
        return Path(_own_folder(env) + path[1:])
    return Path(path)


def _own_folder(env: Mapping[str, str]) -> str:
    """The user's home directory: $HOME, or what the system knows where that names no directory."""
    if os.path.isabs(home := env.get("HOME", "")):
        return home
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        raise InputError(
            "this user has no home directory, so there is no place for the state directory",
            hint="set HOME or MARIANNE_HOME to a directory",
        ) from None


def _unusable(path: Path, error: OSError) -> StateError:
    where = str(error.filename or path)
    other = "or set MARIANNE_HOME to a directory that can be written"
    match error.errno:
        case errno.EROFS:
            return StateError(
                "the state directory is on a read-only file system",
                where=where,
                hint=f"mount it writable, {other}",
            )
        case errno.EACCES | errno.EPERM:
            return StateError(
                "no permission to use the state directory",
                where=where,
                hint=f"correct its permissions, {other}",
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StateError(
                "no space left for the state directory",
                where=where,
                hint=f"free some space, {other}",
            )
        case errno.ENOTDIR | errno.EEXIST:
            return StateError(
                "a directory is needed here, but a file is in its way",
                where=where,
                hint=f"move the file away, {other}",
            )
    return StateError(
        f"the state directory cannot be used: {error.strerror}",
        where=where,
        hint=f"repair it, {other}",
    )
