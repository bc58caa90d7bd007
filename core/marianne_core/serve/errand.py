"""A conductor for one order: it starts no sheet, nobody else can reach it, and it goes when done.

For commands that change what is stored and what runs while nobody conducts. What belongs to other
jobs is taken up as every recovery does, and left as it is: their sheets live on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from marianne_core.remember.home import Home
from marianne_core.serve.client import Client
from marianne_core.serve.local_client import LocalClient
from marianne_core.serve.logs import logging_to
from marianne_core.serve.service import Service
from marianne_core.serve.stop import Stop, StopLevel, caught_signals

Answer = TypeVar("Answer")


async def errand(
    conductor_cm: AbstractAsyncContextManager[Service],
    home: Home,
    order: Callable[[Client], Awaitable[Answer]],
    *,
    log: Path | None = None,
    log_level: str = "info",
) -> Answer | None:
    """Open the conductor, carry the order out, and close it; returns what the order did.

    `conductor_cm` is a conductor that dispatches nothing. None when a signal (SIGINT, SIGTERM or
    SIGHUP) came before the order was done: what is journaled of it by then holds, and the next
    conductor goes on with it. Raises StateError when another process conducts or the state
    directory cannot be used, and whatever the order raises.
    """
    home.prepare()
    stop = Stop()

    async def session() -> Answer:
        async with conductor_cm as conductor:
            client = LocalClient(conductor)
            try:
                return await order(client)
            finally:
                await client.close()

    level = logging.getLevelNamesMapping()[log_level.upper()]
    with logging_to(log or home.log, level), caught_signals(stop):
        # Opening and closing stay in one task: a conductor may hold a task group open.
        work = asyncio.create_task(session(), name="mzt-errand")
        told = asyncio.create_task(stop.wait(StopLevel.DRAIN))
        try:
            await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
            work.cancel()
            await asyncio.wait({work})
            return None if work.cancelled() else work.result()
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)
