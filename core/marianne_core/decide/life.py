"""The life of runs: waiting for a job slot, starting, pausing, ending, being opened again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from marianne_core.decide.blocks import blocks_of, count, joined
from marianne_core.decide.dispatch import Blocked
from marianne_core.decide.graph import SheetGraph
from marianne_core.decide.messages import (
    PRISTINE,
    Effect,
    Kill,
    RunAdded,
    RunChanged,
    SheetChanged,
    SheetRecord,
    SheetsChanged,
)
from marianne_core.decide.records import OVER, Chosen, Kind, is_bare
from marianne_core.decide.retry import LOST_LIMIT
from marianne_core.decide.run_state import Closing, Run
from marianne_core.decide.scheduler import Scheduler
from marianne_core.decide.timers import Timers
from marianne_core.model.outcome import Ended
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.model.waits import Wait, WaitReason

_UNSETTLED = frozenset(
    {
        SheetStatus.READY,
        SheetStatus.DISPATCHED,
        SheetStatus.IN_PROGRESS,
        SheetStatus.FERMATA,
    }
)
"""Statuses that mean nothing without a living attempt; such a sheet is pending again."""


MANY = 64
"""From so many sheets on those that are alike are changed, told and stored at once."""


class Lives:
    """All runs. What happens to them is appended to `out`."""

    def __init__(self, scheduler: Scheduler, timers: Timers) -> None:
        self.runs: dict[int, Run] = {}
        self.out: list[Effect] = []
        self._scheduler = scheduler
        self._timers = timers
        self._queue: dict[int, None] = {}
        """Runs that wait for a job slot, in order."""
        self._holding = 0
        """Taken job slots."""

    # --- changes that are seen ------------------------------------------------------------------

    def change(self, run: Run, num: int, record: SheetRecord) -> None:
        """Replace a sheet's record and say so."""
        run.put(num, record)
        self.out.append(
            SheetChanged(run.run_id, num, record, reason=record.reason, until=record.not_before)
        )

    def change_all(
        self, run: Run, sheets: Chosen, become: Callable[[SheetRecord], SheetRecord]
    ) -> None:
        """Replace the records of some sheets and say so; what is the same for many, at once.

        `become` makes of a record that says nothing of its own one that does not either.
        """
        alike = [(block, record) for block, record in sheets.shared if is_bare(record)]
        if count(block for block, _ in alike) < MANY:
            for num in sheets.nums():
                self.change(run, num, become(run.record(num)))
            return
        rest = Chosen(sheets.own, [item for item in sheets.shared if not is_bare(item[1])])
        for num in rest.nums():
            self.change(run, num, become(run.record(num)))
        together: dict[SheetRecord, list[range]] = {}
        for block, record in alike:
            together.setdefault(become(record), []).append(block)
        for record, parts in together.items():
            blocks = joined(parts)
            run.put_all(blocks, record)
            self.out.append(SheetsChanged(run.run_id, tuple(blocks), record))

    def enter(self, run: Run, status: JobStatus, reason: str, now: float) -> None:
        """Give a run a status and say so."""
        self._holding -= run.holds_slot
        run.enter(status, reason, now)
        self._holding += run.holds_slot
        if run.ends_at is not None:
            self._timers.add(run.ends_at, run.run_id)
        self.out.append(RunChanged(run.run_id, status, reason))

    def block(self, run: Run, blocked: Iterable[Blocked]) -> None:
        """Skip the sheets that can never run."""
        by_root: dict[int, list[range]] = {}
        for item in blocked:
            by_root.setdefault(item.by, []).append(item.sheets)
        for root, blocks in by_root.items():
            sheets = run.records.choose((Kind.OPEN,), within=blocks)
            self._stop_sheets(run, sheets, SheetStatus.SKIPPED, f"blocked by sheet {root}")

    # --- beginning ------------------------------------------------------------------------------

    def add(self, message: RunAdded, now: float) -> None:
        """A run begins, or is taken over."""
        if message.run_id in self.runs:
            return
        run = self.runs[message.run_id] = Run(message)
        if message.ended is not None:
            run.enter(message.ended, "", now)
            return
        self._take_over(run)
        if message.start_sheet is not None:
            self._skip_before(run, message.start_sheet)
        if message.closing is not None:
            self._end_again(run, Closing(message.reason, message.closing), now)
            return
        if run.paused_by is not None:
            status = JobStatus.PAUSING if run.living else JobStatus.PAUSED
            self.enter(run, status, f"paused by {run.paused_by}", now)
            self._register(run, now)
        elif run.living:
            self._start(run, now)
        else:
            self._enqueue(run, now)
        self.settle(run, now)

    def _end_again(self, run: Run, closing: Closing, now: float) -> None:
        """Go on ending a run that an earlier conductor was ending."""
        run.paused_by = None
        if run.living:
            self._register(run, now)  # what lives holds its slots until it is gone
        if not run.impossible:
            self.close(run, closing, now)

    def start_queued(self, now: float) -> None:
        """Start the runs for which there are job slots, in their order."""
        while self._queue and self._holding < self._scheduler.limits.max_concurrent_jobs:
            run_id = next(iter(self._queue))
            del self._queue[run_id]
            self._start(self.runs[run_id], now)
            self.settle(self.runs[run_id], now)

    def wait_for_job_slot(self) -> Wait:
        """Why a queued run waits."""
        most = self._scheduler.limits.max_concurrent_jobs
        return Wait(WaitReason.QUEUED, None, f"{self._holding} of {most}")

    def _enqueue(self, run: Run, now: float) -> None:
        self._queue[run.run_id] = None
        if len(self._queue) == 1 and self._holding < self._scheduler.limits.max_concurrent_jobs:
            return  # it starts at once, within this message
        self.enter(run, JobStatus.QUEUED, "waits for a free job slot", now)

    def _start(self, run: Run, now: float) -> None:
        self.enter(run, JobStatus.RUNNING, "", now)
        if run.registered:
            self._scheduler.hold_job(run.run_id, None, now)
        else:
            self._register(run, now)

    def _register(self, run: Run, now: float) -> None:
        """Give the sheets to the scheduler, in the place of an earlier registration."""
        graph, run.graph = run.graph, None
        records = run.records
        failed = [
            *records.choose((Kind.FAILED,)).blocks(),
            *records.choose((Kind.BLOCKED,)).blocks(),
        ]
        unsettled = records.unsettled()
        try:
            blocked = self._scheduler.register(
                run.run_id,
                graph if graph is not None else run.tasks.values(),
                now=now,
                policy=run.policy,
                completed=records.choose((Kind.DONE,)).blocks(),
                failed=failed,  # the real ones first
                running=list(run.living),
                not_before={n: r.not_before for n, r in unsettled if r.not_before is not None},
                wait=_paused(run),
                last_start=run.last_start,
                last_end=run.last_end,
            )
        except ValueError as error:  # a plan should have refused it; nothing may hang because of it
            run.impossible = True
            self.close(run, Closing(str(error), JobStatus.FAILED), now)
            return
        run.registered = True
        self.block(run, blocked)

    def _take_over(self, run: Run) -> None:
        """Make sense of what an earlier conductor left behind."""
        for num, record in run.records.unsettled():
            if record.alive and record.status is not SheetStatus.IN_PROGRESS:
                self.change(run, num, replace(record, status=SheetStatus.IN_PROGRESS))
            elif record.status in _UNSETTLED and not record.alive:
                self.change(run, num, replace(record, status=SheetStatus.PENDING))
        failed = run.records.first_failed() if run.policy.fail_fast else None
        if failed is not None and not any(run.records.choose((Kind.OPEN,))):
            run.closing = Closing(f"fail_fast: sheet {failed[0]} failed", None)

    def _skip_before(self, run: Run, start: int) -> None:
        """Skip the sheets before the first wanted one, except those that were wanted since."""
        shared = run.records.choose((Kind.OPEN,), within=(range(start),)).shared
        untouched = Chosen([], [item for item in shared if item[1] is PRISTINE])
        skipped = SheetRecord(status=SheetStatus.SKIPPED, reason=f"before --start-sheet {start}")
        self.change_all(run, untouched, lambda _: skipped)

    # --- pausing --------------------------------------------------------------------------------

    def pause(self, run: Run, by: str, now: float, reason: str = "") -> None:
        """Start nothing more; PAUSED when the last living attempt has ended."""
        if run.status not in (JobStatus.RUNNING, JobStatus.QUEUED):
            return
        self._queue.pop(run.run_id, None)
        run.paused_by = by
        self._scheduler.hold_job(run.run_id, _paused(run), now)
        status = JobStatus.PAUSING if run.living else JobStatus.PAUSED
        self.enter(run, status, reason or f"paused by {by}", now)

    def resume(self, run: Run, now: float) -> None:
        """Go on with a paused run; open a failed or cancelled one again."""
        if run.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            self.retry(run, None, now)
            return
        if run.status not in (JobStatus.PAUSING, JobStatus.PAUSED):
            return
        run.paused_by = None
        for num, record in run.records.unsettled():
            if record.lost_in_row >= LOST_LIMIT:
                self.change(run, num, replace(record, lost_in_row=0))
        if run.status is JobStatus.PAUSING or (run.registered and self._slot_is_free()):
            self.enter(run, JobStatus.RUNNING, "", now)
            self._scheduler.hold_job(run.run_id, None, now)
        else:
            self._enqueue(run, now)
        self.settle(run, now)

    def _slot_is_free(self) -> bool:
        return not self._queue and self._holding < self._scheduler.limits.max_concurrent_jobs

    # --- ending ---------------------------------------------------------------------------------

    def cancel(self, run: Run, reason: str, now: float) -> None:
        """End all trees, then the run, which is CANCELLED."""
        if not run.status.terminal and run.status is not JobStatus.CANCELLING:
            self.close(run, Closing(reason, JobStatus.CANCELLED), now)

    def time_out(self, run: Run, now: float) -> None:
        """The job's own timeout: end all trees, then the run, which is FAILED."""
        if run.status in (JobStatus.RUNNING, JobStatus.PAUSING):
            seconds = run.policy.job_timeout or 0.0
            reason = f"E001: the job ran longer than its timeout of {seconds:g} s"
            self.close(run, Closing(reason, JobStatus.FAILED), now)

    def fail_fast(self, run: Run, num: int, now: float) -> None:
        """After a failed sheet nothing new starts; what runs may end."""
        if run.closing is None and run.rest:
            self.close(run, Closing(f"fail_fast: sheet {num} failed", None), now)

    def close(self, run: Run, closing: Closing, now: float) -> None:
        """Start nothing more; with a final status, end what lives too."""
        run.closing = closing
        self._queue.pop(run.run_id, None)
        self._scheduler.withdraw(run.run_id)
        stopped = SheetStatus.SKIPPED if closing.final is None else SheetStatus.CANCELLED
        self._stop_sheets(run, run.records.choose((Kind.OPEN,)), stopped, closing.reason)
        if closing.final is None:
            return
        for num in run.living:
            self.kill(run, num, Ended.CANCELLED, closing.reason)
        if run.living:
            self.enter(run, JobStatus.CANCELLING, closing.reason, now)
        self.settle(run, now)

    def kill(self, run: Run, num: int, ended: Ended, reason: str) -> None:
        """Order the end of a living attempt, once; a cancel also follows a timeout, which spares an
        instrument that is done and is validated."""
        living = run.living[num]
        if living.killed is None or (living.killed, ended) == (Ended.TIMEOUT, Ended.CANCELLED):
            living.killed = ended
            self.out.append(Kill(run.run_id, num, run.record(num).attempt, ended, reason))

    def settle(self, run: Run, now: float) -> None:
        """After a change: end the run when all is over, or let it come to rest."""
        if run.status.terminal or run.living:
            return
        if not run.rest:
            self._end(run, now)
        elif run.status is JobStatus.PAUSING:
            self.enter(run, JobStatus.PAUSED, run.reason, now)

    def forget(self, run: Run) -> None:
        """Drop a run that is over."""
        if run.status.terminal:
            del self.runs[run.run_id]

    def _end(self, run: Run, now: float) -> None:
        self._queue.pop(run.run_id, None)
        self._scheduler.deregister(run.run_id)
        run.registered = False
        if run.closing is not None and run.closing.final is not None:
            self.enter(run, run.closing.final, run.closing.reason, now)
        elif run.clean:
            self.enter(run, JobStatus.COMPLETED, "", now)
        else:
            failed = run.records.first_failed()
            reason = "" if failed is None else f"sheet {failed[0]}: {failed[1].reason}"
            self.enter(run, JobStatus.FAILED, reason, now)

    def _stop_sheets(self, run: Run, sheets: Chosen, status: SheetStatus, reason: str) -> None:
        """End sheets that do not live, without their having run."""
        blocked = status is SheetStatus.SKIPPED

        def stopped(record: SheetRecord) -> SheetRecord:
            return replace(record, status=status, blocked=blocked, not_before=None, reason=reason)

        self.change_all(run, sheets, stopped)

    # --- again ----------------------------------------------------------------------------------

    def retry(
        self, run: Run, sheet: int | None, now: float, graph: SheetGraph | None = None
    ) -> None:
        """Run sheets again: all that went wrong, or one and everything downstream of it."""
        if run.status is JobStatus.CANCELLING or run.impossible:
            return
        run.graph = run.graph or graph
        if sheet is None:
            again = run.records.choose((Kind.FAILED, Kind.BLOCKED))
        elif sheet in run.tasks:
            try:
                run.graph = run.graph or SheetGraph(run.tasks.values())
            except ValueError:
                return  # it can never run
            downstream = run.graph.downstream(sheet)
            again = run.records.choose((Kind.OPEN, *OVER), within=downstream)
        else:
            return
        if not any(again):
            return
        self.change_all(run, _touched(run, again), _to_run_again)
        if run.status.terminal:
            run.begin_again()
            self._enqueue(run, now)
            return
        run.closing = None
        if run.registered:
            self._register(run, now)
        self.settle(run, now)


def _touched(run: Run, sheets: Chosen) -> Chosen:
    """Those to which something happened already."""

    def touched(record: SheetRecord) -> bool:
        return record.attempt > 0 or record.status is not SheetStatus.PENDING

    own = blocks_of(num for block in sheets.own for num in block if touched(run.record(num)))
    return Chosen(own, [item for item in sheets.shared if touched(item[1])])


def _to_run_again(record: SheetRecord) -> SheetRecord:
    return SheetRecord(attempt=record.attempt, reason="to run again")


def _paused(run: Run) -> Wait | None:
    return None if run.paused_by is None else Wait(WaitReason.PAUSED, None, run.paused_by)
