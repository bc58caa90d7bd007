"""One shim that is started ahead: a shell takes as long to start as a small program takes to run.

While a sheet runs, the shim of the attempt that is likely next is started, and waits for its order.
It has all that an ordinary one has: its session, token and environment, the lock on its status file,
its input, output and errors. What it lacks is the command line, which comes through a pipe. The
order is given with one write, whole or not at all; from then on it is a shim like any other.

It writes no pid before it has its order. So one that was never needed, or whose conductor died (the
pipe ends then, and it leaves), is by the table of recovery an attempt that never ran.

It is a saving and never a need: what stands in its way lets it not exist, and whatever does not fit
it is started the ordinary way. It costs one idle shell of about 1 MB beside a sheet that runs long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from marianne_core.run.attempt_files import AttemptFiles, lift_descriptor, open_status_locked
from marianne_core.run.launcher import (
    IN_MEMORY,
    OUTPUT,
    LaunchSpec,
    Shim,
    check_directory,
    launch_error,
)
from marianne_core.run.processes import has_pidfd
from marianne_core.run.shim import (
    ORDER_DESCRIPTOR,
    SHELL,
    STATUS_DESCRIPTOR,
    TOKEN_VARIABLE,
    check_token,
    order_text,
    waiting_argv,
)
from marianne_core.run.spawn import Spawner
from marianne_core.run.waiter import Ended, Waiter

_LAST_SECONDS = 1.0
"""Seconds in which a shim that was killed is gone, or something is very wrong with the system."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A shim without its order."""

    shim: Shim
    env: Mapping[str, str]
    gone: Ended
    order: int
    """The pipe's end to write to."""
    stdin: int
    """A file without a name that the instrument will read; empty so far."""
    pidfd: int
    descriptors: ExitStack
    """Closes all of them."""


class _Coming:
    """A shim that is being started."""

    def __init__(self, token: str, files: AttemptFiles) -> None:
        self.token = token
        self.files = files
        self.wanted = True
        """False: it is to leave as soon as it is there."""
        self.task: asyncio.Task[None]


