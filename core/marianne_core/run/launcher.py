"""Starting an attempt: files, lock, and one `posix_spawn` of the shim.

The conductor never forks (a forked copy would keep the attempt's lock) and never gives a lock up
with LOCK_UN (that would free it under the living shim): it closes its copy, and from then on the
lock is held exactly as long as the shim lives.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from marianne_core.model.errors import MztError
from marianne_core.run.attempt_files import AttemptFiles, lift_descriptor, open_status_locked
from marianne_core.run.shim import (
    SHELL,
    STATUS_DESCRIPTOR,
    TOKEN_VARIABLE,
    check_token,
    shim_argv,
)
from marianne_core.run.spawn import FileAction, Spawner, spawn

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
OUTPUT = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
"""Appending, so that a program that opens /dev/stdout anew (and so empties it) leaves no hole."""

IN_MEMORY = 65536
"""Bytes of input up to which no file is made of it. The memory is held as long as the attempt lives."""


class LaunchError(MztError):
    """A program could not be started; nothing of it runs."""

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        hint: str = "",
        code: str = "E009",
        retriable: bool = True,
        number: int | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.code = code
        """Error code of the field reference, section 4.5."""
        self.retriable = retriable
        """False: another try cannot help."""
        self.errno = number
        """The system's error number, if it was one (ENOSPC: the disk is full)."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """All that is needed to start one attempt."""

    token: str
    """Names the attempt for good; committed to the store before the launch."""
    argv: Sequence[str]
    """The program, as an absolute path, then its arguments."""
    cwd: Path
    """Absolute, and there."""
    env: Mapping[str, str]
    """The whole environment; the token is added."""
    stdin: bytes | None
    """What the instrument reads, of any size; None or empty = nothing (/dev/null)."""
    files: AttemptFiles


@dataclass(frozen=True, slots=True)
class Shim:
    """A started attempt."""

    pid: int
    """Of the shim, which leads the attempt's session and process group."""
    files: AttemptFiles
    token: str
    gone: asyncio.Future[int | None] | None = None
    """Its end, where somebody waits for it already (see `Waiter`)."""


class Launcher:
    """Starts attempts. One for a process; it puts the process's descriptors in order first."""

    def __init__(self, spawner: Spawner | None = None) -> None:
        """`spawner` is what `start` uses."""
        prepare_descriptors()
        self.spawner = spawner or Spawner()
        """What programs are spawned with, beside the loop."""

    async def start(self, spec: LaunchSpec) -> Shim:
        """Start an attempt, without waiting for the instrument and without keeping the loop.

        Raises LaunchError (nothing runs then), ValueError for a token that is none.
        """
        ready = _Ready.of(spec)
        with _failing(spec):
            pid = await self.spawner.spawn(
                SHELL,
                ready.argv,
                spec.env,
                ready.file_actions,
                marks={TOKEN_VARIABLE: spec.token},
                close=ready.descriptors,
            )
        return Shim(pid, spec.files, spec.token)

    def launch(self, spec: LaunchSpec) -> Shim:
        """The same for a host without a loop. Takes under a millisecond on a quiet machine."""
        ready = _Ready.of(spec)
        try:
            with _failing(spec):
                env = {**spec.env, TOKEN_VARIABLE: spec.token}
                pid = spawn(SHELL, ready.argv, env, ready.file_actions)
        finally:
            for fd in ready.descriptors:
                os.close(fd)
        return Shim(pid, spec.files, spec.token)

    def close(self) -> None:
        """End the threads of `start`."""
        self.spawner.close()


