"""The baton: the state machine that conducts all runs. Messages and times in, effects out.

Pure and deterministic: no I/O, no clock, and chance only from the seed. The same messages at the
same times give the same effects, so a day of failures is simulated in milliseconds and any failure
is replayed. Whoever hosts it carries out the effects in their order, answers every `Launch` with
exactly one `AttemptEnded`, and sends `Tick` when `next_wake` is due.

Messages that make no sense as things stand (a second cancel, the end of an attempt that is over)
change nothing.
"""

from __future__ import annotations

from random import Random
from typing import assert_never

from marianne_core.decide.dispatch import SheetEnd
from marianne_core.decide.life import Lives
from marianne_core.decide.messages import (
    AttemptEnded,
    AttemptStarted,
    CancelRun,
    Effect,
    HoldDispatch,
    InstrumentParked,
    Launch,
    Limits,
    LimitsChanged,
    Message,
    ParkInstrument,
    PauseRun,
    ResumeRun,
    RetryRun,
    RunAdded,
    RunForgotten,
    SheetRecord,
    Tick,
    UnparkInstrument,
)
from marianne_core.decide.refusals import Refusals
from marianne_core.decide.retry import conclude, give_up, judge, limit_ends
from marianne_core.decide.run_state import Run, RunView
from marianne_core.decide.scheduler import Scheduler
from marianne_core.decide.timers import RUN, Entry, Timers
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.model.waits import Wait, WaitReason

_SAME_END = 1.0
"""Seconds: the end of one limit comes out a little later for each sheet that reads it."""


