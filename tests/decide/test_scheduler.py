"""The pure scheduler: limits per job and instrument, times, parking, reasons, looking ahead."""

from __future__ import annotations

import pytest

from marianne_core.decide.dispatch import Blocked, SheetEnd
from marianne_core.decide.messages import Limits, RunPolicy, SheetTask
from marianne_core.decide.scheduler import Scheduler
from marianne_core.model.waits import Wait, WaitReason

MANY = RunPolicy(max_concurrent=100)


def sheets(n: int, instrument: str = "cli", model: str | None = None) -> list[SheetTask]:
    return [SheetTask(i, (), instrument, model, raw=instrument == "cli") for i in range(1, n + 1)]


def take(scheduler: Scheduler, now: float = 0.0) -> list[tuple[object, int]]:
    taken = []
    while (found := scheduler.next(now)) is not None:
        taken.append((found.job, found.num))
    return taken


def reason(scheduler: Scheduler, num: int, now: float = 0.0, job: object = 1) -> object:
    wait = scheduler.wait_of(job, num, now)
    return wait and (wait.reason, wait.until, wait.blocker)


# --- limits ---------------------------------------------------------------------------------------


def test_a_job_runs_as_many_sheets_as_its_score_allows() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(5), now=0, policy=RunPolicy(max_concurrent=2))
    scheduler.register(2, sheets(5), now=0, policy=RunPolicy(max_concurrent=1))
    assert sorted(take(scheduler)) == [(1, 1), (1, 2), (2, 1)]
    assert reason(scheduler, 3) == (WaitReason.JOB_SLOT, None, "2")
    scheduler.report(1, 2, SheetEnd.DONE, 0)
    assert take(scheduler) == [(1, 3)]


def test_instruments_have_a_default_limit_unless_they_are_raw() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(10, "claude-code"), now=0, policy=MANY)
    scheduler.register(2, sheets(10), now=0, policy=MANY)
    taken = take(scheduler)
    assert [j for j, _ in taken].count(1) == 4
    assert [j for j, _ in taken].count(2) == 10
    assert reason(scheduler, 10) == (WaitReason.INSTRUMENT_SLOT, None, "claude-code (4 of 4)")


def test_a_model_with_an_entry_has_its_own_slots_and_the_others_share() -> None:
    limits = Limits(instruments={("x", None): 2, ("x", "big"): 1, ("free", None): None})
    scheduler = Scheduler(limits)
    for job, model in enumerate((None, "small", "big")):
        scheduler.register(job, sheets(5, "x", model), now=0, policy=MANY)
    scheduler.register("free", sheets(9, "free"), now=0, policy=MANY)
    taken = [job for job, _ in take(scheduler)]
    assert taken.count(0) + taken.count(1) == 2
    assert taken.count(2) == 1
    assert taken.count("free") == 9
    assert reason(scheduler, 5, job=2) == (WaitReason.INSTRUMENT_SLOT, None, "x/big (1 of 1)")


def test_changed_limits_count_what_runs_already() -> None:
    scheduler = Scheduler(Limits(default_instrument=3))
    scheduler.register(1, sheets(9, "x", "big"), now=0, policy=MANY)
    assert len(take(scheduler)) == 3
    scheduler.set_limits(Limits(instruments={("x", "big"): 5}))
    assert len(take(scheduler)) == 2
    scheduler.set_limits(Limits(max_concurrent_sheets=4, instruments={("x", "big"): 9}))
    assert take(scheduler) == []
    assert reason(scheduler, 9) == (WaitReason.SLOT, None, "5 of 4")
    for num in (1, 2):
        scheduler.report(1, num, SheetEnd.DONE, 0)
    assert len(take(scheduler)) == 1


def test_a_job_with_several_instruments_has_one_share() -> None:
    scheduler = Scheduler(Limits(max_concurrent_sheets=1, default_instrument=None))
    mixed = [SheetTask(i, (), f"i{i % 4}") for i in range(1, 101)]
    scheduler.register("mixed", mixed, now=0, policy=MANY)
    scheduler.register("plain", sheets(100), now=0, policy=MANY)
    served = []
    for _ in range(40):
        [(job, num)] = take(scheduler)
        served.append(job)
        scheduler.report(job, num, SheetEnd.DONE, 0)
    assert served.count("mixed") == 20


