"""The baton, one rule at a time: sheets, failures, time limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marianne_core.decide.messages import (
    AttemptEnded,
    AttemptStarted,
    CancelRun,
    Limits,
    PauseRun,
    ResumeRun,
    RetryRun,
    RunForgotten,
    SheetTask,
    Tick,
)
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import JobStatus
from marianne_core.model.waits import WaitReason
from tests.decide.hall import BAD, OK, POLICY, Hall, chain, wide


@pytest.fixture
def hall() -> Hall:
    return Hall()


# --- from the first sheet to the last -------------------------------------------------------------


def test_a_chain_runs_to_its_end(hall: Hall) -> None:
    assert hall.add(chain(2)) == ["run running", "launch 1.1 normal"]
    assert hall.why(2) == (WaitReason.DEPENDENCY, None, "sheet 1")
    assert hall.end(1) == ["1 completed", "launch 2.1 normal"]
    assert hall.end(2) == ["2 completed", "run completed"]
    assert hall.baton.next_wake() is None
    view = hall.baton.run(1)
    assert view is not None
    assert (view.total, view.completed, view.failed, view.running) == (2, 2, 0, 0)


def test_an_empty_run_completes(hall: Hall) -> None:
    assert hall.add([]) == ["run completed"]


def test_a_run_without_work_does_not_wait_for_a_job_slot() -> None:
    hall = Hall(Limits(max_concurrent_jobs=1))
    hall.add(wide(1))
    assert hall.add(wide(2), run=2, start_sheet=3)[-1] == "run completed"


def test_policy_bounds_the_sheets_at_once(hall: Hall) -> None:
    effects = hall.add(wide(5), policy=replace(POLICY, max_concurrent=2))
    assert effects == ["run running", "launch 1.1 normal", "launch 2.1 normal"]
    assert hall.why(3) == (WaitReason.JOB_SLOT, None, "2")


def test_an_impossible_plan_fails_instead_of_hanging(hall: Hall) -> None:
    tasks = [SheetTask(1, (range(2, 3),)), SheetTask(2, (range(1, 2),))]
    assert hall.add(tasks)[-1] == "run failed"
    view = hall.baton.run(1)
    assert view is not None
    assert "1 → 2 → 1" in view.reason
    assert hall.send(RetryRun(1)) == []


def test_messages_out_of_place_change_nothing(hall: Hall) -> None:
    hall.add(chain(2))
    again = hall.add(chain(5))
    assert again == []
    for message in (
        AttemptEnded(9, 1, 1, OK),
        AttemptEnded(1, 2, 1, OK),
        AttemptEnded(1, 1, 7, OK),
        AttemptEnded(1, 77, 1, OK),
        AttemptStarted(1, 1, 9, 0.0),
        ResumeRun(1),
        RetryRun(1, 77),
        RetryRun(1, None),
        RunForgotten(1),
        PauseRun(9, "x"),
        CancelRun(9),
    ):
        assert hall.send(message) == []
    assert hall.status() is JobStatus.RUNNING
    hall.end(1)
    assert hall.send(AttemptEnded(1, 1, 1, BAD)) == [], "its end was told already"


def test_time_never_goes_back(hall: Hall) -> None:
    hall.add(wide(1), policy=replace(POLICY, base_delay=10))
    hall.end(1, Outcome(Ended.FAILED))
    assert hall.baton.next_wake() == 1010.0
    assert hall.tick(500.0) == []
    assert hall.baton.handle(Tick(), 1010.0)


# --- failures -------------------------------------------------------------------------------------


def test_retry_with_backoff_then_failure_blocks_the_rest(hall: Hall) -> None:
    hall.add([*chain(3), SheetTask(4, raw=True)], policy=replace(POLICY, max_retries=1))
    assert hall.end(1, Outcome(Ended.FAILED, exit_code=3)) == ["1 retry_scheduled"]
    assert hall.why(1) == (WaitReason.RETRY, 1010.0, "exit status 3 (retry 1 of 1)")
    assert hall.tick(1010.0) == ["launch 1.2 normal"]
    assert hall.end(1, Outcome(Ended.FAILED, exit_code=3)) == [
        "1 failed",
        "2 skipped",
        "3 skipped",
    ]
    assert hall.record(3).reason == "blocked by sheet 1"
    assert hall.record(3).blocked
    assert hall.end(4) == ["4 completed", "run failed"]
    view = hall.baton.run(1)
    assert view is not None
    assert view.reason == "sheet 1: exit status 3 (after 2 tries)"
    assert (view.failed, view.skipped, view.blocked, view.completed) == (1, 2, 2, 1)


def test_completion_mode_is_launched_as_such(hall: Hall) -> None:
    hall.add(wide(1))
    assert hall.end(1, Outcome(Ended.OK, pass_rate=75)) == ["1 retry_scheduled"]
    assert hall.baton.next_wake() == 1005.0
    assert hall.tick(1005.0) == ["launch 1.2 completion"]
    assert hall.end(1) == ["1 completed", "run completed"]


def test_a_clean_skip_releases_and_completes(hall: Hall) -> None:
    hall.add(chain(2))
    skipped = Outcome(Ended.SKIPPED, reason="skip_when")
    assert hall.end(1, skipped) == ["1 skipped", "launch 2.1 normal"]
    assert hall.end(2) == ["2 completed", "run completed"]


def test_fail_fast_lets_running_sheets_end_and_starts_no_other(hall: Hall) -> None:
    policy = replace(POLICY, max_concurrent=3, fail_fast=True)
    hall.add(wide(5), policy=policy)
    assert hall.end(1, BAD) == ["1 failed", "4 skipped", "5 skipped"]
    assert hall.record(5).reason == "fail_fast: sheet 1 failed"
    assert hall.end(2) == ["2 completed"]
    assert hall.end(3, Outcome(Ended.FAILED)) == ["3 failed", "run failed"]
    assert "not tried again: fail_fast" in hall.record(3).reason
    assert hall.send(RetryRun(1)) == [
        *("1 pending", "3 pending", "4 pending", "5 pending", "run running"),
        *("launch 1.2 normal", "launch 3.2 normal", "launch 4.1 normal"),
    ]


def test_lost_thrice_parks_the_run_until_somebody_resumes(hall: Hall) -> None:
    hall.add(wide(1))
    lost = Outcome(Ended.LOST, reason="the shim died")
    assert hall.end(1, lost) == ["1 pending", "launch 1.2 normal"]
    assert hall.end(1, lost) == ["1 pending", "launch 1.3 normal"]
    assert hall.end(1, lost) == ["1 pending", "run paused"]
    view = hall.baton.run(1)
    assert view is not None
    assert view.reason == "sheet 1 was lost 3 times in a row: the shim died"
    assert hall.record(1).retries_used == 0
    assert hall.why(1) == (WaitReason.PAUSED, None, "sheet 1")
    assert hall.send(ResumeRun(1)) == ["1 pending", "run running", "launch 1.4 normal"]
    assert hall.record(1).lost_in_row == 0


def test_never_ran_runs_again_at_once(hall: Hall) -> None:
    hall.add(wide(1))
    assert hall.end(1, Outcome(Ended.NEVER_RAN)) == ["1 pending", "launch 1.1 normal"]


def test_an_attempt_cancelled_alone_fails_the_run(hall: Hall) -> None:
    hall.add(chain(2))
    assert hall.end(1, Outcome(Ended.CANCELLED)) == ["1 cancelled", "2 skipped", "run failed"]


# --- time limits ----------------------------------------------------------------------------------


def test_the_deadline_kills_once_and_the_timeout_is_retried(hall: Hall) -> None:
    hall.add(wide(1))
    hall.send(AttemptStarted(1, 1, 1, deadline=1030.0))
    assert hall.baton.next_wake() == 1030.0
    assert hall.tick(1029.0) == []
    assert hall.tick(1030.0) == ["kill 1.1 timeout"]
    assert hall.baton.next_wake() is None, "the order is given; now its end is awaited"
    assert hall.tick(1031.0) == []
    assert hall.end(1, Outcome(Ended.TIMEOUT)) == ["1 retry_scheduled"]
    assert hall.baton.next_wake() == 1041.0


def test_a_deadline_of_an_ended_attempt_wakes_nobody(hall: Hall) -> None:
    hall.add(chain(2))
    hall.send(AttemptStarted(1, 1, 1, deadline=1030.0))
    hall.end(1)
    assert hall.baton.next_wake() is None
    hall.send(AttemptStarted(1, 2, 1, deadline=1060.0))
    hall.send(AttemptStarted(1, 2, 1, deadline=1090.0))
    assert hall.baton.next_wake() == 1090.0


def test_job_timeout_ends_everything_as_failed(hall: Hall) -> None:
    hall.add(chain(3), policy=replace(POLICY, job_timeout=100.0))
    hall.end(1)
    assert hall.tick(1100.0) == ["3 cancelled", "kill 2.1 cancelled", "run cancelling"]
    assert hall.end(2, Outcome(Ended.CANCELLED)) == ["2 cancelled", "run failed"]
    view = hall.baton.run(1)
    assert view is not None
    assert view.reason.startswith("E001")


def test_time_spent_paused_does_not_count_against_the_job(hall: Hall) -> None:
    hall.add(wide(2), policy=replace(POLICY, max_concurrent=1, job_timeout=100.0), elapsed=20.0)
    assert hall.baton.next_wake() == 1080.0
    hall.now = 1030.0
    hall.send(PauseRun(1, "Ann"))
    hall.end(1)
    assert hall.status() is JobStatus.PAUSED
    assert hall.baton.next_wake() is None
    hall.now = 5000.0
    view = hall.baton.run(1)
    assert view is not None
    assert view.elapsed == 50.0
    hall.send(ResumeRun(1))
    assert hall.baton.next_wake() == 5050.0
