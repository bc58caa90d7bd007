"""The host: opens a conductor and its socket, gives a view the floor, and ends both in order.

What the signals do is DESIGN section 9, "Foreground host". Ending is crash-only: stop dispatch,
sync, leave; the running sheets go on and the next conductor takes them over, unless a person
asked three times to end them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from marianne_core.model.errors import EXIT_INTERRUPTED, EXIT_LEFT
from marianne_core.remember.home import Home
from marianne_core.serve.client import Client
from marianne_core.serve.local_client import LocalClient
from marianne_core.serve.logs import logging_to
from marianne_core.serve.server import SocketServer
from marianne_core.serve.service import Service
from marianne_core.serve.stop import Stop, StopLevel, caught_signals

CTRL_C_HELP = (
    "Ctrl-C: once starts no new sheets and waits for the running ones; "
    "twice leaves them running and exits; three times ends them"
)
"""What a foreground command tells the person at its start."""

THIRD_PRESS_SECONDS = 1.0
"""After the second Ctrl-C: how long a third one is waited for before the host leaves."""

LEAVE_SECONDS = 1.8
"""From the decision to leave to the end of the process, even when the disk hangs."""

VIEW_SECONDS = 0.3
"""For the body to end by itself when the host leaves; then it is cancelled."""

_NAMED = 5
"""So many runs are named in one line."""

_ENDS = ("completed", "failed", "cancelled", "paused")
"""Events of jobs (`job.completed`) after which the host does not work on a run any more."""

_OLD_ONES_AFTER = 1000
"""Collections of the middle generation before one of the old; Python's own number is 10."""

