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
from marianne_core.model.outcome import Ended, Limit, Outcome
from marianne_core.model.states import AttemptMode, SheetStatus

LOST_LIMIT = 3
"""Attempts lost in a row after which a person must look (DESIGN section 4.4)."""

_LONGEST_LEAST_WAIT = 300.0
"""Seconds that an instrument is left alone at least, however often it refused."""


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
    match outcome.ended:
        case Ended.FAILED | Ended.TIMEOUT if outcome.limit is not None:
            return _wait(record, outcome, policy)
        case Ended.OK if outcome.pass_rate >= 100:
            return Ruling(SheetEnd.DONE, _over(record, SheetStatus.COMPLETED))
        case Ended.OK if _completes(record, outcome, policy):
            return _complete(record, outcome, policy, now)
        case Ended.SKIPPED:
            skipped = _over(_uncounted(record), SheetStatus.SKIPPED, reason_of(outcome))
            return Ruling(SheetEnd.SKIPPED, skipped)
        case Ended.CANCELLED:
            cancelled = _over(record, SheetStatus.CANCELLED, reason_of(outcome))
            return Ruling(SheetEnd.FAILED, cancelled)
        case Ended.LOST:
            return _lost(record, outcome)
        case Ended.NEVER_RAN:
            again = _over(_uncounted(record), SheetStatus.PENDING, reason_of(outcome))
            return Ruling(SheetEnd.RETRY, replace(again, lost_in_row=record.lost_in_row))
        case _:
            return _retry(record, outcome, policy, now, rng)


def limit_ends(limit: Limit, before: int, policy: RunPolicy, now: float) -> float:
    """When an instrument may be asked again that refused a sheet, in the clock of `now`.

    A service may name a time that turns out to be too early again and again. So the wait is at least
    twice as long for each of the tries `before` that it refused too, up to five minutes.
    """
    seconds = policy.limit_wait if limit.seconds is None else limit.seconds
    return now + max(seconds, min(2.0 ** min(before, 16), _LONGEST_LEAST_WAIT))


def conclude(record: SheetRecord, outcome: Outcome, reason: str) -> Ruling:
    """Decide as `judge` does for a run that is being cancelled: nothing is tried again."""
    if outcome.ended is Ended.OK and outcome.pass_rate >= 100:
        return Ruling(SheetEnd.DONE, _over(record, SheetStatus.COMPLETED))
    if outcome.ended is Ended.SKIPPED:
        skipped = _over(_uncounted(record), SheetStatus.SKIPPED, reason_of(outcome))
        return Ruling(SheetEnd.SKIPPED, skipped)
    if outcome.ended is Ended.NEVER_RAN:
        record = _uncounted(record)
    return Ruling(SheetEnd.FAILED, _over(record, SheetStatus.CANCELLED, reason))


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


def _uncounted(record: SheetRecord) -> SheetRecord:
    """Nothing of the attempt was started: its number is given back, the next one has it again."""
    return replace(record, attempt=record.attempt - 1)


def _over(record: SheetRecord, status: SheetStatus, reason: str = "") -> SheetRecord:
    """The record when its attempt has ended: what was counted stays, the rest begins anew."""
    return SheetRecord(
        status=status,
        attempt=record.attempt,
        retries_used=record.retries_used,
        completions_used=record.completions_used,
        waits_used=record.waits_used,
        reason=reason,
        mode=record.mode,
    )


def _complete(record: SheetRecord, outcome: Outcome, policy: RunPolicy, now: float) -> Ruling:
    used = record.completions_used + 1
    reason = f"{reason_of(outcome)} (completion {used} of {policy.max_completion_attempts})"
    again = replace(
        _over(record, SheetStatus.RETRY_SCHEDULED, reason),
        mode=AttemptMode.COMPLETION,
        completions_used=used,
        not_before=now + max(policy.completion_delay, outcome.min_delay),
    )
    return Ruling(SheetEnd.RETRY, again)


def _wait(record: SheetRecord, outcome: Outcome, policy: RunPolicy) -> Ruling:
    """A rate limit stopped it: it goes on where it was, when its instrument does."""
    used, why = record.waits_used, reason_of(outcome)
    if used >= policy.max_waits:
        failed = _over(record, SheetStatus.FAILED, f"{why} (after {used} waits for its end)")
        return Ruling(SheetEnd.FAILED, replace(failed, mode=AttemptMode.NORMAL))
    again = _over(record, SheetStatus.WAITING, f"{why} (wait {used + 1} of {policy.max_waits})")
    return Ruling(SheetEnd.RETRY, replace(again, waits_used=used + 1))


def _retry(
    record: SheetRecord, outcome: Outcome, policy: RunPolicy, now: float, rng: Random
) -> Ruling:
    used, why = record.retries_used, reason_of(outcome)
    if not outcome.retriable or used >= policy.max_retries:
        tries = f" (after {used + 1} tries)" if used and outcome.retriable else ""
        failed = _over(record, SheetStatus.FAILED, why + tries)
        return Ruling(SheetEnd.FAILED, replace(failed, mode=AttemptMode.NORMAL))
    again = replace(
        _over(
            record, SheetStatus.RETRY_SCHEDULED, f"{why} (retry {used + 1} of {policy.max_retries})"
        ),
        mode=AttemptMode.NORMAL,
        retries_used=used + 1,
        not_before=now + max(backoff(policy, used, rng), outcome.min_delay),
    )
    return Ruling(SheetEnd.RETRY, again)


def _lost(record: SheetRecord, outcome: Outcome) -> Ruling:
    in_row, why = record.lost_in_row + 1, reason_of(outcome)
    again = replace(_over(record, SheetStatus.PENDING, f"lost: {why}"), lost_in_row=in_row)
    pause = f"lost {in_row} times in a row: {why}" if in_row >= LOST_LIMIT else None
    return Ruling(SheetEnd.RETRY, again, pause)
