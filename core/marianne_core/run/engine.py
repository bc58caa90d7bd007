"""The engine: carries the baton's effects out, and brings back what became of them.

Everything that happens goes through `tell`: a message into the baton, effects out of it, each of
which becomes a row in the journal, an event on the bus, a task that plays an attempt, or the end of
a tree. Nothing here decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from marianne_core.decide import messages
from marianne_core.decide.baton import Baton
from marianne_core.decide.messages import (
    Effect,
    Kill,
    Launch,
    Message,
    RunChanged,
    SheetChanged,
    SheetRecord,
)
from marianne_core.model.clock import Clock
from marianne_core.model.errors import StateError
from marianne_core.model.events import Event
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.waits import Wait, WaitReason
from marianne_core.remember import changes
from marianne_core.remember.changes import Change, Sync
from marianne_core.remember.journal import Journal
from marianne_core.run import narrate
from marianne_core.run.active import ActiveRun, LastAttempt, Playing
from marianne_core.run.intents import Intents
from marianne_core.run.musician import Musician
from marianne_core.run.processes import boot_id
from marianne_core.run.recovery import (
    Adopt,
    Exited,
    Finding,
    HeldByStranger,
    Lost,
    MustEnd,
    OtherBoot,
)
from marianne_core.watch.bus import EventBus

_LONGEST_SLEEP = 60.0
"""Seconds; the loop's timers stand still while the machine is suspended, the boot clock does not."""

_WORDS: dict[type[Finding], str] = {
    Adopt: "it runs on and was taken over",
    Exited: "it ended while no conductor was there",
    HeldByStranger: "held by a process this conductor cannot see",
    MustEnd: "its shim was killed; what is left of it is ended",
    Lost: "nobody knows how it ended",
    OtherBoot: "the machine was started anew since",
}

_log = logging.getLogger(__name__)