class Warm:
    """Holds at most one waiting shim. Belongs to one event loop."""

    def __init__(self, waiter: Waiter, spawner: Spawner) -> None:
        self._waiter = waiter
        self._spawner = spawner
        self._coming: _Coming | None = None
        self._waiting: _Waiting | None = None
        self._leaving: dict[AttemptFiles, Ended] = {}
        """Ends of shims that were told to leave without an order: their locks are held until then."""

    @property
    def token(self) -> str | None:
        """Whose shim waits, or will in a moment; None: nobody's."""
        if self._coming is not None:
            return self._coming.token
        return self._waiting.shim.token if self._waiting is not None else None

    def start(self, token: str, files: AttemptFiles, env: Mapping[str, str]) -> None:
        """Start the shim of an attempt whose intent is committed; it waits for its order.

        Does nothing while another waits, or where the system refuses something: then there is just
        none. `env` must not be changed afterwards (see `Spawner`).
        """
        check_token(token)
        busy = self._coming is not None or self._waiting is not None or files in self._leaving
        if not busy and _possible():
            self._coming = _Coming(token, files)
            self._coming.task = asyncio.create_task(self._come(self._coming, env), name="mzt-warm")

    async def ready(self) -> None:
        """Returns when the shim that is being started is there, or was refused by the system."""
        if self._coming is not None:
            await asyncio.shield(self._coming.task)

    async def make_way(self, spec: LaunchSpec) -> None:
        """What holds this attempt's files fits it, or is gone, when this returns."""
        if self._coming is not None and self._coming.files == spec.files:
            await self.ready()
        waiting = self._waiting
        if waiting is not None and waiting.shim.files == spec.files and not _fits(waiting, spec):
            self.drop()
        if (gone := self._leaving.get(spec.files)) is not None:
            await asyncio.shield(gone)

    def launch(self, spec: LaunchSpec) -> Shim | None:
        """Give the order to the shim that waits for this attempt, after `make_way`.

        None: none does, so start it the ordinary way. Raises LaunchError as that would.
        """
        waiting = self._waiting
        if waiting is None or waiting.shim.token != spec.token:
            return None
        check_directory(spec.cwd)
        try:
            if spec.stdin:
                # With its place given: the instrument reads from the same open file.
                os.pwrite(waiting.stdin, spec.stdin, 0)
        except OSError as error:
            raise launch_error(error, spec.argv[0], str(spec.files.run_dir)) from error
        try:
            os.write(waiting.order, _order(spec))
        except OSError:
            # Somebody killed it, and it had no order.
            self.drop()
            return None
        self._waiting = None
        waiting.descriptors.close()
        return waiting.shim

    def drop(self) -> None:
        """End the shim that waits, or is coming, if there is one: it is not needed."""
        if self._coming is not None:
            self._coming.wanted = False
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        if not waiting.gone.done():
            self._leaving[waiting.shim.files] = waiting.gone
            with contextlib.suppress(ProcessLookupError):
                # A closed pipe would do, unless the shim is stopped or the host has forked.
                signal.pidfd_send_signal(waiting.pidfd, signal.SIGKILL)
        waiting.descriptors.close()

    async def settle(self) -> None:
        """Returns when nothing is left of shims that were told to leave."""
        if self._coming is not None and not self._coming.wanted:
            await self.ready()
        if self._leaving:
            await asyncio.wait(self._leaving.values(), timeout=_LAST_SECONDS)

    async def close(self) -> None:
        """End the waiting shim; nothing of it is left when this returns."""
        self.drop()
        await self.settle()

    async def _come(self, coming: _Coming, env: Mapping[str, str]) -> None:
        try:
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                self._waiting = await self._started(coming.token, coming.files, env)
                self._waiting.gone.add_done_callback(self._gone)
        finally:
            self._coming = None
        if not coming.wanted:
            self.drop()

    async def _started(self, token: str, files: AttemptFiles, env: Mapping[str, str]) -> _Waiting:
        with ExitStack() as ours, ExitStack() as its:
            status = open_status_locked(files.name("st"))
            its.callback(os.close, status)
            reading, order = (lift_descriptor(fd) for fd in os.pipe())
            its.callback(os.close, reading)
            ours.callback(os.close, order)
            stdin = lift_descriptor(os.memfd_create("stdin"))
            ours.callback(os.close, stdin)
            its.pop_all()  # the spawner closes them
            pid = await self._spawner.spawn(
                SHELL,
                waiting_argv(token),
                env,
                [
                    (os.POSIX_SPAWN_DUP2, stdin, 0),
                    (os.POSIX_SPAWN_OPEN, 1, files.name("out"), OUTPUT, 0o600),
                    (os.POSIX_SPAWN_OPEN, 2, files.name("err"), OUTPUT, 0o600),
                    (os.POSIX_SPAWN_DUP2, status, STATUS_DESCRIPTOR),
                    (os.POSIX_SPAWN_DUP2, reading, ORDER_DESCRIPTOR),
                ],
                marks={TOKEN_VARIABLE: token},
                close=(status, reading),
            )
            try:
                pidfd = os.pidfd_open(pid)
                ours.callback(os.close, pidfd)
                gone = self._waiter.child_exited(pid)
            except (OSError, RuntimeError):
                # Nobody reaps it, so its pid cannot be another's.
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)  # noqa: ASYNC222 -- it is dead already
                raise
            shim = Shim(pid, files, token, gone)
            return _Waiting(shim, env, gone, order, stdin, pidfd, ours.pop_all())

    def _gone(self, gone: Ended) -> None:
        waiting = self._waiting
        if waiting is not None and waiting.gone is gone:
            self.drop()
        for files in [files for files, other in self._leaving.items() if other is gone]:
            del self._leaving[files]


def _possible() -> bool:
    """Whether the system has what a waiting shim needs: Linux has."""
    return has_pidfd() and hasattr(os, "memfd_create") and os.path.isdir("/dev/fd")


def _fits(waiting: _Waiting, spec: LaunchSpec) -> bool:
    """Whether the shim that was started for this attempt can play it as it is wanted now."""
    order = _order(spec)
    return (
        waiting.shim.token == spec.token
        and waiting.env == spec.env
        and len(spec.stdin or b"") <= IN_MEMORY
        and len(order) <= select.PIPE_BUF  # what is written to a pipe whole or not at all
        and b"\0" not in order
    )


def _order(spec: LaunchSpec) -> bytes:
    return order_text(str(spec.cwd), spec.argv, stdin=bool(spec.stdin))
