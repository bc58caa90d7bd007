"""Helper commands: what validations, `skip_when_command` and hooks run beside the instruments.

A helper has a session of its own, reads nothing, writes its output into a file nobody else sees,
and is ended with its whole tree when its time is over. It is not an attempt and is never adopted:
its environment carries a token derived from the attempt's, so recovery finds and ends it with the
attempt's other processes, and it runs again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from marianne_core.run.attempt_files import lift_descriptor
from marianne_core.run.launcher import (
    LaunchError,
    check_directory,
    launch_error,
    resolve_program,
)
from marianne_core.run.processes import group_has_members
from marianne_core.run.shim import (
    NO_DIRECTORY,
    SHELL,
    TOKEN_VARIABLE,
    check_token,
    derived_token,
    shim_name,
)
from marianne_core.run.spawn import spawn
from marianne_core.run.system_errors import when_there_are_means
from marianne_core.run.tree import DEFAULT_GRACE, Tree
from marianne_core.run.waiter import Waiter

DEFAULT_LIMIT = 64 * 1024
"""Bytes of the output's end that are kept."""

_COMMAND_TEXT = f'cd "$1"||exit {NO_DIRECTORY};shift;exec "$@"'
"""`posix_spawn` knows no working directory; the shell becomes the command, no process is added."""

_LAST_PATIENCE = 0.5
"""Seconds that a cancelled command's tree is given to be gone after KILL: who leaves is in a hurry."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a helper command ended."""

    exit_code: int | None
    """None when a signal ended it."""
    signal: int | None
    """The signal's number when one ended it."""
    timed_out: bool
    """Its time was over and its tree was ended; the two above say how it then went."""
    output: str
    """The end of what it wrote, output and errors in the order of writing, at most `limit` bytes;
    bytes that are not UTF-8 are replaced."""
    output_size: int
    """Bytes it wrote in all."""
    duration: float
    """Seconds, the ending of its tree included."""
    leftovers: int
    """Processes that outlived it in its session and were ended; those of a timeout not counted."""
    survivors: int = 0
    """Processes that could not be ended."""

    @property
    def ok(self) -> bool:
        """It left with exit status 0, in time."""
        return self.exit_code == 0 and not self.timed_out


async def run_command(
    command: str | Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    token: str,
    timeout: float | None = None,  # noqa: ASYNC109 -- it ends a tree and yields a result, not an error
    grace: float = DEFAULT_GRACE,
    limit: int = DEFAULT_LIMIT,
    output_dir: Path | None = None,
    waiter: Waiter | None = None,
) -> CommandResult:
    """Run a command to its end and return how it went.

    A text runs as `bash -c TEXT` (`sh -c` where there is no bash), a sequence as a program (found
    by `env`'s PATH) with its arguments. `cwd` is absolute; `timeout` and `grace` (between TERM and
    KILL) are seconds; `output_dir` is where the unlinked output file lies meanwhile (default: the
    system's temporary folder). When the task is cancelled its tree is killed first.

    Raises LaunchError when it cannot be started.
    """
    check_directory(cwd)
    argv = _argv(command, env.get("PATH"), cwd)
    own_token = derived_token(check_token(token), f"c{next(_numbers)}")
    own_waiter = waiter or Waiter()
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        output = _unlinked_file(output_dir)
    except OSError as error:
        raise launch_error(error, argv[0], str(output_dir or tempfile.gettempdir())) from error
    try:
        try:
            pid = spawn(
                SHELL,
                ["sh", "-c", _COMMAND_TEXT, shim_name(own_token), str(cwd), *argv],
                {**env, TOKEN_VARIABLE: own_token},
                [
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
            )
        except (OSError, ValueError) as error:
            raise launch_error(error, argv[0], str(cwd)) from error
        ended = await _wait(own_waiter.child_exited(pid), Tree(own_token, pid), timeout, grace)
        return CommandResult(
            exit_code=None if ended.code is None or ended.code < 0 else ended.code,
            signal=-ended.code if ended.code is not None and ended.code < 0 else None,
            timed_out=ended.timed_out,
            output=_tail(output, limit),
            output_size=os.fstat(output).st_size,
            duration=loop.time() - started,
            leftovers=ended.leftovers,
            survivors=ended.survivors,
        )
    finally:
        os.close(output)
        if waiter is None:
            own_waiter.close()


@dataclass(slots=True)
class _Ended:
    code: int | None
    timed_out: bool = False
    leftovers: int = 0
    survivors: int = 0


async def _wait(
    exited: asyncio.Future[int | None], tree: Tree, seconds: float | None, grace: float
) -> _Ended:
    """Wait for the command and see to it that its session is empty afterwards."""
    try:
        # Not wait_for: that would cancel the future, and the child must be reaped in any case.
        await asyncio.wait([exited], timeout=seconds)
        if not exited.done():
            end = await when_there_are_means(lambda: tree.end(grace))
            await asyncio.wait([exited], timeout=grace)
            code = exited.result() if exited.done() else None
            return _Ended(code, timed_out=True, survivors=len(end.survivors))
        ended = _Ended(exited.result())
        if tree.pid is not None and group_has_members(tree.pid):
            end = await when_there_are_means(lambda: tree.end(grace))
            ended.leftovers = len(end.signalled)
            ended.survivors = len(end.survivors)
        return ended
    except asyncio.CancelledError:
        await _kill(tree, exited)
        raise


async def _kill(tree: Tree, exited: asyncio.Future[int | None]) -> None:
    """End a cancelled command's tree at once; another cancellation does not stop that.

    What does not end at once still carries the attempt's token: whoever takes the attempt on finds
    it.
    """
    ending = asyncio.ensure_future(tree.end(0.0, patience=_LAST_PATIENCE))
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            continue
        except (OSError, RuntimeError):
            # The system is too short of files or memory to look for more than the group.
            if tree.pid is not None and not exited.done():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(tree.pid, signal.SIGKILL)
            break
    if ending.exception() is not None or not ending.result().survivors:
        await asyncio.wait([exited], timeout=_LAST_PATIENCE)


def _argv(command: str | Sequence[str], path_env: str | None, cwd: Path) -> list[str]:
    if isinstance(command, str):
        bash = shutil.which("bash", path=path_env)
        return [bash if bash and os.path.isabs(bash) else SHELL, "-c", command]
    if not command:
        raise LaunchError("the command is empty", code="E505", retriable=False)
    return [str(resolve_program(command[0], path_env, cwd)), *command[1:]]


def _unlinked_file(folder: Path | None) -> int:
    """A file without a name: it is gone when the last process that has it open is."""
    fd, path = tempfile.mkstemp(prefix=".mzt-output-", dir=folder)
    os.unlink(path)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return lift_descriptor(fd)


def _tail(fd: int, limit: int) -> str:
    size = os.fstat(fd).st_size
    content = os.pread(fd, limit, max(0, size - limit))
    if size > limit:
        # Begin with a whole character.
        start = next((n for n in range(min(4, len(content))) if content[n] & 0xC0 != 0x80), 0)
        content = content[start:]
    return content.decode("utf-8", "replace")