class Engine:
    """Runs of all jobs, from launch orders to journal rows. Belongs to one event loop."""

    def __init__(
        self,
        baton: Baton,
        *,
        clock: Clock,
        journal: Journal,
        bus: EventBus,
        musician: Callable[[Engine], Musician],
    ) -> None:
        self._baton = baton
        self._clock = clock
        self._journal = journal
        self._bus = bus
        self.musician = musician(self)
        """Plays the attempts."""
        self._boot_id = boot_id()
        self._intents = Intents(journal, baton.likely, baton.after, self._intent)
        self._runs: dict[int, ActiveRun] = {}
        self._playing: dict[tuple[int, int], Playing] = {}
        self._early_kills: dict[tuple[int, int], Kill] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._holds: dict[WaitReason, Wait] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._leaving = False
        self.idle = asyncio.Event()
        """Set while no run is active."""
        self.idle.set()

    # --- runs -----------------------------------------------------------------------------------

    @property
    def runs(self) -> dict[int, ActiveRun]:
        """Runs in memory by run id: active, paused, or lately ended. Not to be changed."""
        return self._runs

    @property
    def living(self) -> int:
        """Attempts that are being played."""
        return len(self._playing)

    def announce(self, run: ActiveRun, event: str, **data: object) -> None:
        """Something about a whole run that is not a change of its status."""
        rows: list[Change] = []
        happened = Event(event, run.job_id, run.number, 0, self._clock.wall(), data)
        self._publish(happened, run, rows)
        self._journal.add(rows, sync=Sync.LAZY)

    def add(self, run: ActiveRun, message: messages.RunAdded) -> None:
        """Take a run on, whose row is committed already."""
        self._runs[run.run_id] = run
        self.apply(message)

    def correct(self, run: ActiveRun, num: int, record: SheetRecord) -> None:
        """The store shows a sheet otherwise than it stands: write it down as it is."""
        self._journal.add([self._sheet_row(run, num, record)], sync=Sync.LAZY)

    def wait_of_run(self, run_id: int) -> Wait | None:
        """Why a run does not start; None when it has, is over, or nobody knows it."""
        return self._baton.wait_of_run(run_id) if run_id in self._runs else None

    def wait_of(self, run_id: int, num: int) -> Wait | None:
        """Why a sheet does not run now; None when it runs, is over, or nobody knows the run."""
        if run_id not in self._runs:
            return None
        return self._baton.wait_of(run_id, num, self._clock.now())

    def forget(self, run_id: int) -> None:
        """Let go of a run that is over (it stays in the store)."""
        run = self._runs.get(run_id)
        if run is not None and run.status.terminal:
            del self._runs[run_id]
            self._close_unused_intents(run_id)
            self.apply(messages.RunForgotten(run_id))

    def _close_unused_intents(self, run_id: int) -> None:
        unused = Outcome(Ended.NEVER_RAN, reason="the run ended before it was needed")
        wall = self._clock.wall()
        rows = [
            changes.AttemptFinished(run_id, num, attempt, at=wall, outcome=unused)
            for _, num, attempt in self._intents.forget(run_id)
        ]
        if rows:
            self._journal.add(rows, sync=Sync.LAZY)

    # --- the one way in -------------------------------------------------------------------------

    def apply(self, message: Message) -> None:
        """Tell the baton, and leave the writing to the journal."""
        if rows := self.tell(message):
            self._journal.add(rows, sync=Sync.LAZY)

    async def command(self, message: Message) -> None:
        """Tell the baton a person's command; returns when what follows at once is on the disk.

        Raises StateError when that cannot be written now; it is kept, and written when it can.
        """
        self.apply(message)
        await self._journal.flush()

    def tell(self, message: Message) -> list[Change]:
        """Give the baton a message and carry its effects out; returns the rows to be written."""
        if self._leaving:
            return []
        effects = self._baton.handle(message, self._clock.now())
        rows: list[Change] = []
        for effect in effects:
            self._carry_out(effect, rows)
        self._set_timer()
        return rows

    def _carry_out(self, effect: Effect, rows: list[Change]) -> None:
        run = self._runs[effect.run_id]
        if isinstance(effect, SheetChanged):
            self._sheet_changed(run, effect, rows)
        elif isinstance(effect, Launch):
            self._launch(run, effect)
        elif isinstance(effect, RunChanged):
            self._run_changed(run, effect, rows)
        else:
            self._kill(effect)

    # --- effects --------------------------------------------------------------------------------

    def _sheet_changed(self, run: ActiveRun, effect: SheetChanged, rows: list[Change]) -> None:
        row = self._sheet_row(run, effect.num, effect.record)
        run.remember(effect.num, row.status, row.attempts)
        rows.append(row)
        self._publish(narrate.sheet_event(run, effect, row.at, row.not_before), run, rows)

    def _sheet_row(self, run: ActiveRun, num: int, record: SheetRecord) -> changes.SheetSaved:
        wall = self._clock.wall()
        until = None
        if record.not_before is not None:
            until = wall + record.not_before - self._clock.now()
        return changes.SheetSaved(
            run.run_id,
            num,
            record.status,
            at=wall,
            reason=record.reason,
            attempts=record.attempt,
            retries_used=record.retries_used,
            completions_used=record.completions_used,
            lost_in_row=record.lost_in_row,
            blocked=record.blocked,
            mode=record.mode,
            not_before=until,
        )

    def _run_changed(self, run: ActiveRun, effect: RunChanged, rows: list[Change]) -> None:
        before, run.status, run.reason = run.status, effect.status, effect.reason
        wall = self._clock.wall()
        rows.append(self._run_row(run, wall))
        self._publish(narrate.run_event(run, before, wall), run, rows)
        if effect.status.active:
            self.idle.clear()
        elif not any(other.status.active for other in self._runs.values()):
            self.idle.set()
        if effect.status.terminal:
            run.over.set()
            asyncio.get_running_loop().call_soon(self.forget, run.run_id)
        else:
            run.over.clear()

    def _run_row(self, run: ActiveRun, wall: float) -> Change:
        view = self._baton.run(run.run_id)
        return changes.RunSaved(
            run.run_id,
            run.status,
            at=wall,
            reason=run.reason,
            paused_by=view.paused_by if view else None,
            elapsed=view.elapsed if view else None,
        )

    def _launch(self, run: ActiveRun, effect: Launch) -> None:
        record = self._baton.record(run.run_id, effect.num)
        untried = not (record.retries_used or record.completions_used or record.lost_in_row)
        token = self._intents.token_of(effect)
        attempt = Playing(run, effect.num, effect.attempt, effect.mode, token, untried)
        self._play(attempt, self.musician.play)

    def _kill(self, effect: Kill) -> None:
        key = (effect.run_id, effect.num)
        attempt = self._playing.get(key)
        if attempt is None:
            # A run that is taken over may be told to end before its attempts are taken up.
            self._early_kills[key] = effect
            return
        if attempt.number != effect.attempt:
            return
        ending = asyncio.create_task(
            self.musician.end(attempt, effect.ended, effect.reason),
            name=f"end {effect.run_id}.{effect.num}.{effect.attempt}",
        )
        self._endings.add(ending)
        ending.add_done_callback(self._ending_done)

    def _ending_done(self, ending: asyncio.Task[None]) -> None:
        self._endings.discard(ending)
        if not ending.cancelled() and (error := ending.exception()):
            _log.error("engine.ending_failed", extra={"what": ending.get_name()}, exc_info=error)

    # --- attempts -------------------------------------------------------------------------------

    def take_up(
        self, attempt: Playing, part: Callable[[Playing], Awaitable[Outcome]], finding: Finding
    ) -> None:
        """Go on with an attempt of an earlier conductor; `part` is what is left of it to do."""
        run = attempt.run
        # Known before anything is told: a deadline that is past orders its end at once.
        self._playing[run.run_id, attempt.num] = attempt
        if isinstance(finding, Adopt | HeldByStranger):
            attempt.shim_alive = True
            deadline = attempt.deadline
            if not deadline:
                deadline = self._clock.now() + run.plan.sheet(attempt.num).timeout
            message = messages.AttemptStarted(run.run_id, attempt.num, attempt.number, deadline)
            self.apply(message)
        self.note(attempt, "sheet.recovered", reason=_WORDS[type(finding)])
        self._play(attempt, part)

    def _play(self, attempt: Playing, part: Callable[[Playing], Awaitable[Outcome]]) -> None:
        self._playing[attempt.run.run_id, attempt.num] = attempt
        attempt.task = asyncio.create_task(self._to_its_end(attempt, part))
        early = self._early_kills.pop((attempt.run.run_id, attempt.num), None)
        if early is not None:
            self._kill(early)

    async def _to_its_end(
        self, attempt: Playing, part: Callable[[Playing], Awaitable[Outcome]]
    ) -> None:
        try:
            outcome = await part(attempt)
        except StateError as error:
            # The intent could not be stored, so nothing was started; the journal says when it can.
            outcome = Outcome(Ended.NEVER_RAN, reason=str(error))
        except Exception as error:
            # Whatever raised: the sheet must not stay in progress, nor its processes alive.
            _log.exception(
                "engine.attempt_failed", extra={"run_id": attempt.run.run_id, "sheet": attempt.num}
            )
            try:
                await self.musician.make_sure_it_is_over(attempt)
            except Exception:
                _log.exception("engine.tree_not_ended", extra={"sheet": attempt.num})
            outcome = Outcome(
                Ended.FAILED,
                code="E999",
                reason=f"the conductor failed: {type(error).__name__}: {error}",
                retriable=False,
            )
        del self._playing[attempt.run.run_id, attempt.num]
        self._ended(attempt, outcome)

    def _ended(self, attempt: Playing, outcome: Outcome) -> None:
        run = attempt.run
        self._intents.used(run.run_id, attempt.num, attempt.number)
        if attempt.report is not None:
            run.reports[attempt.num] = attempt.report
        rows: list[Change] = [
            changes.AttemptFinished(
                run.run_id,
                attempt.num,
                attempt.number,
                at=self._clock.wall(),
                outcome=outcome,
                results=attempt.report.results if attempt.report else (),
            )
        ]
        if run.plan.config.sheet.skip_when:
            run.lasts[attempt.num] = LastAttempt(
                attempt.number, outcome.exit_code, outcome.pass_rate
            )
        run.ending = (attempt.num, outcome)
        rows += self.tell(messages.AttemptEnded(run.run_id, attempt.num, attempt.number, outcome))
        run.ending = None
        self._journal.add(rows, sync=Sync.LAZY)

    async def intend(self, attempt: Playing) -> None:
        """The intent to start the attempt is in the store when this returns (`AttemptLog`)."""
        attempt.intended = True
        await self._intents.committed(attempt.run.run_id, attempt.num, attempt.number)
        if attempt.run.plan.sheets[attempt.num - 1].deps:
            # What it builds on is in the store before it may change it.
            await self._journal.commit([], sync=Sync.WRITE)

    def _intent(self, launch: Launch, token: str) -> changes.AttemptIntended:
        sheet = self._runs[launch.run_id].plan.sheets[launch.num - 1]
        return changes.AttemptIntended(
            launch.run_id,
            launch.num,
            launch.attempt,
            at=self._clock.wall(),
            token=token,
            boot_id=self._boot_id,
            instrument=sheet.instrument,
            model=sheet.model,
            mode=launch.mode,
        )

    def started(self, attempt: Playing) -> None:
        """An attempt's process exists (`AttemptLog`)."""
        run = attempt.run
        attempt.deadline = self._clock.now() + run.plan.sheets[attempt.num - 1].timeout
        row = changes.AttemptBegun(
            run.run_id,
            attempt.num,
            attempt.number,
            at=attempt.started_at,
            deadline=attempt.deadline,
            argv_digest=attempt.argv_digest,
            prompt_hash=attempt.prompt_hash,
        )
        message = messages.AttemptStarted(run.run_id, attempt.num, attempt.number, attempt.deadline)
        self._journal.add([row, *self.tell(message)], sync=Sync.WRITE)

    def note(self, attempt: Playing, event: str, **data: object) -> None:
        """Something worth a line in the journal of events (`AttemptLog`)."""
        rows: list[Change] = []
        happened = Event(
            event,
            attempt.run.job_id,
            attempt.run.number,
            attempt.num,
            self._clock.wall(),
            {"attempt": attempt.number, **data},
        )
        self._publish(happened, attempt.run, rows)
        self._journal.add(rows, sync=Sync.LAZY)

    # --- time, trouble, leaving -----------------------------------------------------------------

    def hold(self, reason: WaitReason, blocker: str = "") -> None:
        """Start nothing new, for this reason (recovery, a full disk) until `release`."""
        self._holds[reason] = Wait(reason, blocker=blocker)
        self._tell_holds()

    def release(self, reason: WaitReason) -> None:
        """This reason is over; others may still hold."""
        if self._holds.pop(reason, None) is not None:
            self._tell_holds()

    def _tell_holds(self) -> None:
        self.apply(messages.HoldDispatch(next(iter(self._holds.values()), None)))

    async def leave(self) -> None:
        """Stop deciding and waiting; sheets live on. Their rows are the next conductor's."""
        wall = self._clock.wall()
        for run in self._runs.values():
            if run.status.active:
                self._journal.add([self._run_row(run, wall)], sync=Sync.LAZY)
        self._leaving = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [p.task for p in self._playing.values() if p.task is not None]
        tasks += self._endings
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.musician.close()

    def _set_timer(self) -> None:
        wake = self._baton.next_wake()
        if wake is None:
            return  # a timer that is set still finds nothing to do, once
        due = min(max(wake, self._clock.now()), self._clock.now() + _LONGEST_SLEEP)
        if self._timer is not None:
            if self._timer_due <= due:
                return  # it fires first and sets itself anew: cheaper than moving it each time
            self._timer.cancel()
        self._timer_due = due
        delay = due - self._clock.now()
        self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.apply(messages.Tick())

    def _publish(self, event: Event, run: ActiveRun, rows: list[Change]) -> None:
        rows.append(changes.EventHappened(run.run_id, event))
        self._bus.publish(event)