Body = Callable[[Client, Stop], Coroutine[Any, Any, int]]
"""The work of a command: gets a client and the stop, returns an exit status."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


class HostedConductor(Service, Protocol):
    """What a host needs of a conductor beside its commands."""

    @property
    def idle(self) -> asyncio.Event:
        """Set while there is no active run."""
        ...

    @property
    def working_on(self) -> list[str]:
        """Names of the active runs (`job#3`), in the order in which they were submitted."""
        ...

    def drain(self) -> None:
        """Start no new sheet; the jobs are paused when their running sheets are done."""
        ...

    def stop_dispatch(self) -> None:
        """Start nothing new because the host is about to leave; no job is paused by that."""
        ...

    async def end_sheets(self) -> None:
        """End the process trees of all running sheets; returns when they are gone."""
        ...


async def host(
    conductor_cm: AbstractAsyncContextManager[HostedConductor],
    home: Home,
    body: Body,
    *,
    announce: Callable[[str], None],
    log: Path | None = None,
    log_level: str = "info",
) -> int:
    """Run `body` beside a conductor of its own, reachable for other terminals; the exit status.

    Opens the conductor and its socket, catches SIGINT, SIGTERM and SIGHUP while they are open,
    and sends the log (of `log_level` and above) to `log`, or to the state directory. The status
    is what the body returned, 4 when it was cut short by leaving, 130 when Ctrl-C ended the
    sheets. `announce` gets lines for the person.

    After the body's end the host stays while the conductor still has active runs: those of other
    terminals, and those that it found interrupted. It names them, and says when each is over. Once it was told to leave, the process ends within two seconds: if closing
    hangs, it is left by `os._exit`, which loses no more than a kill would.

    Raises StateError when the state directory, the conductor or the socket cannot be opened, and
    whatever the body raises, after everything was closed.
    """
    home.prepare()
    stop = Stop()
    deadline = _Deadline()
    opened = asyncio.Event()

    async def session() -> int:
        async with conductor_cm as conductor, SocketServer(home.socket, conductor) as server:
            opened.set()
            return await _Session(conductor, server, stop, deadline, announce).run(body)

    level = logging.getLevelNamesMapping()[log_level.upper()]
    with logging_to(log or home.log, level), caught_signals(stop), _seldom_collecting():
        # Opening and closing stay in one task: a conductor may hold a task group open.
        running = asyncio.create_task(session(), name="mzt-host")
        guard = asyncio.create_task(_guard(stop, opened, running, deadline))
        try:
            await asyncio.wait({running})
            if running.cancelled():
                return EXIT_LEFT
            return running.result()
        finally:
            deadline.disarm()
            await _cancel(running, guard)


@contextlib.contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Let the garbage collector look at what lives long far more seldom than it would by itself.

    That look takes a fifth of a second beside a job of 100,000 sheets, wherever in the process it
    begins, and holds the loop. What lives long here is rows and plans without cycles.
    """
    before = gc.get_threshold()
    gc.set_threshold(before[0], before[1], _OLD_ONES_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _guard(
    stop: Stop, opened: asyncio.Event, session: asyncio.Task[int], deadline: _Deadline
) -> None:
    """See to it that leaving does not wait for a conductor that is still opening or hangs."""
    await stop.wait(StopLevel.LEAVE)
    if not opened.is_set():
        deadline.arm()
        session.cancel()
    await stop.wait(StopLevel.NOW)
    deadline.arm()


class _Deadline:
    """Ends the process when leaving takes too long; a thread, since the loop may be what hangs."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def arm(self) -> None:
        """Count from now; harmless when it counts already."""
        if self._timer is None:
            self._timer = threading.Timer(LEAVE_SECONDS, os._exit, [EXIT_LEFT])
            self._timer.daemon = True
            self._timer.start()

    def disarm(self) -> None:
        """All went well."""
        if self._timer is not None:
            self._timer.cancel()


class _Session:
    """The time between opening and closing."""

    def __init__(
        self,
        conductor: HostedConductor,
        server: SocketServer,
        stop: Stop,
        deadline: _Deadline,
        announce: Callable[[str], None],
    ) -> None:
        self._conductor = conductor
        self._server = server
        self._stop = stop
        self._deadline = deadline
        self._announce = announce

    async def run(self, body: Body) -> int:
        """Until the body is done and nothing is active any more, or until the host leaves."""
        client = LocalClient(self._conductor)
        if found := self._conductor.working_on:
            noun = "an interrupted job" if len(found) == 1 else f"{len(found)} interrupted jobs"
            self._say(f"taking up {noun}: {_names(found)}")
        view = asyncio.create_task(body(client, self._stop), name="mzt-body")
        leave = asyncio.create_task(self._stop.wait(StopLevel.LEAVE))
        drain = asyncio.create_task(self._drain())
        try:
            await asyncio.wait({view, leave}, return_when=asyncio.FIRST_COMPLETED)
            if not leave.done():
                view.result()
                if await self._others_done(leave):
                    return view.result()
            ended = await self._leave()
            code = await self._end_view(view)
            return EXIT_INTERRUPTED if ended else code
        finally:
            await _cancel(view, leave, drain)
            await client.close()

    async def _drain(self) -> None:
        await self._stop.wait(StopLevel.DRAIN)
        if self._stop.level is not StopLevel.DRAIN:
            # Leaving pauses no job: the next conductor goes on with it.
            return
        self._conductor.drain()
        if not self._conductor.idle.is_set():
            self._say(
                "draining: no new sheet starts, the running ones finish; "
                "Ctrl-C again leaves them running and exits"
            )

    async def _others_done(self, leave: asyncio.Task[None]) -> bool:
        """Wait for the runs of other terminals; False when the host is to leave before."""
        idle = self._conductor.idle
        if not idle.is_set():
            self._say(
                f"this conductor still runs {_names(self._conductor.working_on)}; "
                "Ctrl-C once pauses that, twice leaves its sheets running and exits"
            )
        telling = asyncio.create_task(self._tell_ends())
        try:
            return await self._until_idle(leave)
        finally:
            await _cancel(telling)

    async def _tell_ends(self) -> None:
        """Say of every run that it is over, or paused."""
        events = await self._conductor.events()
        try:
            async for event in events:
                name, _, what = event.event.partition(".")
                if name == "job" and what in _ENDS:
                    self._say(f"{event.job_id}#{event.run} is {what}")
        finally:
            await events.aclose()

    async def _until_idle(self, leave: asyncio.Task[None]) -> bool:
        idle = self._conductor.idle
        while True:
            # A command may come in until the socket is closed. So: refuse commands first, and
            # only when the last one is through and nothing is active, go.
            if not await _before(leave, idle.wait()):
                return False
            if not await _before(leave, self._server.quiesce()):
                return False
            if idle.is_set():
                return True
            self._server.reopen()

    async def _leave(self) -> bool:
        """Go by what was asked for; True when the running sheets were ended."""
        self._conductor.stop_dispatch()
        if self._stop.level is StopLevel.LEAVE and not self._conductor.idle.is_set():
            self._say(
                "leaving: the running sheets go on, and the next conductor takes them over; "
                "Ctrl-C once more, now, ends them"
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(THIRD_PRESS_SECONDS):
                    await self._stop.wait(StopLevel.END)
        _log.info(
            "host.leaving", extra={"level": self._stop.level.name, "reason": self._stop.reason}
        )
        if self._stop.level is StopLevel.END:
            self._say("ending the running sheets")
            now = asyncio.create_task(self._stop.wait(StopLevel.NOW))
            try:
                await _before(now, self._conductor.end_sheets())
            finally:
                await _cancel(now)
            return True
        self._deadline.arm()
        return False

    async def _end_view(self, view: asyncio.Task[int]) -> int:
        """The body's status if it ends in time, else 4."""
        await asyncio.wait({view}, timeout=VIEW_SECONDS)
        if not view.done():
            await _cancel(view)
        if view.cancelled():
            return EXIT_LEFT
        error = view.exception()
        if isinstance(error, OSError) and self._stop.reason == "SIGHUP":
            # Its terminal is gone.
            _log.info("host.view_lost", exc_info=error)
            return EXIT_LEFT
        return view.result()

    def _say(self, text: str) -> None:
        """Tell the person, unless the terminal is gone."""
        _log.info("host.said", extra={"text": text})
        if self._stop.reason == "SIGHUP":
            return
        try:
            self._announce(text)
        except (OSError, ValueError):
            _log.warning("host.not_heard", exc_info=True)


def _names(runs: list[str]) -> str:
    """The first few by name, the others by number."""
    if len(runs) > _NAMED:
        return f"{', '.join(runs[:_NAMED])} and {len(runs) - _NAMED} more"
    return ", ".join(runs)


async def _before(limit: asyncio.Task[None], work: Coroutine[Any, Any, object]) -> bool:
    """Do the work; False, with the work cancelled, when `limit` is reached first."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        await _cancel(task)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