def test_slots_of_a_busy_instrument_go_to_others() -> None:
    scheduler = Scheduler(Limits(max_concurrent_sheets=6, default_instrument=2))
    scheduler.register(1, sheets(20, "x"), now=0, policy=MANY)
    scheduler.register(2, sheets(20, "y"), now=0, policy=MANY)
    scheduler.register(3, sheets(20, "cli"), now=0, policy=MANY)
    assert sorted(job for job, _ in take(scheduler)) == [1, 1, 2, 2, 3, 3]


# --- times ----------------------------------------------------------------------------------------


def test_stagger_keeps_starts_apart() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(3), now=0, policy=RunPolicy(max_concurrent=3, stagger=2.0))
    assert take(scheduler, 0.0) == [(1, 1)]
    assert reason(scheduler, 2, 0.0) == (WaitReason.STAGGER, 2.0, "")
    assert scheduler.next_wake() == 2.0
    assert take(scheduler, 1.9) == []
    assert take(scheduler, 2.5) == [(1, 2)]
    assert scheduler.next_wake() == 4.5
    assert take(scheduler, 4.5) == [(1, 3)]


@pytest.mark.parametrize(
    ("policy", "moments", "until", "reason"),
    [
        (RunPolicy(pause_between=10.0), {"last_end": 95.0}, 105.0, WaitReason.PACING),
        (RunPolicy(pause_between=10.0), {"last_end": 300.0}, 110.0, WaitReason.PACING),
        (RunPolicy(stagger=4.0), {"last_start": 98.0}, 102.0, WaitReason.STAGGER),
        (RunPolicy(pause_between=10.0), {"last_end": 90.0}, 100.0, None),
        (RunPolicy(pause_between=10.0), {"last_start": 99.0}, 100.0, None),
        (RunPolicy(), {"last_start": 99.0, "last_end": 99.0}, 100.0, None),
    ],
)
def test_pauses_go_on_in_a_job_that_is_taken_over(
    policy: RunPolicy, moments: dict[str, float], until: float, reason: WaitReason | None
) -> None:
    scheduler = Scheduler(Limits())
    scheduler.register(1, sheets(2), now=100.0, policy=policy, **moments)
    wait = scheduler.wait_of(1, 1, 100.0)
    assert (wait.reason if wait else None) is reason
    if reason is not None:
        assert scheduler.next(until - 0.01) is None
        assert scheduler.next_wake() == until
    assert scheduler.next(until) is not None


def test_a_sheet_that_goes_on_needs_no_pause_before_the_next() -> None:
    scheduler = Scheduler(Limits())
    policy = RunPolicy(max_concurrent=2, pause_between=10.0)
    scheduler.register(1, sheets(2), now=100.0, policy=policy, running=[1], last_end=99.0)
    assert scheduler.next(100.0) is not None


def test_pauses_go_on_when_a_job_is_registered_again() -> None:
    scheduler = Scheduler(Limits())
    policy = RunPolicy(pause_between=10.0)
    scheduler.register(1, sheets(2), now=0.0, policy=policy)
    assert scheduler.next(0.0) is not None
    scheduler.report(1, 1, SheetEnd.DONE, 5.0)
    scheduler.register(1, sheets(2), now=6.0, policy=policy)
    assert scheduler.next(14.9) is None
    assert scheduler.next(15.0) is not None


def test_pacing_begins_when_nothing_of_the_job_runs() -> None:
    scheduler = Scheduler()
    policy = RunPolicy(max_concurrent=2, pause_between=10.0)
    scheduler.register(1, sheets(4), now=0, policy=policy)
    assert take(scheduler) == [(1, 1), (1, 2)]
    scheduler.report(1, 1, SheetEnd.DONE, 1.0)
    assert take(scheduler, 1.0) == [(1, 3)]
    scheduler.report(1, 2, SheetEnd.DONE, 2.0)
    assert take(scheduler, 2.0) == [(1, 4)]
    scheduler.register(2, sheets(3), now=2, policy=RunPolicy(pause_between=10.0))
    assert take(scheduler, 2.0) == [(2, 1)]
    scheduler.report(2, 1, SheetEnd.DONE, 3.0)
    assert take(scheduler, 3.0) == []
    assert reason(scheduler, 2, 3.0, job=2) == (WaitReason.PACING, 13.0, "")
    assert scheduler.next_wake() == 13.0
    assert take(scheduler, 13.0) == [(2, 2)]
    scheduler.report(2, 2, SheetEnd.SKIPPED, 13.0)
    assert take(scheduler, 13.0) == [(2, 3)], "a skipped sheet did not run: nothing to pause after"


