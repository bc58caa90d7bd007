"""The baton, one rule at a time: commands of people, limits over all runs, taking over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marianne_core.decide.baton import Baton
from marianne_core.decide.messages import (
    AttemptEnded,
    CancelRun,
    HoldDispatch,
    Launch,
    Limits,
    LimitsChanged,
    ParkInstrument,
    PauseRun,
    ResumeRun,
    RetryRun,
    RunAdded,
    RunForgotten,
    RunPolicy,
    SheetChanged,
    SheetRecord,
    SheetTask,
    UnparkInstrument,
)
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.model.waits import Wait, WaitReason
from tests.decide.hall import ALIVE, BAD, DONE, POLICY, Hall, chain, wide


@pytest.fixture
def hall() -> Hall:
    return Hall()


# --- commands -------------------------------------------------------------------------------------


def test_pause_waits_for_running_sheets_and_resume_keeps_them(hall: Hall) -> None:
    hall.add(wide(3), policy=replace(POLICY, max_concurrent=2))
    assert hall.send(PauseRun(1, "Ann")) == ["run pausing"]
    assert hall.send(PauseRun(1, "Ann")) == []
    assert hall.end(1) == ["1 completed"]
    assert hall.why(3) == (WaitReason.PAUSED, None, "Ann")
    assert hall.send(ResumeRun(1)) == ["run running", "launch 3.1 normal"]
    hall.send(PauseRun(1, "Ann"))
    hall.end(2)
    assert hall.end(3) == ["3 completed", "run completed"], "nothing is left to resume"


def test_pause_between_retries(hall: Hall) -> None:
    hall.add(wide(1))
    hall.send(PauseRun(1, "Ann"))
    assert hall.end(1, Outcome(Ended.FAILED)) == ["1 retry_scheduled", "run paused"]
    assert hall.tick(2000.0) == []
    assert hall.send(ResumeRun(1)) == ["run running", "launch 1.2 normal"]


def test_cancel_ends_trees_first(hall: Hall) -> None:
    hall.add(chain(3))
    assert hall.send(CancelRun(1, "no longer wanted")) == [
        "2 cancelled",
        "3 cancelled",
        "kill 1.1 cancelled",
        "run cancelling",
    ]
    for message in (CancelRun(1), PauseRun(1, "x"), ResumeRun(1), RetryRun(1)):
        assert hall.send(message) == []
    ended = hall.end(1, Outcome(Ended.CANCELLED))
    assert ended == ["1 cancelled", "run cancelled"]
    assert hall.send(CancelRun(1)) == []


def test_cancel_of_what_does_not_run_is_immediate() -> None:
    hall = Hall(Limits(max_concurrent_jobs=1))
    hall.add(wide(1))
    assert hall.add(wide(1), run=2) == ["run queued"]
    assert hall.send(CancelRun(2)) == ["1 cancelled", "run cancelled"]
    hall.send(PauseRun(1, "Ann"))
    hall.end(1, Outcome(Ended.FAILED))
    assert hall.send(CancelRun(1)) == ["1 cancelled", "run cancelled"]


def test_a_sheet_that_completes_while_it_is_cancelled_is_completed(hall: Hall) -> None:
    hall.add(wide(1))
    hall.send(CancelRun(1))
    assert hall.end(1) == ["1 completed", "run cancelled"]


def test_a_sheet_that_fails_while_it_is_cancelled_is_cancelled_not_failed(hall: Hall) -> None:
    hall.add(wide(1))
    hall.send(CancelRun(1, "no longer wanted"))
    assert hall.end(1, Outcome(Ended.FAILED)) == ["1 cancelled", "run cancelled"]
    assert hall.record(1).reason == "no longer wanted"


def test_retry_opens_what_went_wrong_and_nothing_else(hall: Hall) -> None:
    hall.add([*chain(2), SheetTask(3, raw=True)])
    hall.end(1, BAD)
    assert hall.end(3) == ["3 completed", "run failed"]
    assert hall.send(RetryRun(1)) == [
        "1 pending",
        "2 pending",
        "run running",
        "launch 1.2 normal",
    ]
    hall.end(1)
    assert hall.end(2) == ["2 completed", "run completed"]
    assert hall.send(RetryRun(1)) == []
    assert hall.send(ResumeRun(1)) == []


def test_retry_of_one_sheet_takes_its_downstream_along(hall: Hall) -> None:
    hall.add([*chain(3), SheetTask(4, raw=True)])
    for num in (1, 4, 2, 3):
        hall.end(num)
    assert hall.status() is JobStatus.COMPLETED
    assert hall.send(RetryRun(1, 2)) == [
        "2 pending",
        "3 pending",
        "run running",
        "launch 2.2 normal",
    ]
    hall.end(2)
    assert hall.end(3) == ["3 completed", "run completed"]


def test_retry_while_others_run(hall: Hall) -> None:
    hall.add(
        [SheetTask(1), SheetTask(2), SheetTask(3, (range(1, 2),)), SheetTask(4, (range(1, 3),))]
    )
    assert hall.end(1, BAD) == ["1 failed", "3 skipped", "4 skipped"]
    assert hall.send(RetryRun(1, 1)) == [
        "1 pending",
        "3 pending",
        "4 pending",
        "launch 1.2 normal",
    ]
    assert hall.baton.scheduler.active == 2
    assert hall.end(2) == ["2 completed"]
    assert hall.end(1) == ["1 completed", "launch 3.1 normal", "launch 4.1 normal"]


def test_retry_of_a_sheet_behind_a_failure_stays_blocked(hall: Hall) -> None:
    hall.add(chain(2))
    hall.end(1, BAD)
    assert hall.send(RetryRun(1, 2)) == ["2 pending", "run running", "2 skipped", "run failed"]
    assert hall.record(2).reason == "blocked by sheet 1"


def test_resume_opens_a_cancelled_run(hall: Hall) -> None:
    hall.add(chain(2))
    hall.send(CancelRun(1))
    hall.end(1, Outcome(Ended.CANCELLED))
    assert hall.send(ResumeRun(1))[-2:] == ["run running", "launch 1.2 normal"]


def test_forgotten_runs_are_gone(hall: Hall) -> None:
    hall.add(wide(1))
    hall.end(1)
    hall.send(RunForgotten(1))
    assert hall.baton.run(1) is None
    assert hall.baton.runs() == []
    assert hall.baton.wait_of(1, 1, hall.now) is None
    with pytest.raises(KeyError):
        hall.baton.record(1, 1)


# --- over all runs --------------------------------------------------------------------------------


def test_job_slots_are_given_in_order_and_paused_runs_hold_none() -> None:
    hall = Hall(Limits(max_concurrent_jobs=1))
    hall.add(wide(2), policy=replace(POLICY, max_concurrent=1))
    assert hall.add(wide(1), run=2) == ["run queued"]
    assert hall.add(wide(1), run=3) == ["run queued"]
    assert hall.why(1, run=2) == (WaitReason.QUEUED, None, "1 of 1")
    assert hall.baton.wait_of_run(2) == Wait(WaitReason.QUEUED, None, "1 of 1")
    assert hall.send(PauseRun(1, "Ann")) == ["run pausing"]
    assert hall.end(1) == ["1 completed", "run paused", "run running", "launch 1.1 normal"]
    assert hall.status(2) is JobStatus.RUNNING
    assert hall.send(ResumeRun(1)) == ["run queued"]
    assert hall.end(1, run=2) == [
        "1 completed",
        "run completed",
        "run running",
        "launch 1.1 normal",
    ]
    assert hall.status(3) is JobStatus.RUNNING
    assert hall.send(LimitsChanged(Limits(max_concurrent_jobs=2))) == [
        "run running",
        "launch 2.1 normal",
    ]


def test_hold_starts_nothing_and_says_why(hall: Hall) -> None:
    hall.send(HoldDispatch(Wait(WaitReason.DISK, None, "disk full")))
    assert hall.add(wide(1)) == ["run running"]
    assert hall.why(1) == (WaitReason.DISK, None, "disk full")
    assert hall.send(HoldDispatch(None)) == ["launch 1.1 normal"]


def test_parked_instruments(hall: Hall) -> None:
    hall.send(ParkInstrument("cli", until=1060.0))
    assert hall.add(wide(1)) == ["run running"]
    assert hall.why(1) == (WaitReason.RATE_LIMIT, 1060.0, "cli")
    assert hall.baton.next_wake() == 1060.0
    assert hall.tick(1060.0) == ["launch 1.1 normal"]
    hall.send(ParkInstrument("cli"))
    assert hall.add(wide(1), run=2) == ["run running"]
    assert hall.send(UnparkInstrument("cli")) == ["launch 1.1 normal"]


def test_likely_launches_carry_their_attempts(hall: Hall) -> None:
    hall.add(wide(3), policy=replace(POLICY, max_concurrent=1))
    hall.end(1, Outcome(Ended.NEVER_RAN))
    assert hall.baton.likely(9) == [
        Launch(1, 2, 1, AttemptMode.NORMAL),
        Launch(1, 3, 1, AttemptMode.NORMAL),
    ]


# --- taking over ----------------------------------------------------------------------------------


def test_start_sheet_skips_cleanly_and_can_complete(hall: Hall) -> None:
    assert hall.add(chain(3), start_sheet=3) == [
        "1 skipped",
        "2 skipped",
        "run running",
        "launch 3.1 normal",
    ]
    assert hall.record(1).reason == "before --start-sheet 3"
    assert hall.end(3) == ["3 completed", "run completed"]


def test_a_sheet_wanted_after_start_sheet_is_not_skipped_at_a_restart(hall: Hall) -> None:
    hall.add(chain(2), start_sheet=2)
    hall.end(2)
    hall.send(RetryRun(1, 1))
    restored = {n: hall.record(n) for n in (1, 2)}
    successor = Hall()
    effects = successor.add(chain(2), start_sheet=2, restored=restored)
    assert effects == ["run running"]
    assert successor.end(1) == ["1 completed", "launch 2.2 normal"]


def test_a_restart_goes_on_where_things_stand(hall: Hall) -> None:
    restored = {
        1: DONE,
        2: SheetRecord(SheetStatus.IN_PROGRESS, attempt=4, alive=True, retries_used=2),
        3: SheetRecord(SheetStatus.RETRY_SCHEDULED, attempt=1, retries_used=1, not_before=1200.0),
        4: SheetRecord(SheetStatus.IN_PROGRESS, attempt=1),
    }
    tasks = [*wide(4), SheetTask(5, (range(1, 5),), raw=True)]
    effects = hall.add(tasks, restored=restored)
    assert effects == ["4 pending", "run running", "launch 4.2 normal"]
    assert hall.baton.scheduler.active == 2
    assert hall.why(3) is not None
    assert hall.end(2, Outcome(Ended.FAILED)) == ["2 retry_scheduled"]
    assert hall.record(2).not_before == 1040.0
    assert hall.tick(1200.0) == ["launch 2.5 normal", "launch 3.2 normal"]


def test_an_adopted_run_takes_its_job_slot_whatever_the_limit() -> None:
    hall = Hall(Limits(max_concurrent_jobs=1, max_concurrent_sheets=1))
    hall.add(wide(1), restored={1: ALIVE})
    assert hall.add(wide(1), run=2, restored={1: ALIVE}) == ["run running"]
    assert hall.add(wide(1), run=3) == ["run queued"]
    assert hall.baton.scheduler.active == 2
    assert hall.end(1) == ["1 completed", "run completed"]


def test_a_pause_survives_a_restart(hall: Hall) -> None:
    assert hall.add(wide(2), paused_by="Ann", restored={1: ALIVE}) == ["run pausing"]
    assert hall.end(1) == ["1 completed", "run paused"]
    assert hall.send(ResumeRun(1)) == ["run running", "launch 2.1 normal"]


def test_failures_before_a_restart_still_block(hall: Hall) -> None:
    restored = {1: SheetRecord(SheetStatus.FAILED, attempt=1, reason="broken")}
    assert hall.add(chain(2), restored=restored) == ["run running", "2 skipped", "run failed"]


def test_a_blocked_sheet_alone_keeps_a_run_from_completing(hall: Hall) -> None:
    restored = {1: DONE, 2: SheetRecord(SheetStatus.SKIPPED, blocked=True, reason="blocked")}
    assert hall.add(wide(2), restored=restored) == ["run failed"]


def test_fail_fast_survives_a_restart(hall: Hall) -> None:
    restored = {
        1: SheetRecord(SheetStatus.FAILED, attempt=1),
        2: ALIVE,
        3: SheetRecord(SheetStatus.SKIPPED, blocked=True),
    }
    hall.add(wide(3), restored=restored, policy=replace(POLICY, fail_fast=True))
    assert hall.end(2, Outcome(Ended.FAILED)) == ["2 failed", "run failed"]


def test_an_ended_run_is_loaded_silently_and_opened_on_demand(hall: Hall) -> None:
    restored = {1: DONE, 2: SheetRecord(SheetStatus.FAILED, attempt=3, retries_used=3)}
    assert hall.add(wide(2), restored=restored, ended=JobStatus.FAILED) == []
    assert hall.status() is JobStatus.FAILED
    assert hall.send(RetryRun(1)) == ["2 pending", "run running", "launch 2.4 normal"]
    assert hall.record(2).retries_used == 0


def test_the_same_seed_and_messages_give_the_same_effects() -> None:
    def play() -> list[object]:
        baton, out = Baton(seed=5), []
        out += baton.handle(RunAdded(1, "a", RunPolicy(max_concurrent=3), wide(5)), 0.0)
        for num in (1, 2, 3):
            out += baton.handle(AttemptEnded(1, num, 1, Outcome(Ended.FAILED)), 1.0)
        return out

    assert play() == play()
    delays = {e.until for e in play() if isinstance(e, SheetChanged) and e.until is not None}
    assert len(delays) == 3, "jitter"


# --- being ended, over a restart ------------------------------------------------------------------


def test_a_run_that_was_being_ended_by_its_timeout_fails_after_a_restart(hall: Hall) -> None:
    hall.add(wide(2), policy=replace(POLICY, max_concurrent=1, job_timeout=50.0))
    assert hall.tick(1050.0) == ["2 cancelled", "kill 1.1 cancelled", "run cancelling"]
    view = hall.baton.run(1)
    assert view is not None
    assert view.final is JobStatus.FAILED
    cancelled = hall.record(2)

    again = Hall()
    effects = again.add(
        wide(2),
        restored={1: ALIVE, 2: cancelled},
        closing=view.final,
        reason=view.reason,
        elapsed=view.elapsed,
    )
    assert effects == ["kill 1.1 cancelled", "run cancelling"]
    assert again.baton.scheduler.active == 1, "what lives holds its slot until it is gone"
    assert again.end(1, Outcome(Ended.CANCELLED)) == ["1 cancelled", "run failed"]
    view = again.baton.run(1)
    assert view is not None
    assert view.reason == "E001: the job ran longer than its timeout of 50 s"
    assert view.final is None


def test_a_run_that_was_being_ended_and_has_nothing_alive_is_over_at_once(hall: Hall) -> None:
    restored = {1: DONE}
    effects = hall.add(
        chain(3),
        restored=restored,
        closing=JobStatus.CANCELLED,
        reason="by Ann",
        paused_by="somebody",
    )
    assert effects == ["2 cancelled", "3 cancelled", "run cancelled"]
    assert hall.send(RetryRun(1)) == ["2 pending", "3 pending", "run running", "launch 2.1 normal"]


def test_an_impossible_run_that_was_being_ended_ends(hall: Hall) -> None:
    tasks = [SheetTask(1), SheetTask(2, (range(3, 4),)), SheetTask(3, (range(2, 3),))]
    hall.add(tasks, restored={1: ALIVE}, closing=JobStatus.CANCELLED, reason="by Ann")
    assert hall.end(1, Outcome(Ended.CANCELLED))[-1] == "run failed"


# --- time -----------------------------------------------------------------------------------------


def test_what_has_elapsed_is_told_for_any_moment(hall: Hall) -> None:
    hall.add(wide(1), policy=replace(POLICY, job_timeout=500.0), elapsed=30.0)

    def elapsed(now: float | None) -> float:
        view = hall.baton.run(1, now)
        assert view is not None
        return view.elapsed

    assert elapsed(None) == 30.0
    assert elapsed(1100.0) == 130.0
    assert elapsed(5.0) == 30.0, "time does not go back"
    assert hall.baton.next_wake() == 1470.0


def test_a_resumed_run_waits_for_a_job_slot_as_it_is() -> None:
    hall = Hall(Limits(max_concurrent_jobs=1))
    hall.add(wide(2), policy=replace(POLICY, max_concurrent=1))
    hall.send(PauseRun(1, "Ann"))
    hall.end(1)
    assert hall.add(wide(1), run=2) == ["run running", "launch 1.1 normal"]
    assert hall.send(ResumeRun(1)) == ["run queued"]
    assert hall.why(2) == (WaitReason.QUEUED, None, "1 of 1")
    assert hall.end(1, run=2) == [
        "1 completed",
        "run completed",
        "run running",
        "launch 2.1 normal",
    ]
