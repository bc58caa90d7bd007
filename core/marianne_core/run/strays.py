"""Processes that outlive their sheet: found cheaply, so that a sheet's slot is free of them.

Most sheets leave nothing behind, so a full look at all processes for each would be waste. A shim's
own process group answers to one system call. What left the group too (a daemon) becomes a child of
a host that is a sub-reaper, and our children are one small file to read. Where the host is none,
or an earlier conductor started the sheet, whose orphans went elsewhere, all processes are looked at
before the sheet is over.

An orphan that says nothing of its attempt (it cleared its environment) came from one of those that
lived when it was first seen: it is ended when the last of them is over.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from marianne_core.run.active import Playing
from marianne_core.run.processes import (
    Proc,
    adopted_children,
    environ_token,
    group_has_members,
    has_proc,
    read_proc,
    reap,
)
from marianne_core.run.shim import token_owners
from marianne_core.run.tree import SharedScans

_FIRST_PID = 1
"""Gets the orphans of the whole machine or container, not only those of its own descendants."""


class Children(Protocol):
    """Who knows which children somebody waits for."""

    def awaited(self) -> set[int]:
        """Their pids."""
        ...


class End(Protocol):
    """Ends what is left of an attempt, and these processes; returns when nothing is."""

    def __call__(self, attempt: Playing, also: Sequence[Proc] = (), /) -> Awaitable[None]: ...


class Strays:
    """Looks for what ended attempts left behind, and has it ended. Belongs to one event loop."""

    def __init__(
        self, children: Children, end: End, *, scans: SharedScans, subreaper: bool
    ) -> None:
        """`subreaper`: orphans become children of ours."""
        self._children = children
        self._end = end
        self._scans = scans
        self._subreaper = subreaper
        self._living: set[str] = set()
        self._nameless: dict[tuple[int, int], frozenset[str]] = {}
        """Orphans that name no attempt, by pid and start time: tokens of the attempts that lived
        when one was first seen. Nothing is known of one that was there before them all."""
        if subreaper:
            self._look_at_orphans("")

    @contextmanager
    def of(self, attempt: Playing) -> Iterator[None]:
        """Something of the attempt may run from here on, and nothing of it afterwards."""
        self._living.add(attempt.token)
        try:
            yield
        finally:
            self._living.discard(attempt.token)

    async def settle(self, attempt: Playing, *, group_known: bool) -> None:
        """The attempt's shim is gone: end what is left of it before its slot is given away.

        `group_known`: its process group has its shim's pid and is worth asking. Raises OSError or
        RuntimeError when the system is too short of files, threads or memory to look.
        """
        # Whoever else reaped the shim has its orphans as well.
        ours = attempt.pid is not None and attempt.waited is not None and group_known
        if not ours or group_has_members(attempt.pid or 0):
            await self._end(attempt)
            self._reap()
        await self._settle_daemons(attempt, looked=not ours)

    def may_be_left(self, attempt: Playing) -> bool:
        """Whether `settle_helpers` has something to look for."""
        return attempt.helped or bool(self._nameless)

    async def settle_helpers(self, attempt: Playing) -> None:
        """The attempt's last helper command is over: end what those left. Raises as `settle`."""
        await self._settle_daemons(attempt, looked=not attempt.helped)

    # --- parts ----------------------------------------------------------------------------------

    async def _settle_daemons(self, attempt: Playing, *, looked: bool) -> None:
        """`looked`: all processes were looked at just now."""
        if self._subreaper:
            named, nameless = self._look_at_orphans(attempt.token)
            if named or nameless:
                await self._end(attempt, nameless)
                self._reap()
        elif not looked and attempt.token in (await self._scans.fresh()).by_token:
            await self._end(attempt)

    def _look_at_orphans(self, token: str) -> tuple[bool, list[Proc]]:
        """Whether an orphan names this attempt, and nameless ones that nobody else is to end."""
        orphans = adopted_children(self._children.awaited())
        if not orphans:
            self._nameless.clear()
            return False, []
        named = False
        nameless: dict[tuple[int, int], Proc] = {}
        for pid in set(orphans) - set(reap(orphans)):
            found = environ_token(pid)
            owners = token_owners(found) if found else []
            if token in owners:
                named = True
            elif not self._living.intersection(owners) and (proc := read_proc(pid)):
                nameless[pid, proc.start_time] = proc
        # Without /proc, children of all threads are seen, also such as are being spawned just now.
        provable = has_proc() and os.getpid() != _FIRST_PID
        new = frozenset(self._living) if provable else frozenset()
        self._nameless = {orphan: self._nameless.get(orphan, new) for orphan in nameless}
        others = self._living - {token}
        return named, [
            nameless[orphan]
            for orphan, may_be in self._nameless.items()
            if may_be and not may_be & others
        ]

    def _reap(self) -> None:
        if self._subreaper:
            reap(adopted_children(self._children.awaited()))