@dataclass(frozen=True, slots=True)
class _Ready:
    """An attempt whose files are made and whose status file is locked by us."""

    argv: list[str]
    """Of the shim."""
    file_actions: list[FileAction]
    descriptors: tuple[int, ...]
    """Ours, to be closed once the shim has its copies. Only closed: to unlock the status file would
    free it under the shim."""

    @classmethod
    def of(cls, spec: LaunchSpec) -> Self:
        """Raises LaunchError, and ValueError for a token that is none."""
        check_token(spec.token)
        check_directory(spec.cwd)
        files = spec.files
        with _failing(spec, files.name("st")):
            descriptors = [open_status_locked(files.name("st"))]
        stdin: FileAction = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        try:
            if spec.stdin:
                memory = _in_memory(spec.stdin)
                if memory >= 0:
                    descriptors.append(memory)
                    stdin = (os.POSIX_SPAWN_DUP2, memory, 0)
                else:
                    with _failing(spec):
                        _write_file(files.name("in"), spec.stdin)
                    stdin = (os.POSIX_SPAWN_OPEN, 0, files.name("in"), os.O_RDONLY, 0)
        except BaseException:
            for fd in descriptors:
                os.close(fd)
            raise
        actions: list[FileAction] = [
            stdin,
            (os.POSIX_SPAWN_OPEN, 1, files.name("out"), OUTPUT, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, files.name("err"), OUTPUT, 0o600),
            (os.POSIX_SPAWN_DUP2, descriptors[0], STATUS_DESCRIPTOR),
        ]
        argv = shim_argv(spec.token, str(spec.cwd), spec.argv)
        return cls(argv, actions, tuple(descriptors))


class _failing:
    """What the system says to a start within it, as a LaunchError."""

    __slots__ = ("_spec", "_where")

    def __init__(self, spec: LaunchSpec, where: str = "") -> None:
        self._spec = spec
        self._where = where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | ValueError):
            where = self._where or str(self._spec.files.run_dir)
            raise launch_error(error, self._spec.argv[0], where) from error


def resolve_program(name: str, path_env: str | None, cwd: Path | None = None) -> Path:
    """The absolute path of a program: a path as it stands (relative ones from `cwd`), a bare name
    by `path_env` (PATH; None = the system's default path).

    Raises LaunchError (E505) saying whether it is missing, a directory, or not executable.
    """
    if not name:
        raise _no_program("the program has no name", "")
    base = cwd or Path.cwd()
    if "/" in name:
        path = base / name
        if problem := _why_not_executable(path):
            raise _no_program(f"{name} {problem}", f"looked at {path}")
        return path
    refused = ""
    for folder in (os.defpath if path_env is None else path_env).split(os.pathsep):
        # As text: to make a Path for every folder costs more than to look at it.
        absolute = folder.startswith("/")
        found = f"{folder}/{name}" if absolute else os.path.join(base, folder, name)
        problem = _why_not_executable(found)
        if not problem:
            return Path(found)
        if problem != _MISSING:
            refused = refused or f"{found} {problem}"
    raise _no_program(
        f"program {name!r} cannot be started: {refused}"
        if refused
        else f"no program {name!r} found",
        f"is {name} installed, and its folder in PATH?",
    )


def missing_interpreter(program: str) -> str:
    """The interpreter that a script names in its first line, if there is none of that name; else "".

    The system calls the script itself "not found" then.
    """
    try:
        with open(program, "rb") as file:
            first = _INTERPRETER.match(file.read(_LONGEST_FIRST_LINE))
    except OSError:
        return ""
    named = os.fsdecode(first[1]) if first else ""
    return named if named and not os.path.exists(named) else ""


_INTERPRETER = re.compile(rb"#![ \t]*([^ \t\n]+)")
"""A carriage return before the newline is part of its name."""

_LONGEST_FIRST_LINE = 256
"""Bytes of it that Linux reads."""

_MISSING = "does not exist"


