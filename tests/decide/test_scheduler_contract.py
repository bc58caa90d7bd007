"""What the pure scheduler and its public view both promise, in one suite."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import pytest

from marianne_core.decide.blocks import blocks_of
from marianne_core.decide.dispatch import SheetEnd
from marianne_core.decide.global_scheduler import GlobalSheetScheduler, SheetInfo
from marianne_core.decide.messages import Limits, RunPolicy, SheetTask
from marianne_core.decide.scheduler import Scheduler

Deps = dict[int, set[int]]


@dataclass
class Config:
    max_concurrent_sheets: int


class Driver(Protocol):
    """The few verbs that both have."""

    now: float
    config: Config

    async def register(
        self,
        job: str,
        nums: list[int],
        deps: Deps | None = None,
        completed: tuple[int, ...] = (),
        priority: int = 5,
    ) -> None: ...
    async def deregister(self, job: str) -> None: ...
    async def next(self) -> tuple[str, int, int] | None: ...
    async def report(
        self,
        job: str,
        num: int,
        end: SheetEnd,
        not_before: float | None = None,
        generation: int | None = None,
    ) -> list[tuple[int, int]]: ...
    def counts(self) -> tuple[int, int]: ...
    def wake(self) -> float | None: ...


class Pure:
    def __init__(self) -> None:
        self.now = 0.0
        self.config = Config(4)
        self.scheduler = Scheduler(Limits(max_concurrent_sheets=4, default_instrument=None))

    async def register(self, job, nums, deps=None, completed=(), priority=5) -> None:
        tasks = [SheetTask(n, tuple(blocks_of((deps or {}).get(n, ())))) for n in nums]
        policy = RunPolicy(max_concurrent=max(1, len(nums)), priority=10 - priority)
        self.scheduler.register(
            job, tasks, now=self.now, policy=policy, completed=blocks_of(completed)
        )

    async def deregister(self, job) -> None:
        self.scheduler.deregister(job)

    async def next(self):
        self.scheduler.set_limits(
            Limits(max_concurrent_sheets=self.config.max_concurrent_sheets, default_instrument=None)
        )
        found = self.scheduler.next(self.now)
        return None if found is None else (found.job, found.num, found.generation)

    async def report(self, job, num, end, not_before=None, generation=None):
        blocked = self.scheduler.report(
            job, num, end, self.now, not_before=not_before, generation=generation
        )
        return [(num, b.by) for b in blocked for num in b.sheets]

    def counts(self) -> tuple[int, int]:
        return self.scheduler.active, self.scheduler.queued

    def wake(self) -> float | None:
        return self.scheduler.next_wake()


class View:
    def __init__(self) -> None:
        self.now = 0.0
        self.config = Config(4)
        self.scheduler = GlobalSheetScheduler(self.config, clock=lambda: self.now)

    async def register(self, job, nums, deps=None, completed=(), priority=5) -> None:
        infos = [SheetInfo(job, n, job_priority=priority) for n in nums]
        await self.scheduler.register_job(job, infos, deps, completed=completed)

    async def deregister(self, job) -> None:
        await self.scheduler.deregister_job(job)

    async def next(self):
        entry = await self.scheduler.next_sheet()
        return entry and (entry.info.job_id, entry.info.sheet_num, entry.generation)

    async def report(self, job, num, end, not_before=None, generation=None):
        blocked = await self.scheduler.report(
            job, num, end, not_before=not_before, generation=generation
        )
        return [(num, b.by) for b in blocked for num in b.sheets]

    def counts(self) -> tuple[int, int]:
        return self.scheduler.active_count, self.scheduler.queued_count

    def wake(self) -> float | None:
        return self.scheduler.next_wake()


@pytest.fixture(params=[Pure, View], ids=["pure", "view"])
def driver(request: pytest.FixtureRequest) -> Driver:
    made: Driver = request.param()
    return made


async def take_all(driver: Driver) -> list[tuple[str, int]]:
    taken = []
    while (found := await driver.next()) is not None:
        taken.append(found[:2])
    return taken


async def test_nothing_registered_gives_nothing(driver: Driver) -> None:
    assert await driver.next() is None
    assert driver.counts() == (0, 0)
    assert driver.wake() is None


async def test_slots_are_the_limit_and_come_back_with_reports(driver: Driver) -> None:
    await driver.register("a", list(range(1, 11)))
    assert len(await take_all(driver)) == 4
    assert driver.counts() == (4, 6)
    await driver.report("a", 1, SheetEnd.DONE)
    assert driver.counts() == (3, 6)
    assert await take_all(driver) == [("a", 5)]


async def test_limit_is_live(driver: Driver) -> None:
    await driver.register("a", list(range(1, 11)))
    await take_all(driver)
    driver.config.max_concurrent_sheets = 6
    assert len(await take_all(driver)) == 2
    driver.config.max_concurrent_sheets = 2
    await driver.report("a", 1, SheetEnd.DONE)
    assert await take_all(driver) == []
    assert driver.counts() == (5, 4)


async def test_dependents_wait_for_all_they_depend_on(driver: Driver) -> None:
    await driver.register("a", [1, 2, 3], {3: {1, 2}})
    assert await take_all(driver) == [("a", 1), ("a", 2)]
    await driver.report("a", 1, SheetEnd.DONE)
    assert await driver.next() is None
    await driver.report("a", 2, SheetEnd.SKIPPED)
    assert await take_all(driver) == [("a", 3)]


async def test_a_failure_releases_nobody_and_names_the_blocked(driver: Driver) -> None:
    await driver.register("a", [1, 2, 3, 4], {2: {1}, 3: {2}})
    assert await take_all(driver) == [("a", 1), ("a", 4)]
    assert await driver.report("a", 1, SheetEnd.FAILED) == [(2, 1), (3, 1)]
    assert await driver.report("a", 4, SheetEnd.DONE) == []
    assert await driver.next() is None
    assert driver.counts() == (0, 0)


async def test_retry_comes_back_at_its_time(driver: Driver) -> None:
    await driver.register("a", [1])
    await driver.next()
    await driver.report("a", 1, SheetEnd.RETRY, not_before=7.5)
    assert driver.counts() == (0, 1)
    assert await driver.next() is None
    assert driver.wake() == 7.5
    driver.now = 7.5
    assert await take_all(driver) == [("a", 1)]
    assert driver.wake() is None
    await driver.report("a", 1, SheetEnd.RETRY)
    assert await take_all(driver) == [("a", 1)]


async def test_double_and_unknown_reports_are_harmless(driver: Driver) -> None:
    await driver.register("a", [1, 2, 3])
    driver.config.max_concurrent_sheets = 1
    await driver.next()
    for job, num in (("a", 2), ("a", 9), ("z", 1)):
        assert await driver.report(job, num, SheetEnd.DONE) == []
    assert driver.counts() == (1, 2)
    await driver.report("a", 1, SheetEnd.DONE)
    await driver.report("a", 1, SheetEnd.FAILED)
    assert driver.counts() == (0, 2)


async def test_completed_sheets_are_not_run_again(driver: Driver) -> None:
    await driver.register("a", [1, 2, 3], {2: {1}, 3: {2}}, completed=(1,))
    assert driver.counts() == (0, 1)
    assert await take_all(driver) == [("a", 2)]


async def test_deregistered_sheets_keep_their_slots_until_reported(driver: Driver) -> None:
    await driver.register("a", [1, 2, 3, 4])
    await take_all(driver)
    await driver.deregister("a")
    await driver.register("b", [1])
    assert driver.counts() == (4, 1)
    assert await driver.next() is None
    await driver.report("a", 3, SheetEnd.DONE)
    assert await take_all(driver) == [("b", 1)]
    await driver.deregister("nobody")


async def test_a_sheet_waits_for_its_earlier_self(driver: Driver) -> None:
    await driver.register("a", [1, 2], {2: {1}})
    first = await driver.next()
    await driver.register("a", [1, 2], {2: {1}})
    assert await driver.next() is None
    assert driver.counts()[0] == 1
    await driver.report("a", 1, SheetEnd.DONE)  # of the earlier registration
    second = await driver.next()
    assert first is not None
    assert second is not None
    assert second[:2] == ("a", 1)
    assert second[2] > first[2]
    await driver.report("a", 1, SheetEnd.DONE, generation=first[2])
    assert driver.counts()[0] == 1, "a report of an earlier registration"
    await driver.report("a", 1, SheetEnd.DONE, generation=second[2])
    assert await take_all(driver) == [("a", 2)]


@pytest.mark.parametrize(
    ("nums", "deps", "words"),
    [
        ([1, 2, 3], {1: {3}, 2: {1}, 3: {2}}, "1 → 3 → 2 → 1"),
        ([1, 1], None, "sheet 1 is given twice"),
        ([1, 2], {2: {1, 5}}, "sheet 2 depends on sheet 5, which does not exist"),
    ],
)
async def test_impossible_jobs_are_refused_and_change_nothing(
    driver: Driver, nums: list[int], deps: Deps | None, words: str
) -> None:
    await driver.register("a", [1])
    with pytest.raises(ValueError, match=words):
        await driver.register("a", nums, deps)
    assert await take_all(driver) == [("a", 1)]


async def test_shares_are_equal_over_jobs_that_can_run(driver: Driver) -> None:
    await driver.register("blocked", [1, 2], {2: {1}})
    assert await take_all(driver) == [("blocked", 1)]  # runs on; its second sheet cannot
    for job in ("a", "b", "c"):
        await driver.register(job, list(range(1, 31)))
    running = await take_all(driver)
    served = Counter(job for job, _ in running)
    for _ in range(60):
        await driver.report(*running.pop(0), SheetEnd.DONE)
        new = await take_all(driver)
        assert len(new) == 1, "a slot stays empty"
        running += new
        served.update(job for job, _ in new)
        assert max(served.values()) - min(served[job] for job in "abc") <= 1
    assert served.total() == 63


async def test_a_more_urgent_job_gets_the_larger_share(driver: Driver) -> None:
    driver.config.max_concurrent_sheets = 1
    await driver.register("urgent", list(range(1, 101)), priority=3)
    await driver.register("normal", list(range(1, 101)), priority=5)
    served = dict.fromkeys(("urgent", "normal"), 0)
    for _ in range(90):
        found = await driver.next()
        assert found is not None
        served[found[0]] += 1
        await driver.report(found[0], found[1], SheetEnd.DONE)
    assert served == {"urgent": 60, "normal": 30}


async def test_a_late_job_is_served_at_once_and_earns_no_credit(driver: Driver) -> None:
    driver.config.max_concurrent_sheets = 1
    await driver.register("old", list(range(1, 201)))

    async def serve(n: int) -> list[str]:
        order = []
        for _ in range(n):
            found = await driver.next()
            assert found is not None
            order.append(found[0])
            await driver.report(found[0], found[1], SheetEnd.DONE)
        return order

    assert await serve(50) == ["old"] * 50
    await driver.register("new", list(range(1, 201)))
    order = await serve(20)
    assert order.count("new") == 10
    assert "new" in order[:2]


async def test_the_longest_remaining_path_goes_first(driver: Driver) -> None:
    driver.config.max_concurrent_sheets = 1
    await driver.register("a", [1, 2, 3, 4, 5], {4: {3}, 5: {4}})
    order = []
    while (found := await driver.next()) is not None:
        order.append(found[1])
        await driver.report("a", found[1], SheetEnd.DONE)
    assert order == [3, 4, 1, 2, 5]