class Baton:
    """Decides what starts, what is tried again and when a run is over."""

    def __init__(self, limits: Limits | None = None, seed: int = 0) -> None:
        self._scheduler = Scheduler(limits)
        self._timers = Timers(self._timer_counts)
        self._lives = Lives(self._scheduler, self._timers)
        self._refusals = Refusals()
        self._standing = False
        """The time of some run stands still."""
        self._random = Random(seed)
        self._now = 0.0

    # --- messages -------------------------------------------------------------------------------

    def handle(self, message: Message, now: float) -> list[Effect]:
        """Take in what happened; what must be done, in this order.

        `now` is in seconds; a value lower than an earlier one counts as the earlier one.
        """
        now = self._now = max(now, self._now)
        out: list[Effect] = []
        self._lives.out = out
        self._take_in(message, now)
        self._look_at_timers(now)
        self._lives.start_queued(now)
        self._launch_all(now)
        if self._scheduler.parks or self._standing:
            self._let_time_stand(now)
        return out

    def _take_in(self, message: Message, now: float) -> None:
        match message:
            case AttemptEnded():
                self._attempt_ended(message, now)
            case AttemptStarted():
                self._attempt_started(message)
            case Tick():
                pass
            case RunAdded():
                self._lives.add(message, now)
            case HoldDispatch(wait):
                self._scheduler.hold(wait)
            case LimitsChanged(limits):
                self._scheduler.set_limits(limits)
            case ParkInstrument(instrument, until, model, reason):
                self._scheduler.park(instrument, until, model=model, reason=reason)
            case UnparkInstrument(instrument, model):
                self._scheduler.unpark(instrument, model)
            case PauseRun() | ResumeRun() | CancelRun() | RetryRun() | RunForgotten():
                self._command(message, now)
            case _:
                assert_never(message)

    def _command(
        self, message: PauseRun | ResumeRun | CancelRun | RetryRun | RunForgotten, now: float
    ) -> None:
        run = self._lives.runs.get(message.run_id)
        if run is None:
            return
        match message:
            case PauseRun(_, by):
                self._lives.pause(run, by, now)
            case ResumeRun():
                self._lives.resume(run, now)
            case CancelRun(_, reason):
                self._lives.cancel(run, reason, now)
            case RetryRun(_, sheet, graph):
                self._lives.retry(run, sheet, now, graph)
            case RunForgotten():
                self._lives.forget(run)

    # --- attempts -------------------------------------------------------------------------------

    def _attempt_started(self, message: AttemptStarted) -> None:
        run = self._living_run(message.run_id, message.num, message.attempt)
        if run is not None:
            run.living[message.num].deadline = message.deadline
            self._timers.add(message.deadline, message.run_id, message.num)

    def _attempt_ended(self, message: AttemptEnded, now: float) -> None:
        run = self._living_run(message.run_id, message.num, message.attempt)
        if run is None:
            return
        num, outcome, closing = message.num, message.outcome, run.closing
        record = run.record(num)
        if outcome.limit is not None:
            self._park(run, num, outcome, now)
        elif outcome.ended is Ended.OK:
            self._refusals.answered((run.tasks[num].instrument, run.tasks[num].model))
        if closing is not None and closing.final is not None:
            ruling = conclude(record, outcome, closing.reason)
        else:
            ruling = judge(record, outcome, run.policy, now, self._random)
            if closing is not None:
                ruling = give_up(ruling, outcome, closing.reason)
        self._lives.change(run, num, ruling.record)
        blocked = self._scheduler.report(
            run.run_id, num, ruling.end, now, not_before=ruling.record.not_before
        )
        self._lives.block(run, blocked)
        if ruling.end is SheetEnd.FAILED and run.policy.fail_fast:
            self._lives.fail_fast(run, num, now)
        if ruling.pause is not None and ruling.end is SheetEnd.RETRY:
            self._lives.pause(run, f"sheet {num}", now, f"sheet {num} was {ruling.pause}")
        self._lives.settle(run, now)

    def _park(self, run: Run, num: int, outcome: Outcome, now: float) -> None:
        """Leave the instrument and model alone that refused a sheet; the latest end counts."""
        assert outcome.limit is not None
        task = run.tasks[num]
        before = self._refusals.refused(
            (task.instrument, task.model), run.living[num].launched, now
        )
        until = limit_ends(outcome.limit, before, run.policy, now)
        if not self._scheduler.is_parked(task.instrument, task.model, until - _SAME_END):
            self._scheduler.park(task.instrument, until, model=task.model)
            self._lives.out.append(
                InstrumentParked(
                    run.run_id,
                    num,
                    task.instrument,
                    task.model,
                    until,
                    outcome.limit.by_clock,
                    outcome.reason,
                )
            )

    def _living_run(self, run_id: int, num: int, attempt: int) -> Run | None:
        """The run, if this attempt of it is alive."""
        run = self._lives.runs.get(run_id)
        if run is None or num not in run.living or run.record(num).attempt != attempt:
            return None
        return run

    def _timer_counts(self, entry: Entry) -> bool:
        when, run_id, num = entry
        run = self._lives.runs.get(run_id)
        if run is None:
            return False
        if num == RUN:
            return run.ends_at == when
        living = run.living.get(num)
        return living is not None and living.killed is None and living.deadline == when

    def _look_at_timers(self, now: float) -> None:
        while (entry := self._timers.due(now)) is not None:
            _, run_id, num = entry
            run = self._lives.runs[run_id]
            if num == RUN:
                self._lives.time_out(run, now)
            else:
                seconds = run.tasks[num].timeout
                reason = f"E001: it ran longer than its timeout of {seconds:g} s"
                self._lives.kill(run, num, Ended.TIMEOUT, reason)

    def _launch_all(self, now: float) -> None:
        while (dispatch := self._scheduler.next(now)) is not None:
            run = self._lives.runs[self._run_id(dispatch.job)]
            num = dispatch.num
            old = run.record(num)
            record = SheetRecord(
                status=SheetStatus.IN_PROGRESS,
                attempt=old.attempt + 1,
                retries_used=old.retries_used,
                completions_used=old.completions_used,
                lost_in_row=old.lost_in_row,
                waits_used=old.waits_used,
                alive=True,
                mode=old.mode,
            )
            self._lives.change(run, num, record)
            run.living[num].launched = now
            self._lives.out.append(Launch(run.run_id, num, record.attempt, record.mode))

    def _let_time_stand(self, now: float) -> None:
        """A limit may last for days: what waits for its end does not use up the job's timeout."""
        self._standing = False
        for run in self._lives.runs.values():
            if run.status is JobStatus.RUNNING:
                stands = self._scheduler.only_limits_hold(run.run_id)
                self._standing |= stands
                if run.counting is stands:
                    run.count(not stands, now)
                    if run.ends_at is not None:
                        self._timers.add(run.ends_at, run.run_id)

    @staticmethod
    def _run_id(job: object) -> int:
        assert isinstance(job, int)
        return job

    # --- views ----------------------------------------------------------------------------------

    def next_wake(self) -> float | None:
        """When `Tick` is due; None = not before another message."""
        times = [t for t in (self._timers.next(), self._scheduler.next_wake()) if t is not None]
        return min(times, default=None)

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler that decides every launch: to be looked at, not to be changed."""
        return self._scheduler

    def runs(self) -> list[RunView]:
        """All runs that were not forgotten, in the order they came."""
        return [run.view(self._now) for run in self._lives.runs.values()]

    def run(self, run_id: int, now: float | None = None) -> RunView | None:
        """One run, or None. `now` (None = the last message's) counts only for what has elapsed."""
        run = self._lives.runs.get(run_id)
        return None if run is None else run.view(max(self._now, now or 0.0))

    def record(self, run_id: int, num: int) -> SheetRecord:
        """A sheet as it stands. Raises KeyError for an unknown run or sheet."""
        return self._lives.runs[run_id].record(num)

    def likely(self, n: int) -> list[Launch]:
        """The next `n` launches to prepare for, in order; a guess that binds nobody."""
        found = []
        for dispatch in self._scheduler.peek(n):
            run_id = self._run_id(dispatch.job)
            record = self.record(run_id, dispatch.num)
            found.append(Launch(run_id, dispatch.num, record.attempt + 1, record.mode))
        return found

    def after(self, launch: Launch, n: int) -> list[Launch]:
        """Up to `n` launches that may follow as soon as this one's attempt ends well."""
        found = []
        for num in self._scheduler.next_after(launch.run_id, launch.num, n):
            record = self.record(launch.run_id, num)
            found.append(Launch(launch.run_id, num, record.attempt + 1, record.mode))
        return found

    def wait_of(self, run_id: int, num: int, now: float) -> Wait | None:
        """Why a sheet does not run now; None when it runs, is over, or is unknown."""
        run = self._lives.runs.get(run_id)
        if run is None or num not in run.tasks:
            return None
        record = run.record(num)
        if record.alive or record.status.terminal:
            return None
        if not run.registered or run.status is JobStatus.QUEUED:
            return self.wait_of_run(run_id)
        wait = self._scheduler.wait_of(run_id, num, now)
        if wait is not None and wait.reason is WaitReason.RETRY and record.reason:
            return Wait(wait.reason, wait.until, record.reason)
        return wait

    def wait_of_run(self, run_id: int) -> Wait | None:
        """Why a run as a whole does not go on: queued, paused; None when it does or is over."""
        run = self._lives.runs.get(run_id)
        if run is None:
            return None
        if run.status is JobStatus.QUEUED:
            return self._lives.wait_for_job_slot()
        if run.paused_by is not None and not run.status.terminal:
            return Wait(WaitReason.PAUSED, None, run.paused_by)
        return None
