"""Many sheets at once: the same pictures as one by one, in few effects."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marianne_core.decide import graph, life
from marianne_core.decide.baton import Baton
from marianne_core.decide.graph import SheetGraph
from marianne_core.decide.messages import (
    AttemptEnded,
    AttemptStarted,
    CancelRun,
    Effect,
    Kill,
    Launch,
    Limits,
    Message,
    PauseRun,
    ResumeRun,
    RetryRun,
    RunAdded,
    RunPolicy,
    SheetChanged,
    SheetRecord,
    SheetsChanged,
    SheetTask,
    Tick,
)
from marianne_core.decide.records import Records
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import JobStatus, SheetStatus
from tests.simulation.scores import random_outcome, random_policy, random_tasks
from tests.simulation.test_baton_simulation import simulate

NEVER = 10**9


def limit(sheets: int) -> None:
    """From so many sheets on they are changed, and blocked, at once."""
    life.MANY = graph.MANY = sheets


@pytest.fixture(autouse=True)
def _limit_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "MANY", life.MANY)
    monkeypatch.setattr(graph, "MANY", graph.MANY)


@pytest.mark.parametrize("sheets", [1, 2])
@pytest.mark.parametrize("block", range(3))
def test_every_promise_holds_at_once_too(sheets: int, block: int) -> None:
    limit(sheets)
    simulate(range(block * 60, block * 60 + 60), trouble=0.35, commands=0.15)


def told(effects: list[Effect]) -> tuple[dict[tuple[int, int], SheetRecord], list[Effect]]:
    """What effects say of each sheet, and the other ones in their order."""
    sheets: dict[tuple[int, int], SheetRecord] = {}
    rest: list[Effect] = []
    for effect in effects:
        if isinstance(effect, SheetChanged):
            sheets[effect.run_id, effect.num] = effect.record
        elif isinstance(effect, SheetsChanged):
            sheets |= {(effect.run_id, n): effect.record for b in effect.blocks for n in b}
        else:
            rest.append(effect)
    return sheets, rest


class Both:
    """Two batons that hear the same: one changes sheets at once, one each by itself."""

    def __init__(self, seed: int, tasks: list[SheetTask]) -> None:
        self.rng = Random(seed)
        self.tasks = tasks
        self.added = RunAdded(1, "job", random_policy(self.rng), tasks)
        self.at_once, self.plain = Baton(Limits(), seed), Baton(Limits(), seed)
        self.now = 0.0
        self.alive: dict[int, int] = {}

    def send(self, message: Message, plain: Message | None = None) -> None:
        limit(1)
        sheets, rest = told(self.at_once.handle(message, self.now))
        limit(NEVER)
        effects = self.plain.handle(plain or message, self.now)
        assert not any(isinstance(effect, SheetsChanged) for effect in effects)
        assert (sheets, rest) == told(effects)
        for effect in rest:
            if isinstance(effect, Launch):
                self.alive[effect.num] = effect.attempt
        self.compare()

    def compare(self) -> None:
        assert self.at_once.run(1) == self.plain.run(1)
        assert self.at_once.next_wake() == self.plain.next_wake()
        for task in self.tasks:
            num = task.num
            assert self.at_once.record(1, num) == self.plain.record(1, num)
            wait = self.at_once.wait_of(1, num, self.now)
            assert wait == self.plain.wait_of(1, num, self.now)

    def restart(self) -> None:
        view = self.plain.run(1)
        assert view is not None
        records = {task.num: self.plain.record(1, task.num) for task in self.tasks}
        self.at_once, self.plain = Baton(Limits(), 1), Baton(Limits(), 1)
        added = replace(
            self.added,
            restored=records,
            elapsed=view.elapsed,
            paused_by=view.paused_by,
            closing=view.final,
            reason=view.reason,
            ended=view.status if view.status.terminal else None,
        )
        fresh = SheetGraph(self.tasks)
        made = replace(added, restored=Records(fresh.sheets, records), graph=fresh)
        self.send(made, added)
        for num, attempt in self.alive.items():
            self.send(AttemptStarted(1, num, attempt, self.now + 60.0))

    def step(self) -> None:
        choice = self.rng.random()
        num = self.rng.choice(self.tasks).num
        if choice < 0.6 and self.alive:
            ended = self.rng.choice(sorted(self.alive))
            outcome = random_outcome(self.rng, 0.5)
            self.send(AttemptEnded(1, ended, self.alive.pop(ended), outcome))
        elif choice < 0.7:
            self.now += self.rng.uniform(0.0, 60.0)
            self.send(Tick())
        elif choice < 0.8:
            self.restart()
        else:
            self.send(
                self.rng.choice(
                    (
                        PauseRun(1, "a person"),
                        ResumeRun(1),
                        CancelRun(1, "no longer wanted"),
                        RetryRun(1),
                        RetryRun(1, num),
                    )
                )
            )


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 10**6), start=st.integers(0, 12), steps=st.integers(1, 40))
@example(seed=11428, start=8, steps=2)  # a block of dependencies that is given twice
@example(seed=282864, start=5, steps=38)
def test_at_once_and_one_by_one_give_the_same_pictures(seed, start, steps) -> None:
    both = Both(seed, random_tasks(Random(seed)))
    first = replace(both.added, start_sheet=start or None)
    both.send(replace(first, graph=SheetGraph(both.tasks)), first)
    for _ in range(steps):
        both.step()


# --- how many effects -----------------------------------------------------------------------------

MANY_SHEETS = 100_000
POLICY = RunPolicy(jitter=False, max_concurrent=4, max_retries=0)
BAD = Outcome(Ended.FAILED, retriable=False, reason="broken")


def wide() -> list[SheetTask]:
    return [SheetTask(num, raw=True) for num in range(1, MANY_SHEETS + 1)]


def after_the_first() -> list[SheetTask]:
    first = (range(1, 2),)
    return [SheetTask(n, first if n > 1 else (), raw=True) for n in range(1, MANY_SHEETS + 1)]


def many(effects: list[Effect]) -> SheetsChanged:
    """The only one of its kind among a few."""
    assert len(effects) < 20
    (found,) = [effect for effect in effects if isinstance(effect, SheetsChanged)]
    return found


def added(tasks: list[SheetTask], **more: object) -> RunAdded:
    return RunAdded(1, "job", POLICY, tasks, graph=SheetGraph(tasks), **more)  # type: ignore[arg-type]


def test_cancel_and_retry_of_100000_sheets_are_few_effects() -> None:
    baton = Baton()
    launches = [e for e in baton.handle(added(wide()), 1.0) if isinstance(e, Launch)]
    assert [launch.num for launch in launches] == [1, 2, 3, 4]
    effects = baton.handle(CancelRun(1, "no longer wanted"), 2.0)
    assert sum(isinstance(effect, Kill) for effect in effects) == 4
    cancelled = many(effects)
    assert cancelled.blocks == (range(5, MANY_SHEETS + 1),)
    assert cancelled.record == SheetRecord(SheetStatus.CANCELLED, reason="no longer wanted")
    for launch in launches:
        baton.handle(AttemptEnded(1, launch.num, 1, Outcome(Ended.CANCELLED)), 3.0)
    view = baton.run(1)
    assert view is not None
    assert (view.status, view.cancelled) == (JobStatus.CANCELLED, MANY_SHEETS)
    again = many(baton.handle(RetryRun(1, graph=SheetGraph(wide())), 4.0))
    assert again.blocks == cancelled.blocks
    assert again.record.status is SheetStatus.PENDING
    assert baton.record(1, 1).attempt == 2
    assert baton.record(1, MANY_SHEETS) == again.record


def test_a_failure_before_99999_sheets_is_few_effects() -> None:
    for fail_fast in (False, True):
        baton = Baton()
        policy = replace(POLICY, fail_fast=fail_fast)
        baton.handle(replace(added(after_the_first()), policy=policy), 1.0)
        effects = baton.handle(AttemptEnded(1, 1, 1, BAD), 2.0)
        blocked = many(effects)
        assert blocked.blocks == (range(2, MANY_SHEETS + 1),)
        assert blocked.record.blocked
        assert blocked.record.reason == "blocked by sheet 1"
        view = baton.run(1)
        assert view is not None
        assert (view.status, view.blocked) == (JobStatus.FAILED, MANY_SHEETS - 1)


def test_fail_fast_of_sheets_that_wait_for_nothing_is_few_effects() -> None:
    baton = Baton()
    baton.handle(replace(added(wide()), policy=replace(POLICY, fail_fast=True)), 1.0)
    skipped = many(baton.handle(AttemptEnded(1, 2, 1, BAD), 2.0))
    assert skipped.blocks == (range(5, MANY_SHEETS + 1),)
    assert skipped.record.reason == "fail_fast: sheet 2 failed"


def test_a_late_start_is_few_effects() -> None:
    effects = Baton().handle(added(wide(), start_sheet=90_001), 1.0)
    assert many(effects).blocks == (range(1, 90_001),)
    assert [e.num for e in effects if isinstance(e, Launch)] == [90_001, 90_002, 90_003, 90_004]


def test_a_cancelled_run_is_loaded_and_opened_again_in_few_effects() -> None:
    tasks = wide()
    record = SheetRecord(SheetStatus.CANCELLED, reason="no longer wanted")
    stored = {num: replace(record) for num in range(1, MANY_SHEETS + 1)}
    stored[3] = SheetRecord(SheetStatus.COMPLETED, attempt=1)
    message = added(tasks, ended=JobStatus.CANCELLED)
    records = Records([range(1, MANY_SHEETS + 1)], stored)
    baton = Baton()
    assert baton.handle(replace(message, restored=records), 1.0) == []
    again = many(baton.handle(RetryRun(1), 2.0))
    assert again.blocks == (range(1, 3), range(4, MANY_SHEETS + 1))


def test_few_sheets_are_told_one_by_one() -> None:
    tasks = [SheetTask(num, raw=True) for num in range(1, life.MANY + 4)]
    baton = Baton()
    baton.handle(RunAdded(1, "job", POLICY, tasks), 1.0)
    effects = baton.handle(CancelRun(1), 2.0)
    changed = [effect.num for effect in effects if isinstance(effect, SheetChanged)]
    assert changed == list(range(5, life.MANY + 4))
