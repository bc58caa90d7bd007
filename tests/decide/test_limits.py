"""A rate limit parks its instrument and model, costs no retry, and ends by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marianne_core.decide.messages import (
    AttemptEnded,
    InstrumentParked,
    ParkInstrument,
    SheetTask,
    UnparkInstrument,
)
from marianne_core.model.outcome import Ended, Limit, Outcome
from marianne_core.model.states import AttemptMode, SheetStatus
from marianne_core.model.waits import WaitReason
from tests.decide.hall import OK, POLICY, Hall


def limited(seconds: float | None, ended: Ended = Ended.FAILED) -> Outcome:
    return Outcome(ended, code="E102", reason="used up", limit=Limit(seconds), min_delay=900.0)


def sheets(*who: tuple[str, str | None]) -> list[SheetTask]:
    return [SheetTask(n, (), name, model, 30.0) for n, (name, model) in enumerate(who, 1)]


def alive(hall: Hall) -> int:
    """The one sheet that runs."""
    run = hall.baton.run(1)
    assert run is not None
    (num,) = (num for num in range(1, run.total + 1) if hall.record(num).alive)
    return num


CLAUDE = ("claude-code", None)
OPUS = ("claude-code", "opus")
SONNET = ("claude-code", "sonnet")
CODEX = ("codex-cli", None)


def test_it_costs_no_retry_and_goes_on_when_the_limit_ends() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE), policy=replace(POLICY, max_retries=0))
    assert hall.end(1, limited(60.0)) == ["park claude-code None for 60", "1 waiting"]
    record = hall.record(1)
    assert (record.retries_used, record.waits_used, record.attempt) == (0, 1, 1)
    assert not record.untried
    assert hall.baton.next_wake() == hall.now + 60
    assert hall.tick(hall.now + 59.9) == []
    assert hall.tick(hall.now + 0.1) == ["launch 1.2 normal"]
    assert hall.end(1) == ["1 completed", "run completed"]


def test_a_timeout_in_which_a_service_refused_is_a_limit_too() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE))
    assert hall.end(1, limited(60.0, Ended.TIMEOUT))[-1] == "1 waiting"


def test_only_what_it_refused_is_parked() -> None:
    hall = Hall()
    hall.add(sheets(OPUS, SONNET, CODEX, OPUS), policy=replace(POLICY, max_concurrent=1))
    assert hall.end(1, limited(60.0)) == [
        "park claude-code opus for 60",
        "1 waiting",
        "launch 2.1 normal",
    ]
    assert hall.end(2) == ["2 completed", "launch 3.1 normal"]
    assert hall.end(3) == ["3 completed"]
    wait = hall.baton.wait_of(1, 4, hall.now)
    assert wait is not None
    assert (wait.reason, wait.until) == (WaitReason.RATE_LIMIT, hall.now + 60)
    assert wait.blocker == "claude-code/opus"


def test_without_a_model_the_whole_instrument_is_parked() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE, SONNET, OPUS), policy=replace(POLICY, max_concurrent=1))
    assert hall.end(1, limited(60.0)) == ["park claude-code None for 60", "1 waiting"]


def test_it_parks_for_all_jobs() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE))
    hall.end(1, limited(60.0))
    assert "launch 1.1 normal" not in hall.add(sheets(CLAUDE), run=2)
    assert sorted(hall.tick(hall.now + 60)) == ["launch 1.1 normal", "launch 1.2 normal"]


def test_the_latest_end_counts_and_is_told_once() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE, CLAUDE, CLAUDE))
    assert hall.end(1, limited(60.0))[0] == "park claude-code None for 60"
    assert hall.end(2, limited(3.0)) == ["2 waiting"]
    assert hall.end(3, limited(90.0))[0] == "park claude-code None for 90"
    assert hall.tick(hall.now + 60) == []
    assert len(hall.tick(hall.now + 30)) == 3


def test_a_limit_without_an_end_waits_as_the_score_says() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE), policy=replace(POLICY, limit_wait=120.0))
    assert hall.end(1, limited(None))[0] == "park claude-code None for 120"


def test_a_limit_that_was_over_too_early_is_waited_for_longer_and_longer() -> None:
    """A service may round its time, or name one that is not true: it is not asked in a tight loop."""
    hall = Hall()
    hall.add(sheets(CLAUDE))
    waited = []
    for _ in range(11):
        parked = hall.end(1, limited(0.0))[0]
        waited.append(float(parked.rpartition(" ")[2]))
        hall.tick(hall.now + waited[-1])
    assert waited == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_an_instrument_that_refuses_sheet_after_sheet_is_left_alone_longer_and_longer() -> None:
    """Of thousands of sheets each is refused for the first time: that must not be a tight loop."""
    hall = Hall()
    hall.add(sheets(*[CLAUDE] * 200), policy=replace(POLICY, max_concurrent=1))
    began, asked = hall.now, 0
    while hall.now < began + 3600:
        hall.end(alive(hall), limited(0.0))
        asked += 1
        wake = hall.baton.next_wake()
        assert wake is not None
        hall.tick(wake)
    assert asked < 30


def test_an_answer_ends_the_row_of_refusals() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE, CLAUDE), policy=replace(POLICY, max_concurrent=1))
    for seconds in (1, 2, 4):
        assert hall.end(alive(hall), limited(0.0))[0] == f"park claude-code None for {seconds}"
        hall.tick(hall.now + seconds)
    hall.end(alive(hall))
    assert hall.end(alive(hall), limited(0.0))[0] == "park claude-code None for 1"


def test_sheets_that_ran_together_are_one_try() -> None:
    hall = Hall()
    hall.add(sheets(*[CLAUDE] * 4))
    assert hall.end(1, limited(0.0))[0] == "park claude-code None for 1"
    for num in (2, 3, 4):
        hall.now += 0.9
        hall.end(num, limited(0.0))
    hall.tick(hall.now + 1)
    assert hall.end(1, limited(0.0))[0] == "park claude-code None for 2"


def test_one_limit_that_many_read_is_told_once() -> None:
    """Each computes the end by itself, from clocks that were read at different moments."""
    hall = Hall()
    hall.add(sheets(CLAUDE, CLAUDE))
    assert hall.end(1, limited(60.0))[0] == "park claude-code None for 60"
    assert hall.end(2, limited(60.004)) == ["2 waiting"]


def test_a_longer_limit_of_a_model_outlasts_one_of_the_whole_instrument() -> None:
    hall = Hall()
    hall.add(sheets(OPUS, OPUS, CLAUDE))
    assert hall.end(1, limited(500.0))[0] == "park claude-code opus for 500"
    assert hall.end(3, limited(100.0))[0] == "park claude-code None for 100"
    assert hall.end(2, limited(200.0)) == ["2 waiting"]
    wait = hall.baton.wait_of(1, 1, hall.now)
    assert wait is not None
    assert wait.until == hall.now + 500
    assert hall.tick(hall.now + 100) == ["launch 3.2 normal"]
    assert hall.tick(hall.now + 399) == []
    assert len(hall.tick(hall.now + 1)) == 2


def test_waits_are_counted_and_end() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE), policy=replace(POLICY, max_waits=2))
    for _ in range(2):
        assert hall.end(1, limited(60.0))[-1] == "1 waiting"
        hall.tick(hall.now + 60)
    assert hall.end(1, limited(60.0)) == [
        "park claude-code None for 60",
        "1 failed",
        "run failed",
    ]
    assert hall.record(1).reason == "used up (after 2 waits for its end)"


def test_a_completing_attempt_completes_after_the_wait() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE), policy=replace(POLICY, completion_delay=0.0))
    hall.end(1, Outcome(Ended.OK, pass_rate=60.0))
    hall.tick(hall.now + 1)
    hall.end(1, limited(60.0))
    assert hall.record(1).mode is AttemptMode.COMPLETION
    assert hall.tick(hall.now + 60) == ["launch 1.3 completion"]


def test_a_person_lifts_it() -> None:
    hall = Hall()
    hall.add(sheets(OPUS, CLAUDE))
    hall.end(1, limited(60.0))
    assert hall.send(UnparkInstrument("claude-code", "opus")) == ["launch 1.2 normal"]


def test_what_is_parked_without_an_end_gets_none() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE))
    hall.send(ParkInstrument("claude-code", None, reason=WaitReason.BREAKER))
    assert hall.end(1, limited(60.0)) == ["1 waiting"]
    assert hall.tick(hall.now + 60) == []


def test_a_run_that_is_being_ended_does_not_wait() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE, CLAUDE), policy=replace(POLICY, fail_fast=True))
    hall.end(1, Outcome(Ended.FAILED, retriable=False, reason="broken"))
    assert "2 failed" in hall.end(2, limited(60.0))


def test_a_waiting_sheet_is_still_waiting_under_the_next_conductor() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE))
    hall.end(1, limited(60.0))
    record = hall.record(1)
    next_one = Hall()
    next_one.send(ParkInstrument("claude-code", next_one.now + 30))
    next_one.add(sheets(CLAUDE), restored={1: record})
    assert next_one.record(1).status is SheetStatus.WAITING
    assert next_one.tick(next_one.now + 30) == ["launch 1.2 normal"]


@pytest.mark.parametrize("by_clock", [False, True])
def test_what_is_to_be_remembered(by_clock: bool) -> None:
    hall = Hall()
    hall.add(sheets(OPUS))
    outcome = replace(limited(60.0), limit=Limit(60.0, by_clock))
    effects = hall.baton.handle(AttemptEnded(1, 1, 1, outcome), hall.now)
    assert effects[0] == InstrumentParked(
        1, 1, "claude-code", "opus", hall.now + 60, by_clock, "used up"
    )


def test_the_time_of_a_limit_does_not_use_up_the_job_s_timeout() -> None:
    """A week's limit lasts longer than a job may take."""
    hall = Hall()
    hall.add(sheets(CLAUDE), policy=replace(POLICY, job_timeout=100.0))
    hall.now += 30
    hall.end(1, limited(5000.0))
    assert hall.tick(hall.now + 4000) == []
    hall.add(sheets(CLAUDE), run=2, policy=replace(POLICY, job_timeout=100.0))
    assert len(hall.tick(hall.now + 1000)) == 2
    view = hall.baton.run(1, hall.now + 10)
    assert view is not None
    assert (view.elapsed, view.counting) == (40.0, True)
    assert hall.tick(hall.now + 69) == []
    assert hall.tick(hall.now + 1) == ["kill 1.2 cancelled", "run cancelling"]
    assert hall.tick(hall.now + 30) == ["kill 1.1 cancelled", "run cancelling"]


def test_the_time_goes_on_while_something_of_the_job_runs_or_waits_for_more() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE, CODEX), policy=replace(POLICY, job_timeout=100.0))
    hall.end(1, limited(5000.0))
    hall.now += 60
    hall.end(2)
    assert hall.tick(hall.now + 1000) == []
    hall.send(UnparkInstrument("claude-code"))
    assert hall.tick(hall.now + 39) == []
    assert hall.tick(hall.now + 1)[-1] == "run cancelling"


def test_a_success_is_never_a_limit() -> None:
    hall = Hall()
    hall.add(sheets(CLAUDE))
    assert hall.end(1, OK) == ["1 completed", "run completed"]
