"""What became of an attempt that a conductor left behind: the only way a conductor starts.

Everything is decided from the attempt's files, its lock and the tokens that living processes
carry; nothing by a process's name. A lock that is held means that somebody of this boot lives, so
the lock is asked even where the boot ids differ (a host without a boot id of its own may guess
wrong), and an attempt is only said not to run when its lock is free and no process has its token.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from marianne_core.run.attempt_files import AttemptFiles, StatusFile, look_at_status
from marianne_core.run.processes import Proc, Scan, boot_id, environ_token, read_proc
from marianne_core.run.tree import Tree

_PID_LINE_PATIENCE = 1.0
"""Seconds that a living shim without a pid line is given to write it."""

_PAUSE = 0.005


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An unfinished attempt, as the store knows it."""

    token: str
    files: AttemptFiles
    boot_id: str
    """Of the boot in which its intent was written."""
    start_time: int | None = None
    """The shim's (`process_start_time`), if it was stored; needed only where the environments of
    our own processes cannot be read."""


@dataclass(frozen=True, slots=True)
class Exited:
    """It left this exit status: take the result, go on with validation."""

    exit_status: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """It runs: wait for it as if nothing had happened (`Waiter.exited(..., child=False)`)."""

    pid: int


@dataclass(frozen=True, slots=True)
class HeldByStranger:
    """Its lock is held, by a process that cannot be shown to be its shim: wait for the lock
    (`Waiter.exited(None, ...)`), never run it again before, signal nobody."""

    pid: int | None
    """What the status file says."""


@dataclass(frozen=True, slots=True)
class NeverRan:
    """Nothing was started: run it, nothing counted."""


@dataclass(frozen=True, slots=True)
class MustEnd:
    """The shim is gone, or was never there, and processes of the attempt live: end them
    (`Tree(token, pid).end()`). When none survives the attempt is lost if it was `started`, else it
    never ran."""

    pid: int | None
    """The shim's, where it may still name a session: None without a pid line, or when the line may
    be of another boot."""
    processes: tuple[Proc, ...]
    started: bool
    """Something of the instrument may have run. False: it is all of a helper command that came
    before (`skip_when_command`), and its conductor was killed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """It was started, it is gone, and nobody knows how it ended."""


@dataclass(frozen=True, slots=True)
class OtherBoot:
    """The machine was started anew since. A synced result in the store counts; an exit status
    without one counts only if the sheet has validations and they pass again; else it is lost."""

    exit_status: int | None
    started: bool
    """It had written its pid. False: as far as the disk knows it never ran."""


Finding = Exited | Adopt | HeldByStranger | NeverRan | MustEnd | Lost | OtherBoot


def never_ran(finding: Finding) -> bool:
    """Nothing of the attempt was ever started, as far as anybody can know."""
    return isinstance(finding, NeverRan) or (
        isinstance(finding, OtherBoot) and not finding.started and finding.exit_status is None
    )


class World:
    """This boot and its processes, looked at once for any number of attempts, when first needed."""

    @cached_property
    def boot_id(self) -> str:
        return boot_id()

    @cached_property
    def scan(self) -> Scan:
        return Scan()


def examine(record: AttemptRecord, world: World | None = None) -> Finding:
    """Find out what became of one attempt. Changes nothing, signals nobody.

    Waits up to a second for the pid line of a shim that was just started: call it in a thread, or
    before the loop has other work. Raises OSError when a file cannot be read.
    """
    return examine_all([record], world)[record.token]


def examine_all(records: Iterable[AttemptRecord], world: World | None = None) -> dict[str, Finding]:
    """`examine` for many attempts, by token. 1,000 living and 10,000 finished ones take some tenths
    of a second; a World that is passed in must be as new as this call."""
    world = world or World()
    findings: dict[str, Finding] = {}
    starting: list[AttemptRecord] = []
    for record in records:
        finding = _examine_once(record, world)
        if finding is None:
            starting.append(record)
        else:
            findings[record.token] = finding
    deadline = time.monotonic() + _PID_LINE_PATIENCE
    while starting:
        patient = time.monotonic() < deadline
        if patient:
            time.sleep(_PAUSE)
        waiting = []
        for record in starting:
            finding = _examine_once(record, World())
            if finding is not None:
                findings[record.token] = finding
            elif patient:
                waiting.append(record)
            else:
                findings[record.token] = HeldByStranger(None)
        starting = waiting
    return findings


def _examine_once(record: AttemptRecord, world: World) -> Finding | None:
    """None: its shim lives and has not written its pid yet."""
    path = record.files.name("st")
    look = look_at_status(path)
    status = look.status
    same_boot = record.boot_id == world.boot_id
    if look.held:
        if status.pid is None:
            return None
        if _is_shim(record, status.pid):
            # Still held after the look at the process: then it was the shim that was looked at.
            look = look_at_status(path)
            if look.held:
                return Adopt(status.pid)
            status = look.status
        else:
            look = look_at_status(path)
            if look.held:
                return HeldByStranger(status.pid)
            status = look.status
    if status.exit_status is not None:
        return Exited(status.exit_status) if same_boot else OtherBoot(status.exit_status, True)
    return _without_exit_line(record, status, world, same_boot=same_boot)


def _is_shim(record: AttemptRecord, pid: int) -> bool:
    """Whether the pid of a held status file is, seen from here, that attempt's shim."""
    proc = read_proc(pid)
    if proc is None or proc.dead or proc.session != pid:
        return False
    token = environ_token(pid)
    if token is None:
        return record.start_time is not None and proc.start_time == record.start_time
    return token == record.token


def _without_exit_line(
    record: AttemptRecord, status: StatusFile, world: World, *, same_boot: bool
) -> Finding:
    """The lock is free, or there is no status file, and nobody wrote how it ended."""
    pid = status.pid if same_boot else None
    if found := Tree(record.token, pid).processes(world.scan):
        # Without a pid line nothing but a helper can have run, unless the status file was removed:
        # then the shim and what it started still carry the attempt's own token.
        started = status.pid is not None or any(
            environ_token(proc.pid) == record.token for proc in found
        )
        return MustEnd(pid, tuple(found), started)
    if not same_boot:
        return OtherBoot(None, status.pid is not None)
    return NeverRan() if status.pid is None else Lost()
