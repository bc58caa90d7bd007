"""The scheduler's public face for programs that run their own sheets: `GlobalSheetScheduler`.

A thin view on one pure `Scheduler`; every decision is taken there. What the pure one must not do is
done here: reading the loop's clock and asking a rate limiter or a pressure controller, which may
wait. Nothing here ever sleeps, and any number of tasks may call `next_sheet` at the same time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from marianne_core.decide.blocks import blocks_of
from marianne_core.decide.dispatch import Blocked, Dispatch, SheetEnd
from marianne_core.decide.messages import Limits, RunPolicy, SheetTask
from marianne_core.decide.scheduler import Scheduler
from marianne_core.model.waits import Wait, WaitReason

_LIMITER_REST = 60.0
"""A limiter that fails is not asked again for 1, 2, 4 ... seconds, at most this long."""
_LEAST_LIMIT = 0.001
_LEAST_PRESSURE = 1.0
"""Seconds until a controller that refuses without a time is asked again."""
_MOST = 3600.0
"""Seconds that a limit or pressure holds at most without being asked about again."""
_LIMITER_ERRORS = (RuntimeError, ValueError, OSError)


class SchedulerConfig(Protocol):
    """The part of the conductor's configuration that is read here, at every decision."""

    @property
    def max_concurrent_sheets(self) -> int: ...


class RateLimitChecker(Protocol):
    """Knows which instruments are rate-limited."""

    async def is_rate_limited(
        self, backend_type: str, *, model: str | None = None
    ) -> tuple[bool, float]:
        """Whether it is limited, and for how many seconds."""
        ...


class BackpressureChecker(Protocol):
    """Knows whether the machine can take another sheet."""

    async def can_start_sheet(self) -> tuple[bool, float]:
        """Whether one may start, and the seconds until the next one may."""
        ...


@dataclass
class SheetInfo:
    """A sheet as an embedder describes it."""

    job_id: str
    sheet_num: int
    backend_type: str = "claude_cli"
    model: str | None = None
    estimated_cost: float = 0.0
    dag_depth: int = 0
    """Not read: the length of the remaining path is computed from the dependencies."""
    job_priority: int = 5
    """1 to 10, a lower number gets a larger share; that of the job's first sheet counts."""
    retries_so_far: int = 0


@dataclass(order=True)
class SheetEntry:
    """A sheet that has a slot, or may get one. Sorts by priority, then by time."""

    priority: float
    """Place in the order of decisions."""
    submitted_at: float
    """When its job was registered, in seconds of the scheduler's clock."""
    info: SheetInfo = field(compare=False)
    rate_limit_skip_count: int = field(default=0, compare=False)
    generation: int = field(default=0, compare=False)
    """Of the job's registration; `report` takes it."""


@dataclass
class SchedulerStats:
    """How full the scheduler is, in sheets."""

    queued: int
    active: int
    max_concurrent: int
    per_job_running: dict[str, int]
    per_job_queued: dict[str, int]
    limiter_errors: int = 0
    """Errors of the rate limiter in a row; it is treated as silent while it rests."""
    limiter_error: str = ""
    """The last of them, in words; "" when the limiter works."""


@dataclass(slots=True)
class _Registration:
    infos: dict[int, SheetInfo]
    at: float


def _bounded(seconds: float, least: float) -> float:
    """Seconds to wait, from `least` to an hour; what is no number counts as none."""
    return least if math.isnan(seconds) else min(max(seconds, least), _MOST)


