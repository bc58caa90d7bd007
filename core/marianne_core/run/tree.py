"""An attempt's processes: list them, end them, and be sure that none is left.

A process belongs to an attempt when it carries the attempt's token in its environment, when it is
in the session that the attempt's shim leads, when it descends from one that belongs, or when it
was seen to belong before. Names are never looked at. What is not proved to belong is not
signalled; a group or session counts only while its shim, or a member with the token, proves that
its number has not been given to somebody else.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from marianne_core.run.attempt_files import look_at_status
from marianne_core.run.processes import (
    Proc,
    Scan,
    send_signal,
    still_there,
)

DEFAULT_GRACE = 5.0
"""Seconds between TERM and KILL (`grace_seconds` of conductor.yaml)."""

_PID_LINE_PATIENCE = 5.0
"""Seconds a shim may take to write its pid; it takes microseconds once it has a processor."""

_SHIM_PATIENCE = 1.0
"""Seconds the shim may take to write the exit line when nothing else of the tree is left."""

DEFAULT_PATIENCE = 5.0
"""Seconds after the first KILL until what is still there is reported as a survivor."""

_SHORTEST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1

_FIRST_RESCAN = 0.05
"""Seconds to the second full scan: it finds what was about to start when TERM came."""

_TERM_RESCAN = 0.5
"""The longest time between full scans while known processes use their grace."""

_KILL_RESCAN = 0.05
"""The same while they are being killed: the time a process forks in must be short."""

_ROUNDS_BEFORE_GROUP = 10
"""Rounds of KILL, each with somebody new, after which a tree that forks faster than it is scanned loses its shim as well."""

_EMPTY_SCANS = 2


class SharedScans:
    """Scans made in a thread and shared by all who ask at about the same time.

    A hundred trees that are ended at once cost as much scanning as one. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._next: asyncio.Task[Scan] | None = None
        self._lock = asyncio.Lock()

    async def fresh(self) -> Scan:
        """A scan that began after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._scan())
        return await asyncio.shield(self._next)

    async def _scan(self) -> Scan:
        async with self._lock:
            # Whoever asks from here on may have missed the beginning: the next scan is theirs.
            self._next = None
            return await asyncio.to_thread(_complete_scan)


def _complete_scan() -> Scan:
    scan = Scan()
    # What takes time is done here, in the thread, and not later in the loop.
    _ = scan.by_token, scan.by_session, scan.children
    return scan


@dataclass(frozen=True, slots=True)
class TreeEnd:
    """What ending a tree came to."""

    survivors: tuple[Proc, ...]
    """Still there after KILL (in the kernel, or another user's); empty is the rule."""
    signalled: tuple[Proc, ...]
    """Every process that got a signal, each once."""
    killed: bool
    """Some needed KILL."""
    seconds: float
    refused: tuple[Proc, ...] = ()
    """Those of the survivors that this user may not signal."""


class Tree:
    """The processes of one attempt (or of one helper command).

    Keep the object as long as the attempt: what it saw once it knows again, which is the only way
    to find a process that later cleared its environment, left the session and lost its parent.
    """

    def __init__(
        self,
        token: str,
        pid: int | None,
        *,
        status: Path | str | None = None,
        start_time: int | None = None,
        scans: SharedScans | None = None,
        known: Iterable[Proc] = (),
    ) -> None:
        """`known` processes belong to it, whatever they themselves say."""
        self.token = token
        self.pid = pid
        """Leader of the tree's session: the shim, or the command itself; None when unknown."""
        self._status = status
        """The shim's status file; None when the leader is no shim and nothing waits for its line."""
        self._start_time = start_time
        """The leader's, where it was recorded: proof when its environment cannot be read."""
        self._scans = scans or SharedScans()
        self._known = {proc.pid: proc.start_time for proc in known}
        self._sessions = set() if pid is None else {pid}

    def processes(self, scan: Scan | None = None) -> list[Proc]:
        """The living processes of the tree, by pid; also records them. Without `scan` it makes one
        (milliseconds: not in an event loop).
        """
        scan = scan or Scan()
        members = {proc.pid: proc for proc in scan.by_token.get(self.token, [])}
        for pid, start_time in self._known.items():
            proc = scan.procs.get(pid)
            if proc and proc.start_time == start_time:
                members[pid] = proc
        leader = scan.procs.get(self.pid) if self.pid else None
        if leader and self._start_time is not None and leader.start_time == self._start_time:
            members[leader.pid] = leader
        for session in self._sessions & {proc.session for proc in members.values()}:
            # A session's number is not given anew while it has members: all of it is ours.
            members.update((proc.pid, proc) for proc in scan.by_session[session])
        self._add_descendants(members, scan)
        self._known = {proc.pid: proc.start_time for proc in members.values()}
        self._sessions |= {proc.pid for proc in members.values() if proc.session == proc.pid}
        return sorted((p for p in members.values() if not p.dead), key=lambda proc: proc.pid)

    @staticmethod
    def _add_descendants(members: dict[int, Proc], scan: Scan) -> None:
        """Add children of members, sessions that members lead, and so on down."""
        unseen = list(members.values())
        while unseen:
            proc = unseen.pop()
            found = list(scan.children.get(proc.pid, ()))
            if proc.session == proc.pid:
                found += scan.by_session[proc.pid]
            for other in found:
                if other.pid not in members:
                    members[other.pid] = other
                    unseen.append(other)

    async def probe(self) -> list[Proc]:
        """`processes()` by a scan in a thread."""
        return self.processes(await self._scans.fresh())

    async def end(
        self, grace: float = DEFAULT_GRACE, *, patience: float = DEFAULT_PATIENCE
    ) -> TreeEnd:
        """End every process of the tree and verify that none is left.

        TERM to the session's group and to every member outside it; `grace` seconds; KILL to all but
        the shim, so that it can write the exit line; the shim only if it does not leave by itself.
        Done after two scans that find nothing, or `patience` seconds after the first KILL: what is
        there then survives (a process that hangs in the kernel). At once after the first KILL when
        all that is left belongs to other users. Cancelling it leaves the tree half ended. Raises
        OSError when the system is too short of files or memory to look.
        """
        started = asyncio.get_running_loop().time()
        await self._wait_for_pid_line()
        ending = _Ending(self, shim=self.pid if self._status is not None else None)
        survivors = await ending.run(grace, patience)
        return TreeEnd(
            tuple(survivors),
            tuple(proc for proc in ending.signalled.values() if not ending.was_refused(proc)),
            ending.killed,
            asyncio.get_running_loop().time() - started,
            tuple(proc for proc in survivors if ending.was_refused(proc)),
        )

    async def _wait_for_pid_line(self) -> None:
        """Until the shim has set its trap: a signal before that would cost the exit line."""
        if self._status is None:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PID_LINE_PATIENCE
        while loop.time() < deadline:
            look = look_at_status(self._status)
            if look.status.pid is not None or not look.held:
                return
            await asyncio.sleep(_SHORTEST_PAUSE)


def _key(proc: Proc) -> tuple[int, int]:
    return proc.pid, proc.start_time


class _Ending:
    """One ending of one tree."""

    def __init__(self, tree: Tree, *, shim: int | None) -> None:
        self._tree = tree
        self._shim = shim
        self._loop = asyncio.get_running_loop()
        self._kill_rounds = 0
        self._shim_alone_since: float | None = None
        self._just_forked: set[Proc] = set()
        self._sent_kill: set[tuple[int, int]] = set()
        self._refused: set[tuple[int, int]] = set()
        self.signalled: dict[tuple[int, int], Proc] = {}
        self.killed = False

    async def run(self, grace: float, patience: float) -> list[Proc]:
        """End the tree; returns the survivors."""
        members = await self._tree.probe()
        members = await self._repeat(self._terminate, members, grace, _TERM_RESCAN)
        if members:
            members = await self._repeat(self._kill, members, patience, _KILL_RESCAN)
        return members

    def was_refused(self, proc: Proc) -> bool:
        """Whether the system did not let us signal it."""
        return _key(proc) in self._refused

    async def _repeat(
        self, act: Callable[[list[Proc]], None], members: list[Proc], seconds: float, rescan: float
    ) -> list[Proc]:
        """Act on the members and scan again, until two scans found none or the time is over."""
        deadline = self._loop.time() + seconds
        empty_scans = 0
        until_rescan = _FIRST_RESCAN
        while True:
            if members:
                empty_scans = 0
                act(members)
                if self._loop.time() >= deadline or self._is_hopeless(members):
                    return members
            else:
                empty_scans += 1
                if empty_scans == _EMPTY_SCANS:
                    return members
            await self._until_gone(members, min(self._loop.time() + until_rescan, deadline))
            until_rescan = min(2 * until_rescan, rescan)
            members = await self._tree.probe()

    async def _until_gone(self, members: list[Proc], deadline: float) -> None:
        """Until none of these is there any more: a few short reads instead of a scan."""
        pause = _SHORTEST_PAUSE
        while any(still_there(proc) for proc in members) and self._loop.time() < deadline:
            await asyncio.sleep(max(0.0, min(pause, deadline - self._loop.time())))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _terminate(self, members: list[Proc]) -> None:
        """TERM, once to each: a second one makes many programs give up their orderly end.

        For the same reason what a program starts after it was told is left to it until the grace is
        over. But a shell's child that was just forked may lose what comes before its own program
        runs: it is told again then.
        """
        by_pid = {proc.pid: proc for proc in members}
        new = [
            proc
            for proc in members
            if _key(proc) not in self.signalled and not self._was_told(by_pid.get(proc.ppid))
        ]
        for proc in new:
            parent = by_pid.get(proc.ppid)
            if parent is not None and parent.image == proc.image:
                self._just_forked.add(proc)
        self._send_all(new, signal.SIGTERM)
        for proc in [fork for fork in self._just_forked if fork.pid in by_pid]:
            now = by_pid[proc.pid]
            if _key(now) == _key(proc) and now.image != proc.image:
                self._just_forked.discard(proc)
                self._send(now, signal.SIGTERM)
        for proc in members:
            if proc.stopped:  # it handles TERM when it goes on
                self._send(proc, signal.SIGCONT)

    def _was_told(self, proc: Proc | None) -> bool:
        """Whether a program was told to end. The shim is told, too, but only waits for its child."""
        return proc is not None and proc.pid != self._shim and _key(proc) in self.signalled

    def _is_hopeless(self, members: list[Proc]) -> bool:
        """KILL was sent, and all that is left (but the shim, which waits for it) was refused."""
        others = [proc for proc in members if proc.pid != self._shim]
        return self.killed and bool(others) and all(self.was_refused(proc) for proc in others)

    def _kill(self, members: list[Proc]) -> None:
        """KILL to all but the shim; to the shim when it stays alone for too long."""
        others = [proc for proc in members if proc.pid != self._shim]
        now = self._loop.time()
        if others:
            self.killed = True
            self._shim_alone_since = None
            new = {_key(proc) for proc in others} - self._sent_kill
            self._sent_kill |= new
            self._kill_rounds += bool(new)
            outrun = self._kill_rounds > _ROUNDS_BEFORE_GROUP
            self._send_all(members if outrun else others, signal.SIGKILL)
        elif self._shim_alone_since is None:
            self._shim_alone_since = now
            self._send(members[0], signal.SIGCONT)
        elif now - self._shim_alone_since > _SHIM_PATIENCE:
            self._send_all(members, signal.SIGKILL)

    def _send_all(self, procs: list[Proc], number: signal.Signals) -> None:
        """Signal the groups that these processes lead, then each that is in none of them."""
        groups = {proc.pid for proc in procs if self._signal_group(proc, number)}
        for proc in procs:
            if proc.group not in groups:
                self._send(proc, number)
            self.signalled[_key(proc)] = proc

    @staticmethod
    def _signal_group(leader: Proc, number: signal.Signals) -> bool:
        """Signal the group of a session that this process leads: that catches what was forked
        since the scan.

        Only while its leader is there, so that the number is not a stranger's; and not when the
        conductor itself was started inside this attempt.
        """
        group = leader.pid
        if group != leader.session or group == os.getpgrp() or not still_there(leader):
            return False
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _send(self, proc: Proc, number: signal.Signals) -> None:
        try:
            send_signal(proc, number)
        except PermissionError:
            # Another user's process: it is reported as a survivor.
            self._refused.add(_key(proc))
        else:
            self._refused.discard(_key(proc))
