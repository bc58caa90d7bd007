"""From a command to a conductor: join the one that answers, or host one in this process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, NamedTuple

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.model.errors import EXIT_LEFT, MztError, NoConductorError, StateError
from marianne_core.model.runs import JobRef
from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock
from marianne_core.remember.queries import open_reader
from marianne_core.run.processes import become_subreaper
from marianne_core.serve.client import Client
from marianne_core.serve.host import CTRL_C_HELP, host
from marianne_core.serve.socket_client import SocketClient
from marianne_core.serve.stop import Stop
from marianne_tui.cli.following import exit_code_of, follow, is_over
from marianne_tui.cli.reading import picture_of
from marianne_tui.cli.views import View

_PATIENCE = 10.0
"""Seconds to wait for a conductor that holds the state lock but does not answer yet."""
_NAP = 0.05
_LEAVING = 2.0
"""Seconds a conductor that leaves may take to write its last rows."""
_LAST_STATUS = 0.2
"""Seconds to ask for the last status of a view that is told to go; the host waits 0.3."""


class Target(NamedTuple):
    """The run that a command follows."""

    job_id: str
    run: int


Action = Callable[[Client], Awaitable[Target]]
"""Asks for something (a submission, a retry) and names the run to follow. Raises MztError."""


class _NotHeard(Exception):
    """The conductor hung up before it answered what was asked for."""

    def __init__(self, error: NoConductorError) -> None:
        super().__init__(str(error))
        self.error = error


class _Left(Exception):
    """The conductor has gone, and the run that was followed is not over."""

    def __init__(self, target: Target, status: dict[str, Any]) -> None:
        super().__init__(f"{target.job_id}#{target.run}")
        self.target = target
        self.status = status


def conduct(home: Home, settings: DaemonConfig, action: Action, view: View) -> int:
    """Carry out `action` at a conductor and follow its run to the end; returns the exit status.

    Joins the conductor that answers on the home's socket. Where there is none, or when it goes
    before the run's end, this process hosts one until all its runs are over.
    """
    return _run(_conduct(home, settings, action, view))


def watch(home: Home, target: Target, view: View) -> int:
    """Follow a run at the conductor that works on it; returns the exit status. Hosts nothing.

    Raises NoConductorError when none answers.
    """
    return _run(_watch(home, target, view))


def _run(work: Coroutine[Any, Any, int]) -> int:
    code = asyncio.run(work)
    # All is done but the interpreter's own end: a Ctrl-C that comes late must not change the status.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


async def _watch(home: Home, target: Target, view: View) -> int:
    client = await SocketClient.connect(home.socket)
    try:
        return await _join(home, client, _no_wish(target), view)
    except _NotHeard as unheard:
        raise unheard.error from None
    except _Left as left:
        view.end(left.status)
        view.say("the conductor has gone; sheets that it started go on")
        return EXIT_LEFT
    except BaseException:
        view.end(None)
        raise
    finally:
        await client.close()


def _no_wish(target: Target) -> Action:
    async def nothing(_client: Client) -> Target:
        return target

    return nothing


async def _conduct(home: Home, settings: DaemonConfig, action: Action, view: View) -> int:
    try:
        while True:
            try:
                return await _join_or_host(home, settings, action, view)
            except _Left as left:
                # Also for a run of this terminal somebody must conduct: this process, if no other.
                view.say(f"the conductor has gone; this command goes on with {left}")
                action = _no_wish(left.target)
    except BaseException:
        view.end(None)
        raise


async def _join_or_host(home: Home, settings: DaemonConfig, action: Action, view: View) -> int:
    # One that cancels while nobody conducts has no socket; it is gone when the grace is.
    deadline = time.monotonic() + max(_PATIENCE, 2 * settings.grace_seconds)
    while True:
        client = await _connect(home)
        if client is not None:
            try:
                return await _join(home, client, action, view)
            except _NotHeard as unheard:
                # It was leaving: whoever comes next hears what was asked for, this process maybe.
                if time.monotonic() >= deadline:
                    raise unheard.error from None
            finally:
                await client.close()
        elif StateLock(home.lock).holder() is None:
            hosting = _Hosting(home, settings, action, view)
            try:
                return await hosting.run()
            except StateError:
                # Two commands at the same moment: the one that came second joins the first.
                if hosting.begun or StateLock(home.lock).holder() is None:
                    raise
        if time.monotonic() >= deadline:
            raise StateError(
                "another conductor holds the state directory but does not answer",
                where=str(home.root),
                hint="mzt doctor says which process it is",
            )
        await asyncio.sleep(_NAP)


async def _connect(home: Home) -> SocketClient | None:
    try:
        return await SocketClient.connect(home.socket)
    except NoConductorError:
        return None


class _Hosting:
    """A conductor in this process, for the time of one command."""

    def __init__(self, home: Home, settings: DaemonConfig, action: Action, view: View) -> None:
        self._home = home
        self._settings = settings
        self._action = action
        self._view = view
        self.begun = False
        """True once the conductor was open: an error from then on is not about the lock."""

    async def run(self) -> int:
        # This process is all a host's own, so orphans of sheets may become its children.
        conductor = Conductor(self._settings, self._home, subreaper=become_subreaper())
        return await host(
            conductor,
            self._home,
            self._body,
            announce=self._view.say,
            log=self._settings.log_file,
            log_level=self._settings.log_level,
        )

    async def _body(self, client: Client, _stop: Stop) -> int:
        self.begun = True
        if sys.stdin is not None and sys.stdin.isatty():
            # Nobody can press it where there is no terminal.
            self._view.say(CTRL_C_HELP)
        try:
            followed = await _act_and_follow(self._home, client, self._action, self._view)
        except _NotHeard as unheard:
            raise unheard.error from None  # this process is the conductor, and it is leaving
        self._view.end(followed.status)
        return exit_code_of(followed.status)


async def _join(home: Home, client: Client, action: Action, view: View) -> int:
    """Follow at another process's conductor: leaving it does nothing to the run.

    Raises _NotHeard, and _Left when the conductor goes before the run's end.
    """
    try:
        health = await client.health()
    except NoConductorError as error:
        raise _NotHeard(error) from error
    joined = (
        f"joined the conductor of pid {health.get('pid')}; Ctrl-C stops following, the job goes on"
    )
    with _signals_cancel():
        followed = await _act_and_follow(home, client, action, view, joined)
    target, status = followed.target, followed.status
    if target and status and not is_over(status) and not followed.told_to_go:
        raise _Left(target, status)
    view.end(status)
    if status is None or not is_over(status):
        again = f"mzt status {target.job_id} -W follows it again" if target else "mzt list shows it"
        view.say(f"not followed any longer; {again}")
    return exit_code_of(status)


@contextlib.contextmanager
def _signals_cancel() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP cancel the current task, which then ends in order."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if task is not None:
        for number in numbers:
            loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Followed(NamedTuple):
    target: Target | None
    """None when it was told to go before anything was accepted."""
    status: dict[str, Any] | None
    """The last one; None when none could be had."""
    told_to_go: bool = False


async def _act_and_follow(
    home: Home, client: Client, action: Action, view: View, accepted: str = ""
) -> _Followed:
    """Ask, say `accepted` when it was granted, and follow. The caller ends the view.

    Raises _NotHeard when the conductor hung up before it answered; nothing was shown then.
    """
    target: Target | None = None
    try:
        # Subscribed first, so that not even the first event of a new run is missed.
        events = await client.events(None)
    except NoConductorError as error:
        raise _NotHeard(error) from error
    try:
        target = await action(client)
        if accepted:
            view.say(accepted)
        view.name_sheets(_titles(home, target))
        status = await follow(client, target.job_id, target.run, events, view)
        if status is None or not is_over(status):
            # The conductor left; its last words are in the store, or will be in a moment.
            status = await _stored_status(home, target) or status
        return _Followed(target, status)
    except asyncio.CancelledError:
        # Told to go. The last line of a view is still the status, if there is one to be had.
        last = None if target is None else await _last_status(client, target)
        return _Followed(target, last, told_to_go=True)
    except NoConductorError as error:
        if target is None:
            raise _NotHeard(error) from error
        raise
    finally:
        await events.aclose()


async def _last_status(client: Client, target: Target) -> dict[str, Any] | None:
    with contextlib.suppress(MztError, TimeoutError):
        async with asyncio.timeout(_LAST_STATUS):
            return await client.status(f"{target.job_id}#{target.run}")
    return None


async def _stored_status(home: Home, target: Target) -> dict[str, Any] | None:
    """The run's status from the store; its end is waited for while its conductor is leaving."""
    ref = JobRef(target.job_id, target.run)
    deadline = time.monotonic() + _LEAVING
    while True:
        gone = StateLock(home.lock).holder() is None
        status = None
        with contextlib.suppress(MztError):
            status = picture_of(home, ref, ask=False).status
        if (status and is_over(status)) or gone or time.monotonic() >= deadline:
            return status
        await asyncio.sleep(_NAP)


def _titles(home: Home, target: Target) -> dict[int, str]:
    """Titles of the run's sheets, from the store: whoever planned it wrote them there."""
    with contextlib.suppress(MztError), open_reader(home) as reader:
        run = reader.get_run(JobRef(target.job_id, target.run))
        return {sheet.num: sheet.description for sheet in reader.sheets(run.run_id)}
    return {}
