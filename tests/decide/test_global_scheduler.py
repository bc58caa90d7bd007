"""What only the public view has: limiter, pressure, many callers, statistics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from marianne_core.decide.global_scheduler import (
    GlobalSheetScheduler,
    SchedulerStats,
    SheetEntry,
    SheetInfo,
)
from marianne_core.decide.messages import RunPolicy
from marianne_core.model.waits import WaitReason


@dataclass
class Config:
    max_concurrent_sheets: int = 10


@dataclass
class Limiter:
    """Answers from a table; remembers whom it was asked about."""

    limited: dict[str, float] = field(default_factory=dict)
    error: Exception | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    async def is_rate_limited(
        self, backend_type: str, *, model: str | None = None
    ) -> tuple[bool, float]:
        self.asked.append((backend_type, model))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return backend_type in self.limited, self.limited.get(backend_type, 0.0)


@dataclass
class Pressure:
    answer: tuple[bool, float] = (True, 0.0)

    async def can_start_sheet(self) -> tuple[bool, float]:
        await asyncio.sleep(0)
        return self.answer


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> GlobalSheetScheduler:
    return GlobalSheetScheduler(Config(), clock=clock)


def infos(job: str, n: int, backend: str = "claude_cli") -> list[SheetInfo]:
    return [SheetInfo(job, i, backend) for i in range(1, n + 1)]


async def names(scheduler: GlobalSheetScheduler) -> list[tuple[str, int]]:
    found = []
    while (entry := await scheduler.next_sheet()) is not None:
        found.append((entry.info.job_id, entry.info.sheet_num))
    return found


async def test_entries_carry_the_callers_info_and_sort_by_order(
    scheduler: GlobalSheetScheduler,
) -> None:
    sheets = infos("a", 2)
    await scheduler.register_job("a", sheets)
    first, second = await scheduler.next_sheet(), await scheduler.next_sheet()
    assert first is not None
    assert second is not None
    assert first.info is sheets[0]
    assert first.submitted_at == 100.0
    assert sorted([second, first]) == [first, second]
    assert SheetEntry(1.0, 2.0, sheets[0]) == SheetEntry(1.0, 2.0, sheets[1])


async def test_success_and_failure_as_the_known_api_reports_them(
    scheduler: GlobalSheetScheduler,
) -> None:
    await scheduler.register_job("a", infos("a", 4), {2: {1}, 4: {3}})
    assert await names(scheduler) == [("a", 1), ("a", 3)]
    await scheduler.mark_complete("a", 1, True)
    await scheduler.mark_complete("a", 3, False)
    await scheduler.mark_complete("nobody", 3, False)
    assert await names(scheduler) == [("a", 2)]


async def test_statistics_count_sheets(scheduler: GlobalSheetScheduler) -> None:
    await scheduler.register_job("a", infos("a", 4), {4: {1}})
    await scheduler.register_job("b", infos("b", 2))
    await scheduler.next_sheet()
    assert await scheduler.get_stats() == SchedulerStats(
        queued=4,
        active=1,
        max_concurrent=10,
        per_job_running={"a": 1, "b": 0},
        per_job_queued={"a": 2, "b": 2},
    )


async def test_completed_and_unknown_numbers(scheduler: GlobalSheetScheduler) -> None:
    with pytest.raises(ValueError, match="sheet 9 does not exist"):
        await scheduler.register_job("a", infos("a", 2), {9: {1}})
    with pytest.raises(ValueError, match="sheet 7 does not exist"):
        await scheduler.register_job("a", infos("a", 2), completed=[7])
    await scheduler.register_job("empty", [])
    assert await names(scheduler) == []


async def test_a_policy_bounds_the_job(scheduler: GlobalSheetScheduler) -> None:
    await scheduler.register_job("a", infos("a", 5), policy=RunPolicy(max_concurrent=2))
    assert len(await names(scheduler)) == 2


# --- the rate limiter -----------------------------------------------------------------------------


async def test_a_limited_instrument_waits_and_others_do_not(
    scheduler: GlobalSheetScheduler, clock: Clock
) -> None:
    limiter = Limiter({"claude_cli": 60.0})
    scheduler.set_rate_limiter(limiter)
    await scheduler.register_job("a", infos("a", 2))
    await scheduler.register_job("b", infos("b", 2, "gemini-cli"))
    assert await names(scheduler) == [("b", 1), ("b", 2)]
    wait = scheduler.wait_of("a", 1)
    assert wait is not None
    assert (wait.reason, wait.until) == (WaitReason.RATE_LIMIT, 160.0)
    assert scheduler.next_wake() == 160.0
    limiter.limited.clear()
    assert limiter.asked.count(("claude_cli", None)) == 1, "it is not asked while it is parked"
    clock.now = 160.0
    assert await names(scheduler) == [("a", 1), ("a", 2)]


async def test_a_broken_limiter_stops_nothing_rests_and_is_seen(
    scheduler: GlobalSheetScheduler, clock: Clock
) -> None:
    limiter = Limiter(error=OSError("no route"))
    scheduler.set_rate_limiter(limiter)
    await scheduler.register_job("a", infos("a", 20))
    assert len(await names(scheduler)) == 10
    assert len(limiter.asked) == 1, "it rests"
    stats = await scheduler.get_stats()
    assert (stats.limiter_errors, stats.limiter_error) == (1, "OSError: no route")
    clock.now += 1.0
    await scheduler.mark_complete("a", 1, True)
    await names(scheduler)
    assert len(limiter.asked) == 2
    clock.now += 1.9
    await scheduler.mark_complete("a", 2, True)
    await names(scheduler)
    assert len(limiter.asked) == 2, "twice as long after the second error"
    limiter.error = None
    clock.now += 0.1
    await scheduler.mark_complete("a", 3, True)
    await names(scheduler)
    stats = await scheduler.get_stats()
    assert (stats.limiter_errors, stats.limiter_error) == (0, "")
    assert stats.active == 10


async def test_a_mistake_in_a_limiter_is_not_hidden(scheduler: GlobalSheetScheduler) -> None:
    scheduler.set_rate_limiter(Limiter(error=TypeError("a programming mistake")))
    await scheduler.register_job("a", infos("a", 1))
    with pytest.raises(TypeError, match="a programming mistake"):
        await scheduler.next_sheet()
    scheduler.set_rate_limiter(None)
    assert await names(scheduler) == [("a", 1)]


# --- pressure -------------------------------------------------------------------------------------


async def test_refused_by_pressure_until_a_time(
    scheduler: GlobalSheetScheduler, clock: Clock
) -> None:
    pressure = Pressure((False, 60.0))
    scheduler.set_backpressure(pressure)
    assert await scheduler.next_sheet() is None
    assert scheduler.next_wake() is None, "nothing is queued, so nobody was asked"
    await scheduler.register_job("a", infos("a", 2))
    assert await scheduler.next_sheet() is None
    assert scheduler.next_wake() == 160.0
    wait = scheduler.wait_of("a", 1)
    assert wait is not None
    assert (wait.reason, wait.until) == (WaitReason.PRESSURE, 160.0)
    pressure.answer = (True, 0.0)
    assert await scheduler.next_sheet() is None
    clock.now = 160.0
    assert len(await names(scheduler)) == 2


async def test_pressure_spaces_starts_out_without_sleeping(
    scheduler: GlobalSheetScheduler, clock: Clock
) -> None:
    scheduler.set_backpressure(Pressure((True, 10.0)))
    await scheduler.register_job("a", infos("a", 3))
    assert await names(scheduler) == [("a", 1)]
    assert scheduler.next_wake() == 110.0
    clock.now = 110.0
    assert await names(scheduler) == [("a", 2)]


async def test_many_callers_never_exceed_limit_or_pressure(
    scheduler: GlobalSheetScheduler,
) -> None:
    scheduler.set_rate_limiter(Limiter())
    await scheduler.register_job("a", infos("a", 40))
    entries = await asyncio.gather(*(scheduler.next_sheet() for _ in range(40)))
    taken = [e.info.sheet_num for e in entries if e is not None]
    assert len(taken) == len(set(taken)) == 10
    for num in taken:
        await scheduler.mark_complete("a", num, True)
    scheduler.set_backpressure(Pressure((True, 10.0)))
    entries = await asyncio.gather(*(scheduler.next_sheet() for _ in range(5)))
    assert sum(e is not None for e in entries) == 1


async def test_a_job_may_vanish_while_the_limiter_thinks(scheduler: GlobalSheetScheduler) -> None:
    scheduler.set_rate_limiter(Limiter())
    await scheduler.register_job("a", infos("a", 1))
    taking = asyncio.create_task(scheduler.next_sheet())
    await asyncio.sleep(0)
    await scheduler.deregister_job("a")
    assert await taking is None


async def test_the_loops_clock_is_used_when_none_is_given() -> None:
    scheduler = GlobalSheetScheduler(Config())
    await scheduler.register_job("a", infos("a", 1))
    entry = await scheduler.next_sheet()
    assert entry is not None
    assert entry.submitted_at <= asyncio.get_running_loop().time()


# --- what callers may give, and take back ---------------------------------------------------------


async def test_a_limit_that_was_lifted_holds_nothing(
    scheduler: GlobalSheetScheduler, clock: Clock
) -> None:
    limiter = Limiter({"slow": 3600.0, "slower": 3600.0})
    scheduler.set_rate_limiter(limiter)
    await scheduler.register_job("a", infos("a", 1, "slow"))
    await scheduler.register_job("b", infos("b", 1, "slower"))
    assert await names(scheduler) == []
    limiter.limited.clear()
    clock.now += 5
    assert await names(scheduler) == [], "nobody told it"
    scheduler.limits_changed("slow")
    assert await names(scheduler) == [("a", 1)]
    scheduler.limits_changed()
    assert await names(scheduler) == [("b", 1)]


async def test_without_a_limiter_nothing_is_limited(scheduler: GlobalSheetScheduler) -> None:
    scheduler.set_rate_limiter(Limiter({"slow": 3600.0}))
    await scheduler.register_job("a", infos("a", 1, "slow"))
    assert await names(scheduler) == []
    scheduler.set_rate_limiter(None)
    assert await names(scheduler) == [("a", 1)]


@pytest.mark.parametrize(
    ("said", "wait"), [(float("nan"), 0.001), (-5.0, 0.001), (float("inf"), 3600.0), (7.0, 7.0)]
)
async def test_a_limit_ends_at_a_time_whatever_the_limiter_says(
    scheduler: GlobalSheetScheduler, clock: Clock, said: float, wait: float
) -> None:
    scheduler.set_rate_limiter(Limiter({"slow": said}))
    await scheduler.register_job("a", infos("a", 1, "slow"))
    assert await names(scheduler) == []
    assert scheduler.next_wake() == clock.now + wait
    scheduler.set_rate_limiter(Limiter())


@pytest.mark.parametrize(
    ("said", "wait"), [(0.0, 1.0), (float("nan"), 1.0), (float("inf"), 3600.0), (2.5, 2.5)]
)
async def test_pressure_always_names_a_time(
    scheduler: GlobalSheetScheduler, clock: Clock, said: float, wait: float
) -> None:
    scheduler.set_backpressure(Pressure((False, said)))
    await scheduler.register_job("a", infos("a", 1))
    assert await scheduler.next_sheet() is None
    assert scheduler.next_wake() == clock.now + wait
    told = scheduler.wait_of("a", 1)
    assert told is not None
    assert told.reason is WaitReason.PRESSURE


async def test_completed_numbers_may_come_from_an_iterator(scheduler: GlobalSheetScheduler) -> None:
    await scheduler.register_job("a", infos("a", 3), {2: {1}, 3: {2}}, completed=iter([1]))
    assert await names(scheduler) == [("a", 2)]


async def test_a_jobs_own_limit_holds_over_its_registrations(
    scheduler: GlobalSheetScheduler,
) -> None:
    policy = RunPolicy(max_concurrent=2)
    await scheduler.register_job("a", infos("a", 5), policy=policy)
    assert await names(scheduler) == [("a", 1), ("a", 2)]
    await scheduler.register_job("a", infos("a", 5), policy=policy)
    assert await names(scheduler) == []
    assert (await scheduler.get_stats()).per_job_running == {"a": 2}
    assert scheduler.active_count == 2
    await scheduler.mark_complete("a", 1, True)
    assert len(await names(scheduler)) == 1
    assert scheduler.active_count == 2
    await scheduler.register_job("a", infos("a", 5), policy=policy)
    assert await names(scheduler) == []
    await scheduler.deregister_job("a")
    await scheduler.register_job("a", infos("a", 5), policy=policy)
    assert await names(scheduler) == []
    await scheduler.mark_complete("a", 2, True)
    assert len(await names(scheduler)) == 1
