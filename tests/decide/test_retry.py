"""What follows from the end of an attempt."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.decide.dispatch import SheetEnd
from marianne_core.decide.messages import RunPolicy, SheetRecord
from marianne_core.decide.retry import backoff, conclude, give_up, judge
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import AttemptMode, SheetStatus

PLAIN = RunPolicy(jitter=False, base_delay=10, max_delay=100)
RUNNING = SheetRecord(SheetStatus.IN_PROGRESS, attempt=1, alive=True)


@settings(deadline=None, max_examples=200)
@given(
    base=st.floats(0, 1e4),
    most=st.floats(0, 1e5),
    growth=st.floats(1, 10),
    used=st.integers(0, 5000),
    seed=st.integers(0, 100),
)
def test_backoff_stays_between_half_and_the_whole(base, most, growth, used, seed) -> None:
    policy = RunPolicy(base_delay=base, max_delay=most, exponential_base=growth, jitter=False)
    whole = backoff(policy, used, Random(seed))
    jittered = backoff(replace(policy, jitter=True), used, Random(seed))
    assert 0 <= whole <= most
    assert whole / 2 <= jittered <= whole
    assert whole <= backoff(policy, used + 1, Random(seed))


def test_backoff_doubles_up_to_its_maximum() -> None:
    rng = Random(0)
    assert [backoff(PLAIN, k, rng) for k in range(6)] == [10, 20, 40, 80, 100, 100]


def test_max_retries_counts_after_the_first_try() -> None:
    record, rng, delays = RUNNING, Random(0), []
    for _ in range(3):
        ruling = judge(record, Outcome(Ended.FAILED, exit_code=7), PLAIN, 1000.0, rng)
        assert ruling.end is SheetEnd.RETRY
        assert ruling.record.status is SheetStatus.RETRY_SCHEDULED
        assert not ruling.record.alive
        delays.append((ruling.record.not_before or 0) - 1000.0)
        record = replace(ruling.record, alive=True)
    assert delays == [10, 20, 40]
    assert record.reason == "exit status 7 (retry 3 of 3)"
    ruling = judge(record, Outcome(Ended.FAILED, exit_code=7), PLAIN, 1000.0, rng)
    assert ruling.end is SheetEnd.FAILED
    assert ruling.record.status is SheetStatus.FAILED
    assert ruling.record.reason == "exit status 7 (after 4 tries)"


def test_an_outcomes_own_delay_is_a_minimum() -> None:
    outcome = Outcome(Ended.FAILED, min_delay=25.0)
    assert judge(RUNNING, outcome, PLAIN, 0.0, Random(0)).record.not_before == 25.0
    longer = replace(RUNNING, retries_used=2)
    assert judge(longer, outcome, PLAIN, 0.0, Random(0)).record.not_before == 40.0


def test_what_cannot_help_is_not_tried_again() -> None:
    outcome = Outcome(Ended.FAILED, retriable=False, reason="E505: no such program")
    ruling = judge(RUNNING, outcome, PLAIN, 0.0, Random(0))
    assert ruling.end is SheetEnd.FAILED
    assert ruling.record.reason == "E505: no such program"


def test_a_timeout_is_tried_again_as_e001() -> None:
    ruling = judge(RUNNING, Outcome(Ended.TIMEOUT, code="E001"), PLAIN, 0.0, Random(0))
    assert ruling.end is SheetEnd.RETRY
    assert ruling.record.reason.startswith("E001")


def test_all_passed_completes_and_clean_skips_count_as_done() -> None:
    ruling = judge(replace(RUNNING, lost_in_row=2), Outcome(Ended.OK), PLAIN, 0.0, Random(0))
    assert (ruling.end, ruling.record.status) == (SheetEnd.DONE, SheetStatus.COMPLETED)
    assert ruling.record.lost_in_row == 0
    skip = Outcome(Ended.SKIPPED, reason="skip_when")
    ruling = judge(RUNNING, skip, PLAIN, 0.0, Random(0))
    assert (ruling.end, ruling.record.status) == (SheetEnd.SKIPPED, SheetStatus.SKIPPED)
    assert ruling.record.attempt == 0, "nothing was started"
    assert not ruling.record.blocked


@pytest.mark.parametrize(
    ("rate", "threshold", "completes"),
    [(50.0, 50.0, True), (49.9, 50.0, False), (99.0, 50.0, True), (0.0, 0.0, False), (1, 0, True)],
)
def test_completion_mode_needs_the_threshold_and_something_passed(
    rate: float, threshold: float, completes: bool
) -> None:
    policy = replace(PLAIN, completion_threshold=threshold)
    ruling = judge(RUNNING, Outcome(Ended.OK, pass_rate=rate), policy, 0.0, Random(0))
    assert ruling.end is SheetEnd.RETRY
    mode = AttemptMode.COMPLETION if completes else AttemptMode.NORMAL
    assert ruling.record.mode is mode
    assert ruling.record.completions_used == completes
    assert ruling.record.retries_used == (not completes)
    assert ruling.record.not_before == (5.0 if completes else 10.0)


def test_completion_has_its_own_budget_then_the_retries_begin() -> None:
    policy = replace(PLAIN, max_completion_attempts=2, max_retries=1)
    record, modes = RUNNING, []
    for _ in range(3):
        ruling = judge(record, Outcome(Ended.OK, pass_rate=60.0), policy, 0.0, Random(0))
        assert ruling.end is SheetEnd.RETRY
        record = replace(ruling.record, alive=True)
        modes.append(str(record.mode))
    assert modes == ["completion", "completion", "normal"]
    assert record.reason == "60 % of the validations passed (retry 1 of 1)"
    ruling = judge(record, Outcome(Ended.OK, pass_rate=60.0), policy, 0.0, Random(0))
    assert ruling.end is SheetEnd.FAILED


def test_lost_attempts_are_not_charged_and_the_third_in_a_row_needs_a_person() -> None:
    record = replace(RUNNING, retries_used=3, mode=AttemptMode.COMPLETION)
    for in_row in (1, 2, 3):
        ruling = judge(record, Outcome(Ended.LOST), PLAIN, 5.0, Random(0))
        assert ruling.end is SheetEnd.RETRY
        assert ruling.record.status is SheetStatus.PENDING
        assert ruling.record.not_before is None
        assert ruling.record.retries_used == 3
        assert ruling.record.mode is AttemptMode.COMPLETION
        assert ruling.record.lost_in_row == in_row
        assert (ruling.pause is not None) == (in_row == 3)
        record = replace(ruling.record, alive=True)


def test_never_ran_counts_for_nothing() -> None:
    record = replace(RUNNING, lost_in_row=2, retries_used=3)
    ruling = judge(record, Outcome(Ended.NEVER_RAN), PLAIN, 5.0, Random(0))
    assert ruling.end is SheetEnd.RETRY
    assert ruling.pause is None
    assert (ruling.record.lost_in_row, ruling.record.retries_used) == (2, 3)
    assert ruling.record.attempt == record.attempt - 1
    cancelled = conclude(record, Outcome(Ended.NEVER_RAN), "cancelled").record
    assert cancelled.attempt == record.attempt - 1


def test_a_cancelled_attempt_is_not_tried_again() -> None:
    ruling = judge(RUNNING, Outcome(Ended.CANCELLED, reason="by Ann"), PLAIN, 0.0, Random(0))
    assert (ruling.end, ruling.record.status) == (SheetEnd.FAILED, SheetStatus.CANCELLED)
    assert ruling.record.reason == "by Ann"


def test_in_a_cancelled_run_only_successes_count() -> None:
    ends = {e: conclude(RUNNING, Outcome(e), "cancelled").record.status for e in Ended}
    assert ends.pop(Ended.OK) is SheetStatus.COMPLETED
    assert ends.pop(Ended.SKIPPED) is SheetStatus.SKIPPED
    assert set(ends.values()) == {SheetStatus.CANCELLED}
    partly = conclude(RUNNING, Outcome(Ended.OK, pass_rate=90), "cancelled")
    assert partly.record.status is SheetStatus.CANCELLED


def test_giving_up_ends_what_would_be_tried_again() -> None:
    for outcome, status in (
        (Outcome(Ended.FAILED), SheetStatus.FAILED),
        (Outcome(Ended.OK, pass_rate=80), SheetStatus.FAILED),
        (Outcome(Ended.LOST), SheetStatus.FAILED),
        (Outcome(Ended.NEVER_RAN), SheetStatus.SKIPPED),
        (Outcome(Ended.OK), SheetStatus.COMPLETED),
    ):
        ruling = give_up(judge(RUNNING, outcome, PLAIN, 0.0, Random(0)), outcome, "sheet 1 failed")
        assert ruling.record.status is status
        assert ruling.end is not SheetEnd.RETRY
        assert ruling.record.not_before is None
        assert ruling.record.blocked == (status is SheetStatus.SKIPPED)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(Ended.FAILED, signal=9), "ended by signal 9"),
        (Outcome(Ended.FAILED, code="E502"), "E502: it failed"),
        (Outcome(Ended.FAILED), "it failed"),
        (Outcome(Ended.CANCELLED), "cancelled"),
        (Outcome(Ended.NEVER_RAN), "the attempt was never started"),
    ],
)
def test_every_outcome_has_words(outcome: Outcome, words: str) -> None:
    record = judge(RUNNING, outcome, replace(PLAIN, max_retries=0), 0.0, Random(0)).record
    assert record.reason == words