def test_a_shorter_delay_does_not_cut_a_longer_one() -> None:
    scheduler = Scheduler()
    policy = RunPolicy(max_concurrent=2, stagger=10.0, pause_between=1.0)
    scheduler.register(1, sheets(2), now=0, policy=policy)
    assert take(scheduler) == [(1, 1)]
    scheduler.report(1, 1, SheetEnd.DONE, 2.0)
    assert take(scheduler, 3.0) == []
    assert reason(scheduler, 2, 3.0) == (WaitReason.STAGGER, 10.0, "")
    assert take(scheduler, 10.0) == [(1, 2)]


def test_a_retry_time_is_kept_over_dependencies_that_open_later() -> None:
    scheduler = Scheduler()
    tasks = [SheetTask(1), SheetTask(2, (range(1, 2),))]
    scheduler.register(1, tasks, now=0, policy=MANY, not_before={2: 50.0})
    take(scheduler)
    scheduler.report(1, 1, SheetEnd.DONE, 10.0)
    assert take(scheduler, 10.0) == []
    assert reason(scheduler, 2, 10.0) == (WaitReason.RETRY, 50.0, "a failed attempt")
    assert scheduler.next_wake() == 50.0
    assert take(scheduler, 50.0) == [(1, 2)]


def test_times_of_forgotten_jobs_wake_nobody() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(2), now=0, policy=RunPolicy(stagger=5.0, max_concurrent=2))
    take(scheduler)
    scheduler.report(1, 1, SheetEnd.RETRY, 0.0, not_before=99.0)
    assert scheduler.next_wake() == 5.0
    scheduler.deregister(1)
    assert scheduler.next_wake() is None


# --- parking, pausing, holding --------------------------------------------------------------------


def test_a_parked_instrument_comes_back_at_its_time() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(2, "x"), now=0, policy=MANY)
    scheduler.register(2, sheets(1), now=0, policy=MANY)
    scheduler.park("x", 30.0)
    assert take(scheduler) == [(2, 1)]
    assert reason(scheduler, 1) == (WaitReason.RATE_LIMIT, 30.0, "x")
    assert scheduler.next_wake() == 30.0
    scheduler.park("x", 60.0)
    assert scheduler.next_wake() == 60.0
    assert take(scheduler, 30.0) == []
    assert take(scheduler, 60.0) == [(1, 1), (1, 2)]


def test_one_model_can_be_parked_alone() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(1, "x", "big"), now=0, policy=MANY)
    scheduler.register(2, sheets(1, "x", "small"), now=0, policy=MANY)
    scheduler.park("x", None, model="big", reason=WaitReason.BREAKER)
    assert take(scheduler) == [(2, 1)]
    assert reason(scheduler, 1) == (WaitReason.BREAKER, None, "x/big")
    scheduler.unpark("x")
    assert take(scheduler) == [], "another park than that of the model"
    scheduler.unpark("x", "big")
    assert take(scheduler) == [(1, 1)]


def test_a_park_counts_for_models_that_come_later_and_all_can_be_lifted() -> None:
    scheduler = Scheduler()
    scheduler.park("x", None)
    scheduler.register(1, sheets(1, "x", "new"), now=0)
    assert take(scheduler) == []
    scheduler.unpark()
    assert take(scheduler) == [(1, 1)]


