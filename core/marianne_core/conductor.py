"""The conductor: composes the rooms, and offers what a client may ask for.

The only file that knows them all. An async context manager: entering it is recovery, leaving it
stops dispatch, syncs, and goes; sheets live on, and the next conductor takes them up. It installs
no signal handler, prints nothing and imports no screen: a host does that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from marianne_core import __version__
from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.profiles import Profiles, load_profiles, profile_directories
from marianne_core.decide.baton import Baton
from marianne_core.model.clock import Clock, SystemClock
from marianne_core.model.errors import InputError, NoConductorError, StateError
from marianne_core.model.output import OutputPage, OutputRequest, OutputStream
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.model.wait_words import wait_words, with_reason
from marianne_core.model.waits import Wait, WaitReason
from marianne_core.remember.broom import Broom
from marianne_core.remember.clearing import ClearFilter
from marianne_core.remember.home import Home
from marianne_core.remember.journal import Journal
from marianne_core.remember.lock import StateLock
from marianne_core.remember.migrations import SCHEMA_VERSION
from marianne_core.remember.queries import open_reader, status_dict
from marianne_core.remember.rows import RunRow
from marianne_core.run.commands import Commands
from marianne_core.run.engine import Engine
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.launcher import Launcher, locks_are_inherited
from marianne_core.run.musician import AttemptLog, Musician
from marianne_core.run.output import Outputs
from marianne_core.run.restore import Shared
from marianne_core.run.revival import Revival
from marianne_core.run.set_aside import Shelf
from marianne_core.run.submission import limits_of
from marianne_core.run.validate.validator import Validator
from marianne_core.run.waiter import Waiter
from marianne_core.watch.bus import EventBus, EventStream, of_job

_MAY_WAIT = frozenset(
    str(s) for s in SheetStatus if not s.terminal and s is not SheetStatus.IN_PROGRESS
)

_LAST_COPIES = 2.0
"""Seconds to wait for the lock of a conductor that is dead already (`StateLock.is_a_dead_ones`)."""

_log = logging.getLogger(__name__)


class Conductor:
    """One conductor of one state directory; see `serve.client.Client` for what it answers."""

    def __init__(
        self,
        config: DaemonConfig,
        home: Home,
        *,
        clock: Clock | None = None,
        seed: int | None = None,
        environ: Mapping[str, str] | None = None,
        profiles: Profiles | None = None,
        subreaper: bool = False,
        dispatch: bool = True,
    ) -> None:
        """`seed` makes the jitter of retries repeatable; `environ` is what instruments inherit.

        `subreaper` says that the host called `run.processes.become_subreaper`, so that orphans of
        sheets become its children; they are then found at once, ended and reaped here. Such a host
        starts no programs of its own in other sessions: they would be taken for a sheet's. Without
        it all processes are looked at whenever a sheet ends, which takes some milliseconds.

        Without `dispatch` it starts no sheet and takes no job from its first moment on, recovery
        included.
        """
        self.config = config
        self.home = home
        self._clock = clock or SystemClock()
        self._seed = random.SystemRandom().getrandbits(64) if seed is None else seed
        self._environ = dict(os.environ if environ is None else environ)
        self._profiles = profiles or load_profiles(profile_directories(Path.home(), Path.cwd()))
        self._subreaper = subreaper
        self._dispatch = dispatch
        self._lock = StateLock(home.lock)
        self._started = time.monotonic()
        self._exit = AsyncExitStack()
        self._at_work = False
        self._store_trouble: str | None = None
        self.bus = EventBus()

    # --- life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Recover: lock, store, and every run and attempt that an earlier conductor left.

        Raises StateError when the state directory cannot be used or another conductor has it.
        """
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop dispatch, sync, leave. Sheets live on. From here on everything is refused."""
        self._at_work = False
        await self._exit.aclose()

    async def _take_lock(self) -> None:
        deadline = self._clock.now() + _LAST_COPIES
        while True:
            try:
                self._lock.acquire(version=__version__, socket=self.home.socket)
            except StateError:
                if not self._lock.is_a_dead_ones() or self._clock.now() >= deadline:
                    raise
                await asyncio.sleep(0.005)
            else:
                return

    async def _start(self) -> None:
        self.home.prepare()
        await self._take_lock()
        self._exit.callback(self._lock.release)
        if not locks_are_inherited(self.home.root):
            raise StateError(
                "locks are not handed on to child processes in this directory",
                where=str(self.home.root),
                hint="it may be on a network file system: set MARIANNE_HOME to a local directory",
            )
        self._journal = await Journal.open(self.home.database, on_trouble=self._store_in_trouble)
        self._exit.push_async_callback(self._journal.close)
        self._exit.callback(self.bus.close)
        self._outputs = Outputs(self.home, self.bus, self._profiles, self._journal.written)
        self._exit.callback(self._outputs.close)
        waiter = Waiter()
        self._exit.callback(waiter.close)
        validator = Validator(clock=self._clock)
        self._exit.callback(validator.close)
        ensemble = Ensemble(self._profiles, self._environ, self._clock)
        limits = limits_of(self.config, self._profiles)

        def musician(log: AttemptLog) -> Musician:
            return Musician(
                log,
                clock=self._clock,
                ensemble=ensemble,
                launcher=Launcher(),
                waiter=waiter,
                validator=validator,
                environ=self._environ,
                grace=self.config.grace_seconds,
                subreaper=self._subreaper,
            )

        self._engine = Engine(
            Baton(limits, self._seed),
            clock=self._clock,
            journal=self._journal,
            bus=self.bus,
            musician=musician,
        )
        self._exit.push_async_callback(self._engine.leave)
        shared = Shared(self.home, self._profiles, self.config, self._clock)
        shelf = Shelf(self._journal, self.bus, shared)
        self._exit.push_async_callback(shelf.close)
        revival = Revival(self._engine, self._journal, shelf, shared)
        self._commands = Commands(self._engine, self._journal, revival, shelf, shared)
        if not self._dispatch:
            self._commands.stop_dispatch()
        await revival.recover()
        self._broom = Broom(self.home)
        self._exit.push_async_callback(self._broom.leave)
        await self._broom.sweep()
        self._at_work = True

    def _store_in_trouble(self, reason: str | None) -> None:
        self._store_trouble = reason
        if reason is None:
            self._engine.release("store")
        else:
            self._engine.hold("store", Wait(WaitReason.DISK, blocker=reason))

    # --- commands -------------------------------------------------------------------------------

    async def submit(self, request: SubmitRequest) -> SubmitReply:
        """Start a new run of a score. A person's mistake comes back as a rejection."""
        self._check()
        return await self._commands.submit(request)

    async def pause(self, job: str) -> Receipt:
        """Start no new sheet of the run; running ones end first."""
        self._check()
        return await self._commands.pause(job)

    async def resume(self, job: str) -> Receipt:
        """Go on with a paused, failed or cancelled run; running sheets are not touched."""
        self._check()
        return await self._commands.resume(job)

    async def retry(self, job: str, sheet: int | None = None) -> Receipt:
        """Run failed, blocked and cancelled sheets again, or a sheet and all downstream of it."""
        self._check()
        return await self._commands.retry(job, sheet)

    async def cancel(self, job: str) -> Receipt:
        """End the run and the trees of its sheets; returns when they are gone."""
        self._check()
        return await self._commands.cancel(job)

    async def clear(
        self,
        *,
        jobs: Sequence[str] | None = None,
        statuses: Sequence[JobStatus] | None = None,
        older_than: float | None = None,
    ) -> int:
        """Forget runs that are over and meet every condition given, rows and files; how many."""
        self._check()
        refs = None if jobs is None else [JobRef.parse(job) for job in jobs]
        wanted = ClearFilter(jobs=refs, statuses=statuses, older_than=older_than)
        if wanted == ClearFilter():
            raise InputError(
                "nothing says which runs to clear", hint="name jobs, statuses or an age"
            )
        run_ids = await self._commands.clear(wanted)
        await self._broom.remove(run_ids)
        return len(run_ids)

    async def clear_rate_limits(self, instrument: str | None = None) -> int:
        """Use an instrument again that a rate limit has parked, or all; how many limits were lifted."""
        self._check()
        return await self._commands.clear_rate_limits(instrument)

    def drain(self) -> None:
        """Start nothing new; running sheets end, and their jobs are paused."""
        self._check()
        self._commands.drain()

    def stop_dispatch(self) -> None:
        """Start nothing new, because this conductor is about to leave; no job is paused by it."""
        self._check()
        self._commands.stop_dispatch()

    async def end_sheets(self) -> None:
        """End all sheets of all active runs; returns when their trees are gone."""
        self._check()
        await self._commands.end_sheets()

    # --- questions ------------------------------------------------------------------------------

    @property
    def idle(self) -> asyncio.Event:
        """Set while no run is active."""
        self._check()
        return self._engine.idle

    @property
    def working_on(self) -> list[str]:
        """Names of the active runs (`job#3`), in the order in which they were submitted."""
        self._check()
        active = sorted(r for r, run in self._engine.runs.items() if run.status.active)
        return [f"{run.job_id}#{run.number}" for run in map(self._engine.runs.__getitem__, active)]

    async def status(self, job: str) -> dict[str, Any]:
        """The run as `mzt status --json` prints it, with what each sheet waits for right now."""
        self._check()
        ref = JobRef.parse(job)
        await self._journal.written()
        picture, run_id = await asyncio.to_thread(self._read_status, ref)
        now, wall = self._clock.now(), self._clock.wall()
        if not picture["reason"] and (wait := self._engine.wait_of_run(run_id)):
            picture["reason"] = wait_words(wait, now, wall)
        if self._store_trouble is not None and not JobStatus(picture["status"]).terminal:
            picture["reason"] = (
                f"the store cannot be written, this may be old: {self._store_trouble}"
            )
        for number, sheet in enumerate(picture["sheets"]):
            if sheet["status"] == SheetStatus.IN_PROGRESS:
                sheet["reason"] = self._engine.stage.doing(run_id, sheet["num"]) or sheet["reason"]
                sheet["so_far"] = self._engine.stage.so_far(run_id, sheet["num"])
            elif sheet["status"] in _MAY_WAIT and (
                wait := self._engine.wait_of(run_id, sheet["num"])
            ):
                sheet["reason"] = with_reason(wait, wait_words(wait, now, wall), sheet["reason"])
            if number % 500 == 499:
                await asyncio.sleep(0)
        return picture

    async def rate_limits(self) -> list[dict[str, Any]]:
        """The rate limits that hold: `instrument`, `model` (None = all of it), `until` (seconds since
        the epoch), `seconds_remaining`, `reason`, `told_at`."""
        self._check()
        wall = self._clock.wall()
        return [
            {
                "instrument": limit.instrument,
                "model": limit.model,
                "until": limit.until,
                "seconds_remaining": round(limit.until - wall, 1),
                "reason": limit.reason,
                "told_at": limit.told_at,
            }
            for limit in self._engine.limits
        ]

    async def list_jobs(self) -> list[dict[str, Any]]:
        """The newest run of every job, newest first."""
        self._check()
        await self._journal.written()
        return await asyncio.to_thread(self._read_list)

    async def health(self) -> dict[str, Any]:
        """Liveness, without I/O."""
        self._check()
        active = [run for run in self._engine.runs.values() if run.status.active]
        return {
            "status": "ok",
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "shutting_down": self._commands.draining,
            "running_jobs": len(active),
            "active_sheets": self._engine.stage.living,
            "version": __version__,
            "schema": SCHEMA_VERSION,
        }

    async def events(self, job: str | None = None) -> EventStream:
        """Subscribe to events of a job, or of all."""
        self._check()
        return self.bus.subscribe(of_job(job))

    async def output(self, request: OutputRequest) -> OutputPage:
        """A part of what a sheet wrote; see `serve.client.Client.output`."""
        self._check()
        return await self._outputs.page(request)

    async def follow_output(self, request: OutputRequest) -> OutputStream:
        """What a sheet writes, as it is written; see `serve.client.Client.follow_output`."""
        self._check()
        return await self._outputs.follow(request)

    # --- parts ----------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self._at_work:
            raise NoConductorError(
                "this conductor is not at work", hint="it was not started yet, or it has left"
            )

    def _read_status(self, ref: JobRef) -> tuple[dict[str, Any], int]:
        with open_reader(self.home) as reader, reader.snapshot():
            run = reader.get_run(ref)
            return status_dict(run, reader.sheets(run.run_id)), run.run_id

    def _read_list(self) -> list[dict[str, Any]]:
        with open_reader(self.home) as reader:
            return [_listed(run) for run in reader.list_runs(newest_only=True, limit=None)]


def _listed(run: RunRow) -> dict[str, Any]:
    """A run in a list, with the keys of the existing protocol beside ours."""
    return {
        **run._asdict(),
        "status": str(run.status),
        "config_path": run.score_path,
        "progress_completed": run.completed,
        "progress_total": run.sheets_total,
    }
