"""What follows from how an attempt ended: done, again, or failed; and when it is tried again.

DESIGN section 9 (Parallel) settles the numbers: `max_retries` counts retries after the first try,
completion mode needs a pass rate of at least the threshold, the score's backoff decides and an
outcome's own delay is a minimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from marianne_core.decide.dispatch import SheetEnd
from marianne_core.decide.messages import RunPolicy, SheetRecord
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import AttemptMode, SheetStatus

LOST_LIMIT = 3
"""Attempts lost in a row after which a person must look (DESIGN section 4.4)."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """How a sheet stands after an attempt."""

    end: SheetEnd
    record: SheetRecord
    pause: str | None = None
    """Not None: the run must be paused, for this reason."""


def backoff(policy: RunPolicy, retries_used: int, rng: Random) -> float:
    """Seconds before the next try: base * exponential_base ** retries_used, at most max_delay.

    With jitter it is taken uniformly from 50 to 100 % of that.
    """
    try:
        delay = policy.base_delay * policy.exponential_base**retries_used
    except OverflowError:
        delay = policy.max_delay
    delay = min(delay, policy.max_delay)
    return delay * rng.uniform(0.5, 1.0) if policy.jitter else delay


def judge(
    record: SheetRecord, outcome: Outcome, policy: RunPolicy, now: float, rng: Random
) -> Ruling:
    """Decide what follows. `record` is the sheet's with the attempt alive; the result's is not."""
    over = replace(record, alive=False, not_before=None, lost_in_row=0, reason="")
    why = reason_of(outcome)
    match outcome.ended:
        case Ended.OK if outcome.pass_rate >= 100:
            return Ruling(SheetEnd.DONE, replace(over, status=SheetStatus.COMPLETED))
        case Ended.OK if _completes(record, outcome, policy):
            return _complete(over, outcome, policy, now, why)
        case Ended.SKIPPED:
            return Ruling(SheetEnd.SKIPPED, replace(over, status=SheetStatus.SKIPPED, reason=why))
        case Ended.CANCELLED:
            return Ruling(SheetEnd.FAILED, replace(over, status=SheetStatus.CANCELLED, reason=why))
        case Ended.LOST:
            return _lost(over, record.lost_in_row + 1, why)
        case Ended.NEVER_RAN:
            again = replace(
                over, status=SheetStatus.PENDING, lost_in_row=record.lost_in_row, reason=why
            )
            return Ruling(SheetEnd.RETRY, again)
        case _:
            return _retry(over, outcome, policy, now, rng, why)


def conclude(record: SheetRecord, outcome: Outcome, reason: str) -> Ruling:
    """Decide as `judge` does for a run that is being cancelled: nothing is tried again."""
    over = replace(record, alive=False, not_before=None, lost_in_row=0, reason="")
    if outcome.ended is Ended.OK and outcome.pass_rate >= 100:
        return Ruling(SheetEnd.DONE, replace(over, status=SheetStatus.COMPLETED))
    if outcome.ended is Ended.SKIPPED:
        skipped = replace(over, status=SheetStatus.SKIPPED, reason=reason_of(outcome))
        return Ruling(SheetEnd.SKIPPED, skipped)
    return Ruling(SheetEnd.FAILED, replace(over, status=SheetStatus.CANCELLED, reason=reason))


def give_up(ruling: Ruling, outcome: Outcome, reason: str) -> Ruling:
    """Turn "again" into an end, because nothing new starts in this run any more (fail_fast)."""
    if ruling.end is not SheetEnd.RETRY:
        return ruling
    over = replace(ruling.record, not_before=None, mode=AttemptMode.NORMAL)
    if outcome.ended is Ended.NEVER_RAN:
        over = replace(over, status=SheetStatus.SKIPPED, blocked=True, reason=reason)
    else:
        why = f"{reason_of(outcome)} (not tried again: {reason})"
        over = replace(over, status=SheetStatus.FAILED, reason=why)
    return Ruling(SheetEnd.FAILED, over)


def reason_of(outcome: Outcome) -> str:
    """One line about an outcome that was not a plain success."""
    if outcome.reason:
        return outcome.reason
    match outcome.ended:
        case Ended.OK:
            return f"{outcome.pass_rate:.0f} % of the validations passed"
        case Ended.TIMEOUT:
            return "E001: it ran longer than its timeout"
        case Ended.LOST:
            return "nobody knows how the attempt ended"
        case Ended.NEVER_RAN:
            return "the attempt was never started"
        case Ended.FAILED if outcome.signal is not None:
            return f"ended by signal {outcome.signal}"
        case Ended.FAILED if outcome.exit_code is not None:
            return f"exit status {outcome.exit_code}"
        case Ended.FAILED:
            return f"{outcome.code}: it failed" if outcome.code else "it failed"
        case _:
            return str(outcome.ended)


def _completes(record: SheetRecord, outcome: Outcome, policy: RunPolicy) -> bool:
    return (
        outcome.retriable
        and outcome.pass_rate > 0
        and outcome.pass_rate >= policy.completion_threshold
        and record.completions_used < policy.max_completion_attempts
    )


def _complete(
    over: SheetRecord, outcome: Outcome, policy: RunPolicy, now: float, why: str
) -> Ruling:
    used = over.completions_used + 1
    record = replace(
        over,
        status=SheetStatus.RETRY_SCHEDULED,
        mode=AttemptMode.COMPLETION,
        completions_used=used,
        not_before=now + max(policy.completion_delay, outcome.min_delay),
        reason=f"{why} (completion {used} of {policy.max_completion_attempts})",
    )
    return Ruling(SheetEnd.RETRY, record)


def _retry(
    over: SheetRecord, outcome: Outcome, policy: RunPolicy, now: float, rng: Random, why: str
) -> Ruling:
    over = replace(over, mode=AttemptMode.NORMAL)
    used = over.retries_used
    if not outcome.retriable or used >= policy.max_retries:
        tries = f" (after {used + 1} tries)" if used and outcome.retriable else ""
        return Ruling(
            SheetEnd.FAILED, replace(over, status=SheetStatus.FAILED, reason=f"{why}{tries}")
        )
    record = replace(
        over,
        status=SheetStatus.RETRY_SCHEDULED,
        retries_used=used + 1,
        not_before=now + max(backoff(policy, used, rng), outcome.min_delay),
        reason=f"{why} (retry {used + 1} of {policy.max_retries})",
    )
    return Ruling(SheetEnd.RETRY, record)


def _lost(over: SheetRecord, in_row: int, why: str) -> Ruling:
    record = replace(over, status=SheetStatus.PENDING, lost_in_row=in_row, reason=f"lost: {why}")
    pause = f"lost {in_row} times in a row: {why}" if in_row >= LOST_LIMIT else None
    return Ruling(SheetEnd.RETRY, record, pause)