def test_paused_jobs_and_held_schedulers_start_nothing_and_say_why() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(2), now=0, policy=MANY, wait=Wait(WaitReason.PAUSED, None, "Ann"))
    scheduler.register(2, sheets(2), now=0, policy=MANY)
    scheduler.hold(Wait(WaitReason.DRAINING))
    assert take(scheduler) == []
    assert scheduler.peek(5) == []
    assert reason(scheduler, 1) == (WaitReason.PAUSED, None, "Ann")
    assert reason(scheduler, 1, job=2) == (WaitReason.DRAINING, None, "")
    scheduler.hold(None)
    assert take(scheduler) == [(2, 1), (2, 2)]
    scheduler.hold_job(1, None, 0)
    assert take(scheduler) == [(1, 1), (1, 2)]
    scheduler.hold_job("unknown", None, 0)


def test_jobs_that_were_paused_share_equally_and_are_not_repaid() -> None:
    scheduler = Scheduler(Limits(max_concurrent_sheets=1))
    for job in ("a", "b", "c"):
        scheduler.register(job, sheets(100), now=0, policy=MANY)
    scheduler.hold_job("b", Wait(WaitReason.PAUSED), 0)
    scheduler.hold_job("c", Wait(WaitReason.PAUSED), 0)

    def serve(n: int) -> list[object]:
        order = []
        for _ in range(n):
            [(job, num)] = take(scheduler)
            order.append(job)
            scheduler.report(job, num, SheetEnd.DONE, 0)
        return order

    assert serve(30) == ["a"] * 30
    scheduler.hold_job("b", None, 0)
    scheduler.hold_job("c", None, 0)
    order = serve(12)
    assert {job: order.count(job) for job in "abc"} == {"a": 4, "b": 4, "c": 4}


# --- registration ---------------------------------------------------------------------------------


def test_adopted_sheets_take_their_slots_above_the_limits() -> None:
    scheduler = Scheduler(Limits(max_concurrent_sheets=2))
    scheduler.register(1, sheets(4), now=0, policy=MANY, running=(1, 2, 3))
    assert scheduler.active == 3
    assert scheduler.running_of(1) == 3
    assert take(scheduler) == []
    scheduler.report(1, 1, SheetEnd.DONE, 0)
    scheduler.report(1, 2, SheetEnd.DONE, 0)
    assert take(scheduler) == [(1, 4)]


def test_running_sheets_can_be_carried_into_a_new_registration() -> None:
    scheduler = Scheduler()
    tasks = [SheetTask(1), SheetTask(2), SheetTask(3, (range(1, 3),))]
    scheduler.register(1, tasks, now=0, policy=MANY)
    take(scheduler)
    scheduler.report(1, 2, SheetEnd.FAILED, 0)
    assert scheduler.register(1, tasks, now=0, policy=MANY, running=(1,)) == []
    assert take(scheduler) == [(1, 2)]
    assert scheduler.active == 2
    scheduler.report(1, 1, SheetEnd.DONE, 0)
    scheduler.report(1, 2, SheetEnd.DONE, 0)
    assert take(scheduler) == [(1, 3)]


def test_a_running_sheet_whose_dependency_failed_meanwhile_is_blocked_when_it_would_retry() -> None:
    scheduler = Scheduler()
    tasks = [SheetTask(1), SheetTask(2, (range(1, 2),)), SheetTask(3, (range(2, 3),))]
    scheduler.register(1, tasks, now=0, policy=MANY, running=(2,))
    take(scheduler)
    assert scheduler.report(1, 1, SheetEnd.FAILED, 0) == []
    assert scheduler.report(1, 2, SheetEnd.RETRY, 0) == [
        Blocked(range(2, 3), 1),
        Blocked(range(3, 4), 1),
    ]
    assert scheduler.queued == 0


def test_a_running_sheet_that_retries_waits_for_its_reopened_dependency() -> None:
    scheduler = Scheduler()
    tasks = [SheetTask(1), SheetTask(2, (range(1, 2),))]
    scheduler.register(1, tasks, now=0, policy=MANY, running=(2,))
    take(scheduler)
    assert scheduler.report(1, 2, SheetEnd.RETRY, 0, not_before=5) == []
    assert reason(scheduler, 2) == (WaitReason.DEPENDENCY, None, "sheet 1")
    scheduler.report(1, 1, SheetEnd.DONE, 1)
    assert take(scheduler, 1) == []
    assert take(scheduler, 5) == [(1, 2)]


