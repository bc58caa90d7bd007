"""What a person may order: each order is on the disk before it is answered as done."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

from marianne_core.decide.graph import SheetGraph
from marianne_core.decide.messages import CancelRun, PauseRun, ResumeRun, RetryRun, RunAdded
from marianne_core.model.errors import InputError, JobSubmissionError, StateError
from marianne_core.model.events import Event
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.model.waits import Wait, WaitReason
from marianne_core.plan.sheets import Plan
from marianne_core.remember import changes
from marianne_core.remember.changes import Sync
from marianne_core.remember.clearing import ClearFilter
from marianne_core.remember.journal import Journal
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import RunRow
from marianne_core.run.active import ActiveRun
from marianne_core.run.engine import Engine
from marianne_core.run.restore import UNFINISHED, Shared
from marianne_core.run.revival import CannotTakeUp, Revival
from marianne_core.run.set_aside import Shelf
from marianne_core.run.submission import Submission, policy_of, read_request, tasks_of
from marianne_core.run.workspace import make_fresh, make_workspace

_STOPPED = "the end of the conductor that ran it"
_ENDED = "ended with the conductor"

_log = logging.getLogger(__name__)


class Commands:
    """Submit, pause, resume, retry, cancel. A wish is journaled before it is carried out."""

    def __init__(
        self, engine: Engine, journal: Journal, revival: Revival, shelf: Shelf, shared: Shared
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._revival = revival
        self._shelf = shelf
        self._home = shared.home
        self._profiles = shared.profiles
        self._settings = shared.settings
        self._clock = shared.clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._opening = asyncio.Lock()
        """Held while a run that is over is opened again or cleared: one of them comes first."""
        self._late: JobStatus | None = None
        """What becomes of a run that was accepted while the conductor began to end."""
        self.draining = False
        """No new jobs are taken, and no new sheets start."""

    # --- submit ---------------------------------------------------------------------------------

    async def submit(self, request: SubmitRequest) -> SubmitReply:
        """Start a new run of a score. A person's mistake comes back as a rejection.

        Raises StateError when the run cannot be stored.
        """
        try:
            self._refuse_when_draining("takes no new jobs")
            submission = await asyncio.to_thread(
                read_request, request, self._profiles, self._settings
            )
            async with self._of_score(str(submission.score.path)):
                return await self._accept(submission)
        except (InputError, JobSubmissionError) as error:
            return SubmitReply("", "rejected", str(error), exit_code=InputError.exit_code)

    async def _accept(self, submission: Submission) -> SubmitReply:
        request, plan = submission.request, submission.plan
        await self._journal.written()
        unfinished = await asyncio.to_thread(self._unfinished_of, str(submission.score.path))
        for before in unfinished:
            if not (request.replace or (request.fresh and before.status is JobStatus.PAUSED)):
                raise JobSubmissionError(
                    f"job {before.job_id} is {before.status} already (run {before.run})",
                    hint=_instead(before),
                )
        await asyncio.to_thread(make_workspace, plan.workspace)
        for before in unfinished:
            await self._cancel(before, "replaced by a new run")
        self._refuse_when_draining("takes no new jobs")
        if request.fresh:
            await self._make_fresh(submission)
        draft = submission.draft(self._clock.wall())
        key = await self._journal.submit(draft, submission.sheets)
        run = ActiveRun(key.run_id, key.job_id, key.run, plan, self._home.run_dir(key.run_id))
        refused = _make_directory(run)
        message = RunAdded(
            run.run_id,
            run.job_id,
            policy_of(plan.config, self._settings),
            submission.tasks,
            start_sheet=request.start_sheet,
            paused_by="a failure" if refused else _STOPPED if self._late else None,
            graph=submission.graph,
        )
        self._engine.announce(run, "job.submitted", config_path=str(submission.score.path))
        self._engine.add(run, message)
        if refused is not None:
            self._engine.apply(CancelRun(run.run_id, refused.what))
            raise refused
        if self._late is JobStatus.CANCELLED:
            self._engine.apply(CancelRun(run.run_id, _ENDED))
        return SubmitReply(key.job_id, "accepted", f"run {key.run} of {key.job_id}", key.run)

    async def _make_fresh(self, submission: Submission) -> None:
        workspace = submission.plan.workspace
        try:
            done = await asyncio.to_thread(
                make_fresh,
                workspace,
                submission.plan.config.workspace_lifecycle,
                score=submission.score.path,
                now=self._clock.wall(),
            )
        except OSError as error:
            raise InputError(
                f"the workspace cannot be emptied: {error.strerror or error}",
                where=str(error.filename or workspace),
                hint="mend it, or start without --fresh",
            ) from error
        _log.info("command.fresh", extra={"workspace": str(workspace), "did": done})

    # --- pause, resume, retry, cancel -----------------------------------------------------------

    async def pause(self, job: str) -> Receipt:
        """Start no new sheet of the run; running ones end first."""
        row = await self._row(job)
        if row.status.terminal:
            raise _nothing_to(row.job_id, row.status, "pause")
        run = await self._revival.load(row.run_id)
        if run.status.terminal:
            self._engine.forget(run.run_id)
            raise _nothing_to(run.job_id, run.status, "pause")
        await self._write_down(run, paused_by="a person")
        await self._engine.command(PauseRun(run.run_id, "a person"))
        return _receipt(run)

    async def resume(self, job: str) -> Receipt:
        """Go on with a paused, failed or cancelled run; running sheets are not touched."""
        row = await self._row(job)
        check_resume(row)
        async with self._of_score(row.score_path), self._opening:
            run = await self._to_start(row)
            if run.status.terminal:
                await self._write_wish(run, "job.resume_ordered")
            else:
                await self._write_down(run, paused_by=None)
            run = await self._to_start(row)  # it may have ended meanwhile
            await self._engine.command(ResumeRun(run.run_id))
            self._engine.forget(run.run_id)
        return _receipt(run)

    async def retry(self, job: str, sheet: int | None = None) -> Receipt:
        """Run failed, blocked and cancelled sheets again, or a sheet and all downstream of it."""
        row = await self._row(job)
        check_retry(row, sheet)
        async with self._of_score(row.score_path), self._opening:
            run, graph = await self._to_start(row), None
            if not run.status.terminal:
                graph = await asyncio.to_thread(_graph_of, run.plan)
            await self._write_wish(run, "job.retry_ordered", sheet=sheet)
            run = await self._to_start(row)  # it may have ended meanwhile
            await self._engine.command(RetryRun(run.run_id, sheet, graph))
            self._engine.forget(run.run_id)
        return _receipt(run)

    async def cancel(self, job: str) -> Receipt:
        """End the run and the trees of its sheets; returns when they are gone."""
        row = await self._row(job)
        if row.status is JobStatus.CANCELLED:
            return Receipt(row.job_id, row.run, row.status, f"{row.job_id} is cancelled already")
        if row.status.terminal:
            raise _nothing_to(row.job_id, row.status, "cancel")
        await self._cancel(row, "cancelled by a person")
        row = await self._row(f"{row.job_id}#{row.run}")
        return Receipt(row.job_id, row.run, row.status, _words(row.job_id, row.status, row.reason))

    async def _cancel(self, row: RunRow, reason: str) -> None:
        """Returns when the run is over, whatever ended it."""
        try:
            run = await self._revival.load(row.run_id)
        except CannotTakeUp:
            await self._shelf.cancel(row, reason)
            return
        if run.status.terminal:
            self._engine.forget(run.run_id)
            return
        await self._write_down(run, status=JobStatus.CANCELLING, reason=reason)
        await self._engine.command(CancelRun(run.run_id, reason))
        await self._until_gone(run)
        await self._journal.flush()

    async def clear(self, wanted: ClearFilter) -> list[int]:
        """Forget the runs that the filter names; returns their run ids. Their files are still there."""
        async with self._opening:
            run_ids = await self._journal.clear(wanted, self._clock.wall())
            for run_id in run_ids:
                self._engine.forget(run_id)
        return run_ids

    async def clear_rate_limits(self, instrument: str | None) -> int:
        """Lift the rate limits of an instrument (an alias will do), or all; how many there were."""
        name = instrument and self._profiles.resolve(instrument).name
        limits = [limit for limit in self._engine.limits if name in (None, limit.instrument)]
        if limits:
            await self._engine.lift(limits)
        return len(limits)

    # --- ending the conductor -------------------------------------------------------------------

    def drain(self) -> None:
        """Start nothing new, here or for new requests; running sheets end, their jobs are paused."""
        self.draining, self._late = True, JobStatus.PAUSED
        for run in list(self._engine.runs.values()):
            if run.status in (JobStatus.RUNNING, JobStatus.QUEUED):
                self._engine.apply(PauseRun(run.run_id, _STOPPED))

    def stop_dispatch(self) -> None:
        """Start nothing new, because this conductor is about to leave; nothing is paused by it."""
        self.draining = True
        self._engine.hold("leaving", Wait(WaitReason.DRAINING))

    async def end_sheets(self) -> None:
        """End all sheets of all active runs; returns when their trees are gone."""
        self.draining, self._late = True, JobStatus.CANCELLED
        runs = [run for run in self._engine.runs.values() if run.status.active]
        for run in runs:
            self._engine.apply(CancelRun(run.run_id, _ENDED))
        await self._shelf.end_sheets(_ENDED)
        for run in runs:
            await self._until_gone(run)

    # --- parts ----------------------------------------------------------------------------------

    def _refuse_when_draining(self, what: str) -> None:
        if self.draining:
            raise JobSubmissionError(
                f"the conductor is being stopped and {what}", hint="try again with the next one"
            )

    def _of_score(self, path: str) -> asyncio.Lock:
        """Held while a run of this score begins or is opened again: two must not work in one place."""
        return self._locks.setdefault(path, asyncio.Lock())

    async def _to_start(self, row: RunRow) -> ActiveRun:
        """The run, if sheets of it may start; give the order before anything else is awaited.

        Raises JobSubmissionError while the conductor is being stopped, and while another run of the
        job works in its workspace.
        """
        run = await self._revival.load(row.run_id)
        try:
            self._refuse_when_draining("starts nothing")
            self._refuse_beside_others(row)
        except JobSubmissionError:
            self._engine.forget(run.run_id)
            raise
        return run

    def _refuse_beside_others(self, row: RunRow) -> None:
        others = [
            (run.number, run.status)
            for run in self._engine.runs.values()
            if run.job_id == row.job_id and run.run_id != row.run_id and run.status.active
        ]
        kept = self._shelf.runs_of(row.job_id)
        others += [(other.run, JobStatus.PAUSED) for other in kept if other.run_id != row.run_id]
        for number, status in others:
            raise JobSubmissionError(
                f"run {number} of job {row.job_id} is {status}, in the same workspace",
                hint=f"wait for it, or mzt cancel {row.job_id}#{number}",
            )

    async def _until_gone(self, run: ActiveRun) -> None:
        """Returns when the run is over and nothing of it runs any more."""
        await run.over.wait()
        await asyncio.sleep(
            0
        )  # in this turn the run is forgotten, and what was started ahead for it
        await self._engine.stage.settle()

    async def _row(self, job: str) -> RunRow:
        ref = JobRef.parse(job)
        await self._journal.written()
        return await asyncio.to_thread(self._read_row, ref)

    async def _write_down(
        self,
        run: ActiveRun,
        *,
        status: JobStatus | None = None,
        reason: str | None = None,
        paused_by: str | None = None,
    ) -> None:
        """Journal a person's wish before it is carried out: a full disk refuses it, nothing done."""
        saved = changes.RunSaved(
            run.run_id,
            status or run.status,
            at=self._clock.wall(),
            reason=run.reason if reason is None else reason,
            paused_by=paused_by,
        )
        await self._journal.commit([saved], sync=Sync.DISK)

    async def _write_wish(self, run: ActiveRun, event: str, **data: object) -> None:
        """Journal an order that changes no row by itself: a full disk refuses it, nothing done."""
        happened = Event(event, run.job_id, run.number, 0, self._clock.wall(), data)
        await self._journal.commit([changes.EventHappened(run.run_id, happened)], sync=Sync.DISK)

    def _unfinished_of(self, score_path: str) -> list[RunRow]:
        """Runs of the score's job that are not over, oldest first."""
        with open_reader(self._home) as reader:
            job_id = reader.owned_job_id(score_path)
            if job_id is None:
                return []
            runs = reader.list_runs(statuses=UNFINISHED, job_id=job_id, limit=None)
            return list(reversed(runs))

    def _read_row(self, ref: JobRef) -> RunRow:
        with open_reader(self._home) as reader:
            return reader.get_run(ref)


