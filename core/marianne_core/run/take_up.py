"""What is left to do of an attempt that an earlier conductor started, by what was found of it."""

from __future__ import annotations

from functools import partial

from marianne_core.model.clock import Clock
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.plan.rules import rules_for
from marianne_core.remember.rows import AttemptRow
from marianne_core.run.active import ActiveRun, Playing
from marianne_core.run.conclusion import as_ordered
from marianne_core.run.musician import Musician
from marianne_core.run.processes import process_age
from marianne_core.run.recovery import (
    Adopt,
    Exited,
    Finding,
    HeldByStranger,
    MustEnd,
    OtherBoot,
)
from marianne_core.run.stage import Part
from marianne_core.run.validate.baseline import Baseline, read_baseline


def take_up(
    run: ActiveRun, row: AttemptRow, finding: Finding, musician: Musician, clock: Clock
) -> tuple[Playing, Part]:
    """An open attempt that was started, with what is left to do of it.

    One whose end was ordered before its conductor left, and that is gone, ended as it was ordered;
    one that lives must be told again.
    """
    attempt = Playing(run, row.num, row.attempt, row.mode, row.token, first_try=False)
    attempt.intended = True
    attempt.started_at = row.started_at or row.intended_at
    attempt.baseline = _stored_baseline(attempt)
    attempt.deadline = row.deadline or 0.0
    match finding:
        case Adopt(pid):
            attempt.pid = pid
            if not attempt.deadline:
                _begin_late(attempt, clock)
            return attempt, musician.adopt
        case HeldByStranger():
            if not attempt.deadline:
                _begin_late(attempt, clock)
            return attempt, musician.adopt
    if row.ending is not None:
        attempt.ended_as, attempt.ended_why = Ended(row.ending), row.ending_reason
    match finding:
        case Exited():
            return attempt, musician.conclude
        case OtherBoot(exit_status=int()):
            return attempt, partial(_after_a_reboot, musician=musician)
        case MustEnd(started=False):
            return attempt, partial(_end_what_came_before, musician=musician)
        case MustEnd(pid=shim):
            attempt.pid = shim
            return attempt, partial(_end_then_lost, musician=musician)
        case _:
            return attempt, _lost


def _begin_late(attempt: Playing, clock: Clock) -> None:
    """Its conductor was killed before it could write down that the attempt had begun: its time
    counts from the start of its shim all the same."""
    age = process_age(attempt.pid) if attempt.pid is not None else None
    if age is not None:
        attempt.started_at = clock.wall() - age
    timeout = attempt.run.plan.sheet(attempt.num).timeout
    attempt.deadline = clock.now() - (age or 0.0) + timeout


def _stored_baseline(attempt: Playing) -> Baseline:
    """What the musician wrote before the attempt, or its start where that is gone."""
    stored = read_baseline(attempt.files.name("base"))
    return Baseline.since(attempt.started_at) if stored is None else stored


async def _lost(attempt: Playing) -> Outcome:
    if attempt.ended_as is not None:
        return as_ordered(attempt)
    return Outcome(Ended.LOST, reason="nobody knows how it ended: its shim or the machine died")


async def _end_then_lost(attempt: Playing, *, musician: Musician) -> Outcome:
    await musician.make_sure_it_is_over(attempt)
    if attempt.ended_as is not None:
        return as_ordered(attempt)
    return Outcome(Ended.LOST, reason="its shim was killed; what was left of it was ended")


async def _end_what_came_before(attempt: Playing, *, musician: Musician) -> Outcome:
    """No instrument ran; a `skip_when_command` did, when its conductor was killed."""
    await musician.make_sure_it_is_over(attempt)
    return Outcome(Ended.NEVER_RAN, reason="the conductor ended before it was started")


async def _after_a_reboot(attempt: Playing, *, musician: Musician) -> Outcome:
    """An exit line of another boot may stand for output that never reached the disk."""
    outcome = await musician.conclude(attempt)
    proved = rules_for(attempt.run.plan, attempt.num) and outcome.pass_rate >= 100.0
    if outcome.ended is Ended.OK and proved:
        return outcome
    return await _lost(attempt)