def test_failed_sheets_of_an_earlier_life_block_their_dependents() -> None:
    scheduler = Scheduler()
    tasks = [SheetTask(1), SheetTask(2, (range(1, 2),)), SheetTask(3, (range(2, 3),))]
    failed = [range(1, 2)]
    assert scheduler.register(1, tasks, now=0, failed=failed) == [Blocked(range(2, 4), 1)]
    assert take(scheduler) == []


def test_withdrawn_sheets_never_start() -> None:
    scheduler = Scheduler()
    tasks = [*sheets(3), SheetTask(4, (range(1, 2),))]
    scheduler.register(1, tasks, now=0, policy=RunPolicy(max_concurrent=1))
    assert take(scheduler) == [(1, 1)]
    scheduler.withdraw(1)
    assert scheduler.queued == 0
    assert scheduler.report(1, 1, SheetEnd.DONE, 0) == []
    assert take(scheduler) == []
    assert not scheduler.waits(1, 4)
    assert scheduler.wait_of(1, 2, 0) is None
    assert scheduler.peek(5) == []
    scheduler.withdraw("unknown")


# --- reasons and looking ahead --------------------------------------------------------------------


def test_reasons_end_when_the_sheet_runs_or_is_over() -> None:
    scheduler = Scheduler()
    scheduler.register(1, [SheetTask(1), SheetTask(2, (range(1, 2),))], now=0)
    assert scheduler.wait_of(1, 1, 0) is None
    take(scheduler)
    assert scheduler.wait_of(1, 1, 0) is None
    assert reason(scheduler, 2) == (WaitReason.DEPENDENCY, None, "sheet 1")
    scheduler.report(1, 1, SheetEnd.FAILED, 0)
    assert scheduler.wait_of(1, 2, 0) is None
    assert scheduler.wait_of(1, 77, 0) is None
    assert scheduler.wait_of("unknown", 1, 0) is None


def test_the_earlier_self_of_a_sheet_is_a_reason() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(1), now=0)
    take(scheduler)
    scheduler.register(1, sheets(1), now=0)
    assert reason(scheduler, 1) == (
        WaitReason.DEPENDENCY,
        None,
        "the earlier attempt of sheet 1",
    )


def test_peek_names_what_comes_next_without_taking_it() -> None:
    scheduler = Scheduler(Limits(max_concurrent_sheets=50, default_instrument=None))
    for job, instrument in ((1, "x"), (2, "y"), (3, "x")):
        scheduler.register(job, sheets(20, instrument), now=0, policy=MANY)
    for _ in range(3):
        guess = [(d.job, d.num) for d in scheduler.peek(7)]
        assert guess == [(d.job, d.num) for d in scheduler.peek(7)]
        taken = [scheduler.next(0.0) for _ in range(7)]
        assert guess == [(d.job, d.num) for d in taken if d is not None]
    assert len(scheduler.peek(1000)) == 60 - 21


def test_peek_sees_what_waits_for_a_slot_of_its_job_only() -> None:
    scheduler = Scheduler()
    scheduler.register(1, sheets(5), now=0, policy=RunPolicy(max_concurrent=1))
    scheduler.register(2, sheets(5), now=0, wait=Wait(WaitReason.PAUSED, None, "Ann"))
    assert take(scheduler) == [(1, 1)]
    assert [(d.job, d.num) for d in scheduler.peek(3)] == [(1, 2), (1, 3), (1, 4)]
    candidate = scheduler.candidate(0)
    assert candidate is None


def test_wide_releases_are_spread_over_calls_and_lose_nobody() -> None:
    limits = Limits(max_concurrent_sheets=3)
    scheduler = Scheduler(limits)
    tasks = [SheetTask(1, raw=True)] + [SheetTask(n, (range(1, 2),)) for n in range(2, 5002)]
    scheduler.register(1, tasks, now=0, policy=MANY)
    assert take(scheduler) == [(1, 1)]
    scheduler.report(1, 1, SheetEnd.DONE, 0)
    assert 0 < scheduler.queued < 5000
    seen = set()
    while taken := take(scheduler):
        for _, num in taken:
            seen.add(num)
            scheduler.report(1, num, SheetEnd.DONE, 0)
    assert seen == set(range(2, 5002))
    assert scheduler.queued == 0
