"""The files of one attempt: its input, output, errors and status, flat in the run's directory.

Nothing here needs asyncio or pydantic: commands that only read (`mzt logs`, `mzt status`) use it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from marianne_core.run.shim import NO_DIRECTORY, NO_STATUS_FILE, shim_name

_STATUS_BYTES = 256
"""More than two lines of numbers ever need."""

_STDERR_TAIL = 4096
"""Bytes of the errors' end that are searched for the shell's own message."""

_LOWEST_DESCRIPTOR = 10
"""Ours stay above the numbers that `posix_spawn` fills in the child (0 to 3)."""

_SIGNAL_BASE = 128
"""A shell reports a child that a signal ended as this plus the signal's number."""

_LAST_SIGNAL = 64


def new_token() -> str:
    """A name for an attempt that no other attempt has: 16 hexadecimal digits."""
    return os.urandom(8).hex()


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """Where one attempt's files are: `<sheet>.<attempt>.{in,out,err,st}`."""

    run_dir: Path
    """Absolute; one directory for all attempts of a run."""
    sheet: int
    attempt: int
    """From 1."""

    @property
    def stdin(self) -> Path:
        """What the instrument reads, when that is much; a short input is in no file."""
        return Path(self.name("in"))

    @property
    def stdout(self) -> Path:
        return Path(self.name("out"))

    @property
    def stderr(self) -> Path:
        return Path(self.name("err"))

    @property
    def status(self) -> Path:
        """The shim's pid and the exit status; locked as long as the shim lives."""
        return Path(self.name("st"))

    def name(self, suffix: str) -> str:
        """Path of the file with this suffix, as text (no Path is made: this is on the hot path)."""
        return f"{self.run_dir}/{self.sheet}.{self.attempt}.{suffix}"


@dataclass(frozen=True, slots=True)
class StatusFile:
    """What the complete lines of a status file say."""

    pid: int | None = None
    """Of the shim; it is also its session and process group. None: not written yet."""
    exit_status: int | None = None
    """0-255 as the shell reports it (128+n for signal n); None: not written, or only in part."""


def parse_status(content: bytes) -> StatusFile:
    """Read a status file's content. A last line without its newline does not count."""
    pid = exit_status = None
    for line in content.split(b"\n")[:-1]:
        if line[:1] == b"=" and line[1:].isdigit():
            exit_status = int(line[1:])
        elif line.isdigit() and pid is None:
            pid = int(line)
    return StatusFile(pid, exit_status)


def read_status(path: Path | str) -> StatusFile:
    """Read a status file; one that does not exist says nothing. Raises OSError otherwise."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return StatusFile()
    try:
        return parse_status(os.read(fd, _STATUS_BYTES))
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class StatusLook:
    """A status file together with its lock, looked at in the order that leaves no race."""

    exists: bool
    held: bool
    """The shim lives. False is final; True is true of the moment."""
    status: StatusFile


def look_at_status(path: Path | str) -> StatusLook:
    """Read a status file and see whether its lock is held. Never creates or changes the file.

    The exit line is written before the lock is freed. So when the lock turns out to be free the
    file is read again after that, and then holds all that will ever be in it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return StatusLook(False, False, StatusFile())
    try:
        status = parse_status(os.pread(fd, _STATUS_BYTES, 0))
        if status.exit_status is not None:
            return StatusLook(True, False, status)
        if not _try_lock(fd, fcntl.LOCK_SH):
            return StatusLook(True, True, status)
        return StatusLook(True, False, parse_status(os.pread(fd, _STATUS_BYTES, 0)))
    finally:
        os.close(fd)


def open_status_to_wait(path: Path | str) -> int:
    """A descriptor of a status file for waiting on its lock (LOCK_SH). Raises OSError."""
    return lift_descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def open_status_locked(path: Path | str) -> int:
    """Make an attempt's status file, empty and locked by us; returns a descriptor of 10 or more.

    Raises BlockingIOError when another process holds the lock (an attempt of these files lives),
    and other kinds of OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    new = True
    try:
        fd = lift_descriptor(os.open(path, flags | os.O_EXCL, 0o600))
    except FileExistsError:
        new = False
        fd = lift_descriptor(os.open(path, flags, 0o600))
    try:
        if not _try_lock(fd, fcntl.LOCK_EX):
            raise BlockingIOError(errno.EWOULDBLOCK, "an attempt of this sheet is alive", str(path))
        if not new and os.fstat(fd).st_size:
            # An earlier attempt of the same number that is proved not to run; only the holder of
            # the lock may empty the file.
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def lift_descriptor(fd: int) -> int:
    """The same open file under a number of 10 or more, closed on exec; `fd` itself is closed."""
    if fd >= _LOWEST_DESCRIPTOR:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR)
    finally:
        os.close(fd)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt's process ended, from its files and what `waitpid` said."""

    exit_status: int | None
    """0-255; None = nobody knows (the shim was killed): end what is left of the tree, then the
    attempt is lost, or cancelled or timed out if we ended it ourselves."""
    signal: int | None = None
    """The signal's number when `exit_status` is 128+n."""
    launch_failure: str = ""
    """The shell's words when the instrument could not be started; "" when it was."""


def read_end(files: AttemptFiles, token: str, waited: int | None) -> AttemptEnd:
    """How an attempt ended, after its shim is gone.

    `waited` is the shim's own end as `Waiter` reports it: an exit status, minus a signal's number,
    or None for a shim that is not our child. It counts only where the exit line is missing (a full
    disk). Raises OSError when a file cannot be read.
    """
    if waited is not None and 0 <= waited < NO_DIRECTORY:
        # What the shim left with is what its last line says; no file needs to be read.
        return AttemptEnd(waited)
    status = read_status(files.name("st"))
    code = status.exit_status
    if code is None:
        if waited is None or waited < 0:
            return AttemptEnd(None)
        code = waited
        if code == NO_STATUS_FILE and status.pid is None:
            return AttemptEnd(code, None, "the attempt's status file could not be written")
        if code == NO_DIRECTORY and (said := shell_complaint(files.name("err"), token)):
            return AttemptEnd(code, None, said)
    if code in (126, 127) and (said := shell_complaint(files.name("err"), token)):
        return AttemptEnd(code, None, said)
    number = code - _SIGNAL_BASE
    return AttemptEnd(code, number if 0 < number <= _LAST_SIGNAL else None)


def shell_complaint(stderr: Path | str, token: str) -> str:
    """What the shim's shell itself said at the end of the errors, or "".

    A program that leaves with 126 or 127 by itself has left no such line.
    """
    try:
        with open(stderr, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _STDERR_TAIL))
            tail = b"\n" + file.read()
    except FileNotFoundError:
        return ""
    # The last line of ours and not the last line: a program's path may contain a newline.
    _, mark, said = tail.rpartition(f"\n{shim_name(token)}:".encode())
    if not mark:
        return ""
    # dash says "1: PROGRAM: words", bash "line 1: PROGRAM: words".
    words = said.decode(errors="replace").strip()
    number, colon, rest = words.removeprefix("line ").partition(": ")
    return rest if colon and number.isdecimal() else words
