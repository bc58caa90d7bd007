"""Processes that outlive their sheet: found cheaply, so that a sheet's slot is free of them.

Most sheets leave nothing behind, so a full look at all processes for each would be waste. A shim's
own process group answers to one system call. What left the group too (a daemon) becomes a child of
a host that is a sub-reaper, and our children are one small file to read. Where the host is none,
the tokens of ended attempts are looked for together, a moment later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from marianne_core.run.active import Playing
from marianne_core.run.processes import (
    adopted_children,
    environ_token,
    find_tokens,
    group_has_members,
    reap,
)
from marianne_core.run.shim import token_owners

_SWEEP_AFTER = 0.5
"""Seconds in which attempts gather that one sweep looks after."""


class Children(Protocol):
    """Who knows which children somebody waits for."""

    def awaited(self) -> set[int]:
        """Their pids."""
        ...


class Strays:
    """Looks for what ended attempts left behind, and has it ended."""

    def __init__(
        self,
        children: Children,
        end: Callable[[Playing], Awaitable[None]],
        *,
        subreaper: bool,
    ) -> None:
        """`end` ends what is left of an attempt; `subreaper`: orphans become children of ours."""
        self._children = children
        self._end = end
        self._subreaper = subreaper
        self._living: set[str] = set()
        self._gone: dict[str, Playing] = {}
        self._sweep: asyncio.Task[None] | None = None

    def begun(self, attempt: Playing) -> None:
        """The attempt has processes from now on."""
        self._living.add(attempt.token)

    async def settle(self, attempt: Playing, *, group_known: bool) -> None:
        """The attempt's shim is gone: end what is left of it before its slot is given away.

        `group_known`: its process group has its shim's pid and is worth asking. Without a
        sub-reaper a process that left the group is ended a moment after this returns.
        """
        in_group = attempt.pid is None or not group_known or group_has_members(attempt.pid)
        if in_group or (self._subreaper and self._has_orphans(attempt.token)):
            await self._end(attempt)
            if self._subreaper:
                reap(adopted_children(self._children.awaited()))

    def over(self, attempt: Playing) -> None:
        """Nothing of the attempt runs any more, its validations neither: what carries its token is
        a stray. A sub-reaper has found those already."""
        self._living.discard(attempt.token)
        if not self._subreaper:
            self._gone[attempt.token] = attempt
            if self._sweep is None:
                self._sweep = asyncio.create_task(self._sweep_soon(), name="mzt-strays")

    async def close(self) -> None:
        """Look after those that still wait for it, then stop."""
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.gather(self._sweep, return_exceptions=True)
        await self._look_after(self._gone)

    def _has_orphans(self, token: str) -> bool:
        """Whether a child of ours may be the attempt's; those of living attempts are not."""
        orphans = adopted_children(self._children.awaited())
        for pid in set(orphans) - set(reap(orphans)):
            found = environ_token(pid)
            owners = token_owners(found) if found else []
            if not owners or token in owners or not self._living.intersection(owners):
                return True
        return False

    async def _sweep_soon(self) -> None:
        while self._gone:
            await asyncio.sleep(_SWEEP_AFTER)
            gone, self._gone = self._gone, {}
            await self._look_after(gone)
        self._sweep = None

    async def _look_after(self, gone: dict[str, Playing]) -> None:
        if gone:
            for token in await asyncio.to_thread(find_tokens, list(gone)):
                await self._end(gone[token])
