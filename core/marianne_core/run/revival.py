"""Bringing stored runs back into the engine: all unfinished ones at the start, others when asked."""

from __future__ import annotations

import asyncio

from marianne_core.decide.messages import Kill, RunAdded
from marianne_core.model.errors import InputError
from marianne_core.model.outcome import Ended
from marianne_core.model.states import JobStatus
from marianne_core.model.waits import Wait, WaitReason
from marianne_core.remember import changes
from marianne_core.remember.changes import Sync
from marianne_core.remember.journal import Journal
from marianne_core.remember.rows import RunRow
from marianne_core.run import restore
from marianne_core.run.active import ActiveRun
from marianne_core.run.engine import Engine
from marianne_core.run.recovery import Adopt, HeldByStranger
from marianne_core.run.restore import RestoredRun, SetAside, Shared
from marianne_core.run.set_aside import Shelf
from marianne_core.run.submission import policy_of
from marianne_core.run.take_up import take_up


class CannotTakeUp(InputError):
    """A stored run cannot be read or planned any more."""


class Revival:
    """Recovery (design, section 4): the same path after a crash, a restart and a retry."""

    def __init__(self, engine: Engine, journal: Journal, shelf: Shelf, shared: Shared) -> None:
        self._engine = engine
        self._journal = journal
        self._shelf = shelf
        self._shared = shared
        self._loading = asyncio.Lock()

    async def recover(self) -> None:
        """Take up every run that is not over, with its open attempts. Nothing starts before all are."""
        self._engine.hold("recovery", Wait(WaitReason.DRAINING))
        self._engine.restore_limits(await asyncio.to_thread(restore.read_limits, self._shared))
        for found in await asyncio.to_thread(restore.read_unfinished, self._shared):
            if isinstance(found, RestoredRun):
                self._bring_back(found)
            else:
                self._shelf.put(found)
        self._engine.release("recovery")

    async def load(self, run_id: int) -> ActiveRun:
        """The run, as it stands now; one that is over is loaded so that it can be opened again.

        Raises CannotTakeUp for one that cannot be planned any more, JobSubmissionError for one that
        was cleared meanwhile.
        """
        if run_id in self._engine.runs:
            return self._engine.runs[run_id]
        async with self._loading:
            # What the store says shall be the newest, also of a run that ended just now.
            await self._journal.written()
            if run_id not in self._engine.runs:
                found = await asyncio.to_thread(restore.read_run, self._shared, run_id)
                if isinstance(found, SetAside):
                    raise CannotTakeUp(
                        f"run {found.row.run} of job {found.row.job_id} cannot be taken up: "
                        f"{found.error}",
                        hint="mend what it says and resume it, or cancel it",
                    )
                self._shelf.give_back(run_id)
                self._bring_back(found)
            return self._engine.runs[run_id]

    def _bring_back(self, restored: RestoredRun) -> None:
        """Put a stored run into the engine, and go on with its open attempts."""
        run, row, stage = restored.run, restored.row, self._engine.stage
        wall = self._shared.clock.wall()
        closed = [
            changes.AttemptFinished(run.run_id, a.num, a.attempt, at=wall, outcome=outcome)
            for a, outcome in restored.closed
        ]
        if closed:
            self._journal.add(closed, sync=Sync.LAZY)
        message = RunAdded(
            run.run_id,
            run.job_id,
            policy_of(run.plan.config, self._shared.settings),
            restored.tasks,
            restored=restored.records,
            start_sheet=restored.start_sheet,
            paused_by=row.paused_by,
            elapsed=restored.elapsed,
            last_start=restored.last_start,
            last_end=restored.last_end,
            ended=row.status if row.status.terminal else None,
            closing=_closing(row),
            reason=row.reason,
            graph=restored.graph,
        )
        for num in restored.corrected:
            self._engine.correct(run, num, restored.records[num])
        self._engine.add(run, message)
        for attempt_row, finding in restored.started:
            attempt, part = take_up(run, attempt_row, finding, stage.musician, self._shared.clock)
            if attempt.deadline and not attempt_row.deadline:
                begun = changes.AttemptBegun(
                    run.run_id,
                    attempt.num,
                    attempt.number,
                    at=attempt.started_at,
                    deadline=attempt.deadline,
                )
                self._journal.add([begun], sync=Sync.LAZY)
            stage.take_up(attempt, part, finding)
            if attempt_row.ending is not None and isinstance(finding, Adopt | HeldByStranger):
                order = Ended(attempt_row.ending), attempt_row.ending_reason
                stage.kill(Kill(run.run_id, attempt.num, attempt.number, *order))


def _closing(row: RunRow) -> JobStatus | None:
    """What a run will be that was being ended; None for one that was not."""
    if row.status is not JobStatus.CANCELLING:
        return None
    return row.final or JobStatus.CANCELLED