class GlobalSheetScheduler:
    """Which sheet runs next over all jobs. It never runs one.

    `scheduler` shares an instance that the caller drives through this view alone; None makes one
    with `config.max_concurrent_sheets` slots and no limit per instrument. `clock` gives seconds that
    never go back; None takes the running loop's.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        *,
        scheduler: Scheduler | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._config = config
        self._scheduler = scheduler or Scheduler(
            Limits(max_concurrent_sheets=config.max_concurrent_sheets, default_instrument=None)
        )
        self._clock = clock
        self._jobs: dict[str, _Registration] = {}
        self._limiter: RateLimitChecker | None = None
        self._pressure: BackpressureChecker | None = None
        self._pressure_until = 0.0
        self._limiter_rests_until = 0.0
        self._limiter_errors = 0
        self._limiter_error = ""
        self._parked: set[tuple[str, str | None]] = set()
        """What the limiter limited, and no `limits_changed` lifted."""
        self._started = 0

    # --- wiring ---------------------------------------------------------------------------------

    def set_rate_limiter(self, limiter: RateLimitChecker | None) -> None:
        """Ask this before a sheet of an instrument starts; None asks nobody.

        What the one before it had said is forgotten.
        """
        self._limiter = limiter
        self._limiter_works()
        self.limits_changed()

    def limits_changed(self, instrument: str | None = None) -> None:
        """The limiter's limits were lifted, of one instrument or of all: it is asked again.

        Call it when limits are cleared; without it an instrument waits for the time that the
        limiter named.
        """
        lifted = {key for key in self._parked if instrument in (None, key[0])}
        self._parked -= lifted
        for name, model in lifted:
            self._scheduler.unpark(name, model)

    def set_backpressure(self, controller: BackpressureChecker | None) -> None:
        """Ask this before any sheet starts; None asks nobody."""
        self._pressure = controller
        self._pressure_until = 0.0

    # --- state ----------------------------------------------------------------------------------

    @property
    def active_count(self) -> int:
        """Sheets that run."""
        return self._scheduler.active

    @property
    def queued_count(self) -> int:
        """Sheets whose dependencies are done and that do not run yet."""
        return self._scheduler.queued

    async def get_stats(self) -> SchedulerStats:
        """All counts at this moment."""
        scheduler = self._scheduler
        jobs: list[Hashable] = list(scheduler.jobs)
        return SchedulerStats(
            queued=scheduler.queued,
            active=scheduler.active,
            max_concurrent=self._use_limits(),
            per_job_running={str(j): scheduler.running_of(j) for j in jobs},
            per_job_queued={str(j): scheduler.queued_of(j) for j in jobs},
            limiter_errors=self._limiter_errors,
            limiter_error=self._limiter_error,
        )

    def wait_of(self, job_id: str, sheet_num: int) -> Wait | None:
        """Why a sheet does not run now; None when it runs, is over, or is unknown."""
        now = self._now()
        wait = self._scheduler.wait_of(job_id, sheet_num, now)
        if wait is None and self._pressure_until > now and self._scheduler.waits(job_id, sheet_num):
            return Wait(WaitReason.PRESSURE, self._pressure_until, "the machine")
        return wait

    # --- jobs -----------------------------------------------------------------------------------

    async def register_job(
        self,
        job_id: str,
        sheets: list[SheetInfo],
        dependencies: Mapping[int, set[int]] | None = None,
        *,
        completed: Iterable[int] = (),
        policy: RunPolicy | None = None,
    ) -> None:
        """Add a job. An earlier registration is replaced; its running sheets keep their slots.

        `completed` sheets count as done. Without a `policy` the job may run any number at once.
        Raises ValueError for a sheet number given twice, a dependency on a number that does not
        exist and a cycle (showing its path); nothing is changed then.
        """
        wanted = dependencies or {}
        infos = {info.sheet_num: info for info in sheets}
        done = frozenset(completed)  # may be an iterator
        unknown = sorted(set(wanted) - set(infos)) + sorted(done - set(infos))
        if unknown:
            raise ValueError(f"sheet {unknown[0]} does not exist")
        tasks = [
            SheetTask(
                info.sheet_num,
                tuple(blocks_of(wanted.get(info.sheet_num, ()))),
                info.backend_type,
                info.model,
            )
            for info in sheets
        ]
        if policy is None:
            urgency = 10 - sheets[0].job_priority if sheets else 5
            policy = RunPolicy(max_concurrent=max(1, len(sheets)), priority=urgency)
        now = self._now()
        self._scheduler.register(job_id, tasks, now=now, policy=policy, completed=blocks_of(done))
        self._jobs[job_id] = _Registration(infos, now)

    async def deregister_job(self, job_id: str) -> None:
        """Forget a job; its running sheets keep their slots until they are reported."""
        self._scheduler.deregister(job_id)
        self._jobs.pop(job_id, None)

    # --- decisions ------------------------------------------------------------------------------

    async def next_sheet(self) -> SheetEntry | None:
        """Take a slot for the next sheet; None when none may start now (see `next_wake`)."""
        self._use_limits()
        now = self._now()
        if now < self._pressure_until or self._scheduler.candidate(now) is None:
            return None
        pause = 0.0
        if self._pressure is not None:
            allowed, pause = await self._pressure.can_start_sheet()
            if not allowed:
                self._pressure_until = self._now() + _bounded(pause, _LEAST_PRESSURE)
                return None
        return await self._take(pause)

    def next_wake(self) -> float | None:
        """When `next_sheet` may answer differently although nothing is reported; None = never."""
        times = [self._scheduler.next_wake()]
        if self._scheduler.queued and self._pressure_until > self._now():
            times.append(self._pressure_until)
        return min((t for t in times if t is not None), default=None)

    async def mark_complete(self, job_id: str, sheet_num: int, success: bool) -> None:
        """The sheet is over and its processes are gone. After a failure its dependents never run.

        A sheet that does not run is ignored, so reporting twice does no harm.
        """
        await self.report(job_id, sheet_num, SheetEnd.DONE if success else SheetEnd.FAILED)

    async def report(
        self,
        job_id: str,
        sheet_num: int,
        outcome: SheetEnd,
        *,
        not_before: float | None = None,
        generation: int | None = None,
    ) -> list[Blocked]:
        """Give back the slot and say how the sheet stands; the sheets that are blocked by it.

        RETRY queues it again, not before a time. With `generation` only the report of that
        registration counts.
        """
        return self._scheduler.report(
            job_id, sheet_num, outcome, self._now(), not_before=not_before, generation=generation
        )

    # --- inside ---------------------------------------------------------------------------------

    async def _take(self, pause: float) -> SheetEntry | None:
        """The next sheet whose instrument the limiter does not refuse."""
        asked: set[tuple[str, str | None]] = set()
        while True:
            now = self._now()
            candidate = self._scheduler.candidate(now)
            if candidate is None:
                return None
            task = self._scheduler.task_of(candidate.job, candidate.num)
            key = (task.instrument, task.model)
            if self._limiter is None or key in asked or now < self._limiter_rests_until:
                break
            asked.add(key)
            # While the limiter thinks, others may take sheets: hence the loop.
            await self._ask_limiter(self._limiter, *key)
        if now < self._pressure_until:
            return None  # another caller was quicker, and pressure allows no second sheet yet
        dispatch = self._scheduler.next(now)
        if dispatch is None:
            return None
        if pause > 0:
            self._pressure_until = now + pause
        return self._entry(dispatch)

    async def _ask_limiter(
        self, limiter: RateLimitChecker, instrument: str, model: str | None
    ) -> None:
        """Park the instrument if it is limited. A limiter that fails rests, and stops nothing."""
        try:
            limited, seconds = await limiter.is_rate_limited(instrument, model=model)
        except _LIMITER_ERRORS as error:
            self._limiter_errors += 1
            self._limiter_error = f"{type(error).__name__}: {error}"
            rest = min(2.0 ** (self._limiter_errors - 1), _LIMITER_REST)
            self._limiter_rests_until = self._now() + rest
            return
        self._limiter_works()
        if limited:
            until = self._now() + _bounded(seconds, _LEAST_LIMIT)
            self._parked.add((instrument, model))
            self._scheduler.park(instrument, until, model=model)

    def _limiter_works(self) -> None:
        self._limiter_errors = 0
        self._limiter_error = ""
        self._limiter_rests_until = 0.0

    def _entry(self, dispatch: Dispatch) -> SheetEntry:
        self._started += 1
        registration = self._jobs[str(dispatch.job)]
        info = registration.infos[dispatch.num]
        return SheetEntry(
            float(self._started), registration.at, info, generation=dispatch.generation
        )

    def _use_limits(self) -> int:
        """Follow a changed configuration; the slots there are."""
        most = self._config.max_concurrent_sheets
        limits = self._scheduler.limits
        if limits.max_concurrent_sheets != most:
            self._scheduler.set_limits(
                Limits(
                    most, limits.max_concurrent_jobs, limits.instruments, limits.default_instrument
                )
            )
        return most

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._clock is None else self._clock()