def _why_not_executable(path: Path | str) -> str:
    """Nothing for a file that this process may execute, or the words that say why not."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return _MISSING
    if stat.S_ISDIR(mode):
        return "is a directory"
    return "" if os.access(path, os.X_OK) else "is not executable"


def _no_program(what: str, hint: str) -> LaunchError:
    return LaunchError(what, hint=hint, code="E505", retriable=False)


def check_directory(cwd: Path) -> None:
    """Raise LaunchError (E603) unless a program can be started in this working directory."""
    if not cwd.is_absolute():
        raise ValueError(f"{cwd} is not an absolute path")
    if os.access(f"{cwd}/.", os.X_OK):
        return  # one call says it all
    if not os.path.isdir(cwd):
        problem = "is not a directory" if os.path.lexists(cwd) else "does not exist"
    else:
        problem = "cannot be entered"
    raise LaunchError(
        f"the working directory {problem}", where=str(cwd), code="E603", retriable=False
    )


def launch_error(error: OSError | ValueError, program: str, where: str) -> LaunchError:
    """What the system or Python said while a program was started, as a LaunchError."""
    if not isinstance(error, OSError):
        # A NUL byte in an argument, or "=" in a variable's name.
        return LaunchError(
            f"cannot start {program}: {error} in its arguments or environment", retriable=False
        )
    if error.errno == errno.E2BIG:
        return LaunchError(
            f"the arguments and environment of {program} are larger than the system allows",
            hint="give a long prompt on standard input or in a file",
            code="E602",
            retriable=False,
            number=error.errno,
        )
    hint = {
        errno.ENOSPC: "the disk is full: make room",
        errno.EDQUOT: "the disk quota is used up: make room",
        errno.EMFILE: "the limit of open files is reached (ulimit -n)",
        errno.ENOENT: "was the run's directory removed?",
    }.get(error.errno or 0, "")
    reason = error.strerror or str(error)
    return LaunchError(
        f"cannot start {program}: {reason}", where=where, hint=hint, number=error.errno
    )


def prepare_descriptors() -> None:
    """Put this process's descriptors in order, so that nothing of ours leaks into an instrument.

    Closed ones among 0, 1 and 2 become /dev/null (a file opened later would take their place and
    be written to by every print); all others are closed on exec. Can be called again.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is taken, and those below are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(folder):
        fd = int(name)
        if fd > 2:
            try:
                os.set_inheritable(fd, False)
            except OSError as error:
                if error.errno != errno.EBADF:  # the listing's own descriptor is closed again
                    raise


def locks_are_inherited(state_dir: Path) -> bool:
    """Whether a spawned child really holds a lock it was handed, in this directory.

    Recovery stands on that; network file systems often fail it. A child is handed a locked file
    and looked at from another descriptor; takes about two milliseconds. False also when the file
    system knows no locks. Raises OSError when the directory cannot be written.
    """
    handle, path = tempfile.mkstemp(prefix=".lock-probe-", dir=state_dir)
    lock = lift_descriptor(handle)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _child_holds(lock, path)
    except OSError:
        return False
    finally:
        os.unlink(path)


def _child_holds(lock: int, path: str) -> bool:
    """Whether a child holds this lock while it lives and no longer; closes `lock`."""
    reading, writing = (lift_descriptor(fd) for fd in os.pipe())
    try:
        # `read` waits until our end of the pipe is closed; then the child leaves.
        pid = spawn(
            SHELL,
            ["sh", "-c", "read line"],
            {},
            [
                (os.POSIX_SPAWN_DUP2, reading, 0),
                (os.POSIX_SPAWN_DUP2, lock, STATUS_DESCRIPTOR),
                # In a directory that was removed it complains.
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
    except OSError:
        os.close(writing)
        raise
    finally:
        os.close(lock)
        os.close(reading)
    try:
        held = not _is_free(path)
    finally:
        os.close(writing)
        os.waitpid(pid, 0)
    return held and _is_free(path)


def _is_free(path: str) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _in_memory(content: bytes) -> int:
    """A file without a name that holds the content, open at its start; -1 where a real one is better.

    Nobody but the instrument needs its input, so a short one is spared a file that has to be made,
    written and removed again. It is a file all the same: it can be read twice, and has a size.
    """
    if len(content) > IN_MEMORY or not hasattr(os, "memfd_create"):
        return -1
    try:
        fd = lift_descriptor(os.memfd_create("stdin"))
    except OSError:
        return -1  # the system forbids it, or is short of something
    try:
        if os.pwrite(fd, content, 0) == len(content):
            return fd
    except OSError:
        os.close(fd)
        return -1
    os.close(fd)
    return -1


def _write_file(path: str, content: bytes) -> None:
    fd = os.open(path, _WRITE, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)
