"""Processes that outlive their sheet: found cheaply, so that a sheet's slot is free of them.

Most sheets leave nothing behind, so a full look at all processes for each would be waste. A shim's
own process group answers to one system call. What left the group too (a daemon) becomes a child of
a host that is a sub-reaper, and our children are one small file to read. Where the host is none,
the tokens of ended attempts are looked for together, a moment later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
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

_LONGEST_PAUSE = 30.0
"""Seconds between two sweeps while the system refuses to look, at most."""

_LAST_GRACE = 0.5
"""Seconds between TERM and KILL when the conductor leaves: nobody looks for strays after it."""

_LAST_SECONDS = 1.5
"""Seconds that the last look may take in all."""

_log = logging.getLogger(__name__)


class Children(Protocol):
    """Who knows which children somebody waits for."""

    def awaited(self) -> set[int]:
        """Their pids."""
        ...


class End(Protocol):
    """Ends what is left of an attempt; returns when nothing is."""

    def __call__(self, attempt: Playing, grace: float | None = None, /) -> Awaitable[None]: ...


class Strays:
    """Looks for what ended attempts left behind, and has it ended."""

    def __init__(self, children: Children, end: End, *, subreaper: bool) -> None:
        """`subreaper`: orphans become children of ours."""
        self._children = children
        self._end = end
        self._subreaper = subreaper
        self._living: set[str] = set()
        self._gone: dict[str, Playing] = {}
        self._ending: dict[asyncio.Task[None], Playing] = {}
        self._sweep: asyncio.Task[None] | None = None

    @contextmanager
    def of(self, attempt: Playing) -> Iterator[None]:
        """Something of the attempt may run from here on, and nothing of it afterwards: what carries
        its token then is a stray. An attempt that is left alive (cancelled) has none."""
        self._living.add(attempt.token)
        try:
            yield
        except asyncio.CancelledError:
            self._living.discard(attempt.token)
            raise
        except BaseException:
            self._over(attempt)
            raise
        else:
            self._over(attempt)

    async def settle(self, attempt: Playing, *, group_known: bool) -> None:
        """The attempt's shim is gone: end what is left of it before its slot is given away.

        `group_known`: its process group has its shim's pid and is worth asking. Without a
        sub-reaper a process that left the group is ended a moment after the attempt is over.
        """
        in_group = attempt.pid is None or not group_known or group_has_members(attempt.pid)
        if in_group or (self._subreaper and self._has_orphans(attempt.token)):
            await self._end(attempt)
            if self._subreaper:
                reap(adopted_children(self._children.awaited()))

    async def close(self) -> None:
        """Look once more after all that is still to be looked after, but not for long; then stop."""
        tasks = list(self._ending)
        if self._sweep is not None:
            tasks.append(self._sweep)
        left = {attempt.token: attempt for attempt in self._ending.values()} | self._gone
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not left:
            return
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                found = await asyncio.to_thread(find_tokens, list(left))
                await asyncio.gather(*(self._end(left[token], _LAST_GRACE) for token in found))
        except (TimeoutError, OSError, RuntimeError) as error:
            sheets = [f"{a.run.job_id}#{a.run.number} sheet {a.num}" for a in left.values()]
            why = str(error) or "they do not end"
            _log.warning("strays.left_behind", extra={"sheets": sheets, "why": why})

    def _over(self, attempt: Playing) -> None:
        self._living.discard(attempt.token)
        if not self._subreaper or (
            # Those of the instrument were found before its slot was given away.
            attempt.helped and self._has_orphans(attempt.token, doubt=True)
        ):
            self._gone[attempt.token] = attempt
            if self._sweep is None:
                self._sweep = asyncio.create_task(self._sweep_soon(), name="mzt-strays")

    def _has_orphans(self, token: str, *, doubt: bool = False) -> bool:
        """Whether a child of ours may be the attempt's; those of living attempts are not.

        `doubt` is the answer when the system is too short of files or memory to look; without it
        that raises OSError.
        """
        try:
            orphans = adopted_children(self._children.awaited())
            for pid in set(orphans) - set(reap(orphans)):
                found = environ_token(pid)
                owners = token_owners(found) if found else []
                if not owners or token in owners or not self._living.intersection(owners):
                    return True
        except OSError:
            if not doubt:
                raise
            return True
        return False

    async def _sweep_soon(self) -> None:
        pause = _SWEEP_AFTER
        while self._gone:
            await asyncio.sleep(pause)
            try:
                await self._look_after_the_gone()
            except Exception as error:
                # They stay among the gone. No files, no threads: it must not end the sweeping.
                _log.warning("strays.not_looked_after", extra={"why": str(error)}, exc_info=error)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = _SWEEP_AFTER
        self._sweep = None

    async def _look_after_the_gone(self) -> None:
        """End the strays of the gone, each attempt's by a task of its own: one may take long."""
        gone = dict(self._gone)
        found = await asyncio.to_thread(find_tokens, list(gone))
        for token, attempt in gone.items():
            del self._gone[token]
            if token in found:
                ending = asyncio.create_task(self._end_strays(attempt), name=f"strays {token}")
                self._ending[ending] = attempt
                ending.add_done_callback(self._ended)

    async def _end_strays(self, attempt: Playing) -> None:
        await self._end(attempt)
        if self._subreaper:
            reap(adopted_children(self._children.awaited()))

    def _ended(self, ending: asyncio.Task[None]) -> None:
        attempt = self._ending.pop(ending)
        if not ending.cancelled() and (error := ending.exception()):
            _log.error("strays.not_ended", extra={"attempt": attempt.token}, exc_info=error)
