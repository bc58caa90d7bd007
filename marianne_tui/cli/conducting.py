"""From a command to a conductor: join the one that answers, or host one in this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import load_daemon_config
from marianne_core.model.errors import EXIT_LEFT, NoConductorError, StateError
from marianne_core.model.events import Event
from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock
from marianne_core.serve.client import Client
from marianne_core.serve.host import host
from marianne_core.serve.socket_client import SocketClient
from marianne_tui.cli.following import exit_code_of, follow
from marianne_tui.cli.views import View

_PATIENCE = 10.0
"""Seconds to wait for a conductor that holds the state lock but does not answer yet."""


class Target(NamedTuple):
    """The run that a command follows."""

    job_id: str
    run: int


Action = Callable[[Client], Awaitable[Target]]
"""Asks for something (a submission, a retry) and names the run to follow. Raises MztError."""


def find_home() -> Home:
    """The state directory that the environment names."""
    return Home.find(os.environ)


def conduct(home: Home, action: Action, view: View) -> int:
    """Carry out `action` at a conductor and follow its run to the end; returns the exit status.

    Joins the conductor that answers on the home's socket. Where there is none, this process hosts
    one until all its runs are over.
    """
    return asyncio.run(_conduct(home, action, view))


async def _conduct(home: Home, action: Action, view: View) -> int:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(NoConductorError):
            client = await SocketClient.connect(home.socket)
            try:
                return await _join(client, action, view)
            finally:
                await client.close()
        if StateLock(home.lock).holder() is None:
            break
        if time.monotonic() >= deadline:
            raise StateError(
                "another conductor holds the state directory but does not answer",
                where=str(home.root),
                hint="mzt doctor says which process it is",
            )
        await asyncio.sleep(0.05)
    return await _host(home, action, view)


async def _host(home: Home, action: Action, view: View) -> int:
    async def body(client: Client, stop: asyncio.Event) -> int:
        return await _act_and_follow(client, action, view)

    conductor = Conductor(load_daemon_config(), home)
    return await host(conductor, home, body, announce=view.say)


async def _join(client: Client, action: Action, view: View) -> int:
    """Follow at another process's conductor: leaving it does nothing to the run."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    leave = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    for number in leave:
        loop.add_signal_handler(number, task.cancel if task else lambda: None)
    try:
        return await _act_and_follow(client, action, view)
    except asyncio.CancelledError:
        view.end(None)
        view.say("stopped following; the job goes on (mzt status shows it)")
        return EXIT_LEFT
    finally:
        for number in leave:
            loop.remove_signal_handler(number)


async def _act_and_follow(client: Client, action: Action, view: View) -> int:
    # Subscribed first, so that not even the first event of a new run is missed.
    events: AsyncIterator[Event] = await client.events(None)
    try:
        target = await action(client)
        status = await follow(client, target.job_id, target.run, events, view)
        view.end(status)
        return exit_code_of(status)
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
