"""The engine: carries the baton's effects out, and brings back what became of them.

Everything that happens goes through `tell`: a message into the baton, effects out of it, each of
which becomes a row in the journal, an event on the bus, a task that plays an attempt, or the end of
a tree. Nothing here decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from marianne_core.decide import messages
from marianne_core.decide.baton import Baton
from marianne_core.decide.messages import (
    AttemptStarted,
    Effect,
    InstrumentParked,
    Kill,
    Launch,
    Message,
    RunChanged,
    SheetChanged,
    SheetRecord,
    SheetsChanged,
)
from marianne_core.model.clock import Clock
from marianne_core.model.events import Event
from marianne_core.model.moments import moment_words
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.model.waits import Wait, WaitReason
from marianne_core.remember import changes
from marianne_core.remember.changes import Change, LimitMet, Sync
from marianne_core.remember.journal import Journal
from marianne_core.remember.rows import LimitRow
from marianne_core.run import narrate
from marianne_core.run.active import ActiveRun
from marianne_core.run.limit_book import KnownLimit, LimitBook
from marianne_core.run.musician import AttemptLog, Musician
from marianne_core.run.shortages import Shortages
from marianne_core.run.skips import may_be_skipped
from marianne_core.run.stage import Stage
from marianne_core.watch.bus import EventBus

_LONGEST_SLEEP = 60.0
"""Seconds; the loop's timers stand still while the machine is suspended, the boot clock does not."""

_SAVE_ELAPSED = 60.0
"""Seconds after which a timer that fires also stores what runs have used of their timeouts."""


