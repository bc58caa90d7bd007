"""Runs that cannot be read or planned any more: kept for a person, and ended when he says so.

The profile of an instrument may be gone, or a newer version understands the score otherwise. Such
a run waits: its sheets that live go on, and are taken up when the run can be planned again. Without
a plan nothing of it can be played, but it can be cancelled.
"""

from __future__ import annotations

import asyncio
import logging

from marianne_core.model.clock import Clock
from marianne_core.model.events import Event
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.remember import changes
from marianne_core.remember.changes import Change, Sync
from marianne_core.remember.journal import Journal
from marianne_core.remember.rows import AttemptRow, RunRow, SheetRow
from marianne_core.run import restore
from marianne_core.run.attempt_files import AttemptFiles
from marianne_core.run.recovery import Adopt, Finding, HeldByStranger, MustEnd, never_ran
from marianne_core.run.restore import SetAside, Shared
from marianne_core.run.system_errors import when_there_are_means
from marianne_core.run.tree import SharedScans, Tree
from marianne_core.watch.bus import EventBus

_AGAIN_AFTER = 1.0
"""Seconds until sheets that nobody waits for are looked at again."""

_WAITS = "it ended, or never began; its run goes on from there when it can be taken up"

_log = logging.getLogger(__name__)


class Shelf:
    """What becomes of runs that the engine cannot have. Belongs to one event loop."""

    def __init__(self, journal: Journal, bus: EventBus, shared: Shared) -> None:
        self._journal = journal
        self._bus = bus
        self._shared = shared
        self._clock: Clock = shared.clock
        self._scans = SharedScans()
        self._cancelling: dict[int, asyncio.Task[None]] = {}
        self._kept: dict[int, RunRow] = {}
        self._watching: dict[int, asyncio.Task[None]] = {}

    def put(self, broken: SetAside) -> None:
        """Keep a run for later; one that was being cancelled is cancelled to its end."""
        row = broken.row
        if row.status is JobStatus.CANCELLING:
            self._begin_cancelling(row, row.reason)
            return
        reason = f"cannot be taken up: {broken.error}"
        saved = changes.RunSaved(
            row.run_id,
            JobStatus.PAUSED,
            at=self._clock.wall(),
            reason=reason,
            paused_by="recovery",
            elapsed=row.elapsed,
        )
        self._kept[row.run_id] = row
        self._journal.add([saved, *self._ended(broken)], sync=Sync.LAZY)
        watching = asyncio.create_task(self._watch(row), name=f"watch {row.run_id}")
        watching.add_done_callback(_told)
        self._watching[row.run_id] = watching
        _log.warning(
            "recovery.run_set_aside",
            extra={"job_id": row.job_id, "run": row.run, "reason": reason},
        )

    def runs_of(self, job_id: str) -> list[RunRow]:
        """Runs of a job that are kept here."""
        return [row for row in self._kept.values() if row.job_id == job_id]

    async def end_sheets(self, reason: str) -> None:
        """Cancel every run that is kept here and of which a sheet lives."""
        alive = [run_id for run_id, task in self._watching.items() if not task.done()]
        await asyncio.gather(
            *(self.cancel(self._kept[run_id], reason) for run_id in alive), return_exceptions=True
        )

    def give_back(self, run_id: int) -> None:
        """The run can be taken up after all: its sheets are somebody else's from here on."""
        self._kept.pop(run_id, None)
        if (watching := self._watching.pop(run_id, None)) is not None:
            watching.cancel()

    async def cancel(self, row: RunRow, reason: str) -> None:
        """End whatever lives of the run, then the run. Returns when it is on the disk.

        Raises StateError when the order cannot be written; then nothing is ended.
        """
        saved = changes.RunSaved(
            row.run_id, JobStatus.CANCELLING, at=self._clock.wall(), reason=reason
        )
        await self._journal.commit([saved], sync=Sync.DISK)
        await asyncio.shield(self._begin_cancelling(row, reason))
        await self._journal.flush()

    async def close(self) -> None:
        """Leave: what is being cancelled, the next conductor goes on to cancel."""
        tasks = [*self._cancelling.values(), *self._watching.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- parts ----------------------------------------------------------------------------------

    def _begin_cancelling(self, row: RunRow, reason: str) -> asyncio.Task[None]:
        self.give_back(row.run_id)
        task = self._cancelling.get(row.run_id)
        if task is None:
            task = asyncio.create_task(self._cancel(row, reason), name=f"cancel {row.run_id}")
            self._cancelling[row.run_id] = task
            task.add_done_callback(_told)
            task.add_done_callback(lambda _: self._cancelling.pop(row.run_id, None))
        return task

    async def _look_again(self, row: RunRow) -> SetAside:
        return await when_there_are_means(
            lambda: asyncio.to_thread(restore.look_again, self._shared, row)
        )

    async def _watch(self, row: RunRow) -> None:
        """Write down which of the sheets that went on have ended, until none goes on."""
        while True:
            found = await self._look_again(row)
            if ended := self._ended(found):
                self._journal.add(ended, sync=Sync.LAZY)
            if not any(_lives(finding) for _, finding in found.open_attempts):
                return
            await asyncio.sleep(_AGAIN_AFTER)

    def _ended(self, found: SetAside) -> list[changes.SheetSaved]:
        """Sheets in progress of which nothing lives any more, as they shall stand."""
        alive = {attempt.num for attempt, finding in found.open_attempts if _lives(finding)}
        return [
            self._sheet(found.row, sheet, SheetStatus.PENDING, _WAITS)
            for sheet in found.sheets
            if sheet.status is SheetStatus.IN_PROGRESS and sheet.num not in alive
        ]

    async def _cancel(self, row: RunRow, reason: str) -> None:
        """Look again and again, since nobody waits for these attempts, until all are gone."""
        while True:
            found = await self._look_again(row)
            ends = await asyncio.gather(*(self._end(row, a, f) for a, f in found.open_attempts))
            if all(ends):
                break
            await asyncio.sleep(_AGAIN_AFTER)
        wall = self._clock.wall()
        ordered = Outcome(Ended.CANCELLED, reason=reason)
        unused = Outcome(Ended.NEVER_RAN, reason="the run ended before it was needed")
        rows: list[Change] = [
            changes.AttemptFinished(
                row.run_id, a.num, a.attempt, at=wall, outcome=unused if never_ran(f) else ordered
            )
            for a, f in found.open_attempts
        ]
        rows += [
            self._sheet(row, sheet, SheetStatus.CANCELLED, reason)
            for sheet in found.sheets
            if not sheet.status.terminal
        ]
        rows.append(changes.RunSaved(row.run_id, JobStatus.CANCELLED, at=wall, reason=reason))
        data = {"status": JobStatus.CANCELLED.value, "reason": reason}
        event = Event("job.cancelled", row.job_id, row.run, 0, wall, data)
        rows.append(changes.EventHappened(row.run_id, event))
        self._journal.add(rows, sync=Sync.LAZY)
        self._bus.publish(event)

    async def _end(self, row: RunRow, attempt: AttemptRow, finding: Finding) -> bool:
        """End an attempt's tree; False while something of it is left."""
        pid = None
        match finding:
            case HeldByStranger():
                return False  # nobody is signalled who is not provably ours
            case Adopt(found) | MustEnd(found, _):
                pid = found
            case _:
                return True
        files = AttemptFiles(self._shared.home.run_dir(row.run_id), attempt.num, attempt.attempt)
        status = files.name("st") if isinstance(finding, Adopt) else None
        tree = Tree(attempt.token, pid, status=status, scans=self._scans)
        grace = self._shared.settings.grace_seconds
        ended = await when_there_are_means(lambda: tree.end(grace))
        return not ended.survivors

    def _sheet(
        self, row: RunRow, sheet: SheetRow, status: SheetStatus, reason: str
    ) -> changes.SheetSaved:
        return changes.SheetSaved(
            row.run_id,
            sheet.num,
            status,
            at=self._clock.wall(),
            reason=reason,
            attempts=sheet.attempts,
            retries_used=sheet.retries_used,
            completions_used=sheet.completions_used,
            lost_in_row=sheet.lost_in_row,
            waits_used=sheet.waits_used,
            mode=sheet.mode,
        )


def _lives(finding: Finding) -> bool:
    return isinstance(finding, Adopt | HeldByStranger)


def _told(task: asyncio.Task[None]) -> None:
    """Nobody may be waiting for it: what went wrong stands in the log."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("shelf.given_up", extra={"what": task.get_name()}, exc_info=error)