def check_resume(row: RunRow) -> None:
    """Raise JobSubmissionError for a run that cannot go on."""
    if row.status is JobStatus.COMPLETED:
        raise JobSubmissionError(
            f"job {row.job_id} is completed", hint="mzt run starts it again as a new run"
        )


def check_retry(row: RunRow, sheet: int | None) -> None:
    """Raise InputError for a sheet that there is not, JobSubmissionError when nothing failed."""
    if sheet is not None and not 1 <= sheet <= row.sheets_total:
        raise InputError(
            f"job {row.job_id} has no sheet {sheet}", hint=f"it has 1 to {row.sheets_total}"
        )
    nothing = row.status is JobStatus.COMPLETED or not (row.failed or row.skipped or row.cancelled)
    if sheet is None and nothing:
        raise JobSubmissionError(
            f"no sheet of job {row.job_id} failed", hint="--sheet N runs a sheet again"
        )


def _graph_of(plan: Plan) -> SheetGraph:
    return SheetGraph(tasks_of(plan))


def _make_directory(run: ActiveRun) -> StateError | None:
    """Make the directory of a run that is stored already; without one nothing of it can start."""
    try:
        run.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return StateError(
            f"the directory of run {run.number} of {run.job_id} could not be made: "
            f"{error.strerror or error}",
            where=str(run.run_dir),
            hint="make room or mend the directory, then start it again",
        )
    return None


def _instead(before: RunRow) -> str:
    """What to do with a run that is not over, instead of starting another."""
    if before.status is JobStatus.PAUSED:
        return f"mzt resume {before.job_id}, or start anew with --replace"
    # An interrupted one was taken up for this request, and is left again with its refusal.
    return (
        f"mzt status {before.job_id} -W follows it, mzt resume {before.job_id} goes on with one"
        " that was interrupted, --replace starts anew"
    )


def _nothing_to(job_id: str, status: JobStatus, command: str) -> JobSubmissionError:
    return JobSubmissionError(f"job {job_id} is {status}: nothing to {command}")


def _receipt(run: ActiveRun) -> Receipt:
    return Receipt(run.job_id, run.number, run.status, _words(run.job_id, run.status, run.reason))


def _words(job_id: str, status: JobStatus, reason: str) -> str:
    return f"{job_id} is {status}" + (f": {reason}" if reason else "")