class Engine:
    """Runs of all jobs, from launch orders to journal rows. Belongs to one event loop."""

    def __init__(
        self,
        baton: Baton,
        *,
        clock: Clock,
        journal: Journal,
        bus: EventBus,
        musician: Callable[[AttemptLog], Musician],
    ) -> None:
        self._baton = baton
        self._clock = clock
        self._journal = journal
        self._bus = bus
        self._runs: dict[int, ActiveRun] = {}
        self._limits = LimitBook(clock)
        self._shortages = Shortages(self.hold, self.release)
        self.stage = Stage(
            self,
            self._runs,
            baton,
            clock=clock,
            journal=journal,
            musician=musician,
            shortages=self._shortages,
        )
        """The attempts that are alive."""
        self._holds: dict[str, Wait] = {}
        self._told_of_disk = False
        """The runs' events say that a disk holds everything up."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._elapsed_saved = clock.now()
        self._leaving = False
        self.idle = asyncio.Event()
        """Set while no run is active."""
        self.idle.set()

    # --- runs -----------------------------------------------------------------------------------

    @property
    def runs(self) -> dict[int, ActiveRun]:
        """Runs in memory by run id: active, paused, or lately ended. Not to be changed."""
        return self._runs

    def announce(self, run: ActiveRun, event: str, **data: object) -> None:
        """Something about a whole run that is not a change of its status."""
        rows: list[Change] = []
        happened = Event(event, run.job_id, run.number, 0, self._clock.wall(), data)
        self.publish(happened, run, rows)
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
            self.stage.forget(run_id)
            self.apply(messages.RunForgotten(run_id))

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
        if isinstance(message, AttemptStarted):
            self._announce(message, rows)
        for effect in effects:
            self._carry_out(effect, rows)
        self._set_timer()
        return rows

    def _carry_out(self, effect: Effect, rows: list[Change]) -> None:
        run = self._runs[effect.run_id]
        if isinstance(effect, InstrumentParked):
            self._parked(run, effect, rows)
        elif isinstance(effect, SheetChanged):
            self._sheet_changed(run, effect, rows)
        elif isinstance(effect, SheetsChanged):
            self._sheets_changed(run, effect, rows)
        elif isinstance(effect, Launch):
            self.stage.launch(run, effect)
        elif isinstance(effect, RunChanged):
            self._run_changed(run, effect, rows)
        elif isinstance(effect, Kill):
            self.stage.kill(effect)

    # --- effects --------------------------------------------------------------------------------

    def _sheet_changed(self, run: ActiveRun, effect: SheetChanged, rows: list[Change]) -> None:
        row = self._sheet_row(run, effect.num, effect.record)
        run.remember(effect.num, row.status, row.attempts)
        rows.append(row)
        run.asked.pop(effect.num, None)
        starts = row.status is SheetStatus.IN_PROGRESS
        if starts and effect.record.untried and may_be_skipped(run.plan, effect.num):
            run.asked[effect.num] = effect
            return
        self.publish(narrate.sheet_event(run, effect, row.at, row.not_before), run, rows)

    def _announce(self, started: AttemptStarted, rows: list[Change]) -> None:
        """Tell of a sheet that was not skipped, now that it has started."""
        run = self._runs[started.run_id]
        if (change := run.asked.pop(started.num, None)) is not None:
            self.publish(narrate.sheet_event(run, change, self._clock.wall(), None), run, rows)

    def _sheets_changed(self, run: ActiveRun, effect: SheetsChanged, rows: list[Change]) -> None:
        wall, record = self._clock.wall(), effect.record
        run.remember_all(effect.blocks, record.status)
        rows.append(
            changes.SheetsSaved(
                run.run_id,
                effect.blocks,
                record.status,
                at=wall,
                reason=record.reason,
                blocked=record.blocked,
            )
        )
        self.publish(narrate.sheets_event(run, effect, wall), run, rows)

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
            waits_used=record.waits_used,
            blocked=record.blocked,
            mode=record.mode,
            not_before=until,
        )

    def _run_changed(self, run: ActiveRun, effect: RunChanged, rows: list[Change]) -> None:
        before, run.status, run.reason = run.status, effect.status, effect.reason
        wall = self._clock.wall()
        rows.append(self._run_row(run, wall))
        self.publish(narrate.run_event(run, before, wall), run, rows)
        if effect.status is JobStatus.RUNNING:
            # Who follows it learns why nothing starts, also if others met the limit.
            for limit in self._limits.active():
                if _uses(run, limit):
                    self._tell_of_limit(run, limit, rows)
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
        now = self._clock.now()
        view = self._baton.run(run.run_id, now)
        return changes.RunSaved(
            run.run_id,
            run.status,
            at=wall,
            reason=run.reason,
            paused_by=view.paused_by if view else None,
            elapsed=view.elapsed if view else None,
            counted_at=now if view and view.counting else None,
            final=view.final if view else None,
        )

    # --- rate limits ----------------------------------------------------------------------------

    @property
    def limits(self) -> list[KnownLimit]:
        """The rate limits that hold."""
        return self._limits.active()

    def restore_limits(self, rows: Iterable[LimitRow]) -> None:
        """Park what an earlier conductor had parked."""
        for message in self._limits.restore(rows):
            self.apply(message)

    async def lift(self, limits: Sequence[KnownLimit]) -> None:
        """Use these instruments again at once; returns when that is on the disk.

        Raises StateError when it cannot be written; nothing is done then.
        """
        rows = [changes.LimitLifted(limit.instrument, limit.model) for limit in limits]
        await self._journal.commit(rows, sync=Sync.DISK)
        for limit in limits:
            if self._limits.lift(limit):
                for run in self._users_of(limit):
                    told = {"instrument": limit.name, "reason": "lifted by a person"}
                    self.announce(run, "rate_limit.cleared", **told)
                self.apply(messages.UnparkInstrument(limit.instrument, limit.model))

    def _parked(self, run: ActiveRun, effect: InstrumentParked, rows: list[Change]) -> None:
        limit = self._limits.met(effect)
        rows.append(limit)
        self._tell_of_limit(run, limit, rows, sheet=effect.num)
        for other in self._users_of(limit):
            if other is not run:
                self._tell_of_limit(other, limit, rows)

    def _tell_of_limit(
        self, run: ActiveRun, limit: LimitMet | KnownLimit, rows: list[Change], **more: object
    ) -> None:
        wall = self._clock.wall()
        data: dict[str, object] = {"instrument": limit.instrument, **more}
        if limit.model is not None:
            data["model"] = limit.model
        data["until"] = limit.until
        data["reason"] = f"parked until {moment_words(limit.until, wall)}: {limit.reason}"
        event = Event("rate_limit.active", run.job_id, run.number, 0, wall, data)
        self.publish(event, run, rows)

    def _users_of(self, limit: LimitMet | KnownLimit) -> list[ActiveRun]:
        """Runs that go on, with sheets that a limit parks."""
        return [run for run in self._runs.values() if run.status.active and _uses(run, limit)]

    def _look_at_limits(self) -> None:
        told, rows = self._limits.look_at_clock()
        for message in told:
            self.apply(message)
        if rows:
            self._journal.add(rows, sync=Sync.LAZY)

    # --- time, trouble, leaving -----------------------------------------------------------------

    def hold(self, source: str, wait: Wait) -> None:
        """Start nothing new, for this reason (recovery, a full disk), until `source` releases it."""
        self._holds[source] = wait
        self._tell_holds()

    def release(self, source: str) -> None:
        """This reason is over; others may still hold."""
        if self._holds.pop(source, None) is not None:
            self._tell_holds()

    def _tell_holds(self) -> None:
        self._tell_of_disk()
        self.apply(messages.HoldDispatch(next(iter(self._holds.values()), None)))

    def _tell_of_disk(self) -> None:
        """A disk that holds everything up stands in the events of all runs that go on."""
        held = next((w for w in self._holds.values() if w.reason is WaitReason.DISK), None)
        if self._leaving or (held is not None) is self._told_of_disk:
            return
        self._told_of_disk = held is not None
        for run in [run for run in self._runs.values() if run.status.active]:
            if held is None:
                self.announce(run, "job.released", reason="the disk can be written again")
            else:
                reason = f"{held.blocker}; nothing new starts until it can be written"
                self.announce(run, "job.held", reason=reason)

    async def leave(self) -> None:
        """Stop deciding and waiting; sheets live on. Their rows are the next conductor's."""
        self._save_elapsed()
        self._leaving = True
        if self._timer is not None:
            self._timer.cancel()
        await self.stage.leave()
        await self._shortages.close()

    def _set_timer(self) -> None:
        wake = self._baton.next_wake()
        if wake is None:
            return  # a timer that is set still finds nothing to do, once
        now = self._clock.now()
        due = min(max(wake, now), now + _LONGEST_SLEEP)
        if self._timer is not None:
            if now <= self._timer_due <= due:
                return  # it fires first and sets itself anew: cheaper than moving it each time
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(due - now, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._look_at_limits()
        self.apply(messages.Tick())
        if self._clock.now() >= self._elapsed_saved + _SAVE_ELAPSED:
            self._save_elapsed()

    def _save_elapsed(self) -> None:
        """Store how much of their time the runs have used: a kill must not lose all of it."""
        self._elapsed_saved = self._clock.now()
        wall = self._clock.wall()
        rows = [self._run_row(run, wall) for run in self._runs.values() if run.status.active]
        if rows:
            self._journal.add(rows, sync=Sync.LAZY)

    def publish(self, event: Event, run: ActiveRun, rows: list[Change]) -> None:
        """Show an event to everybody, and add its row to `rows`."""
        rows.append(changes.EventHappened(run.run_id, event))
        self._bus.publish(event)


def _uses(run: ActiveRun, limit: LimitMet | KnownLimit) -> bool:
    """Whether the limit parks sheets of the run, those included that are over."""
    return any(
        sheet.instrument == limit.instrument and limit.model in (None, sheet.model)
        for sheet in run.plan.sheets
    )
