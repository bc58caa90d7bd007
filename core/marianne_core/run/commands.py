"""What a person may order: each order is on the disk before it is answered as done."""

from __future__ import annotations

import asyncio
import logging

from marianne_core.decide import messages
from marianne_core.model.errors import InputError, JobSubmissionError
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.model.waits import WaitReason
from marianne_core.remember import changes
from marianne_core.remember.changes import Sync
from marianne_core.remember.journal import Journal
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import RunRow
from marianne_core.run.active import ActiveRun
from marianne_core.run.engine import Engine
from marianne_core.run.revival import Revival, Shared
from marianne_core.run.submission import Submission, policy_of, read_request
from marianne_core.run.workspace import make_fresh

_log = logging.getLogger(__name__)


class Commands:
    """Submit, pause, resume, retry, cancel. A wish is journaled before it is carried out."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        revival: Revival,
        shared: Shared,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._revival = revival
        self._home = shared.home
        self._profiles = shared.profiles
        self._settings = shared.settings
        self._clock = shared.clock
        self._submitting = asyncio.Lock()
        self.draining = False
        """No new jobs are taken, and no new sheets start."""

    async def submit(self, request: SubmitRequest) -> SubmitReply:
        """Start a new run of a score. A person's mistake comes back as a rejection."""
        try:
            if self.draining:
                raise InputError("the conductor is draining and takes no new jobs")
            submission = await asyncio.to_thread(
                read_request, request, self._profiles, self._settings
            )
            async with self._submitting:
                return await self._accept(submission)
        except (InputError, JobSubmissionError) as error:
            return SubmitReply("", "rejected", str(error), exit_code=InputError.exit_code)

    async def _accept(self, submission: Submission) -> SubmitReply:
        request, plan = submission.request, submission.plan
        if self.draining:
            raise InputError("the conductor is draining and takes no new jobs")
        await self._journal.written()
        before = await asyncio.to_thread(self._newest_run_of, str(submission.score.path))
        if before is not None and not before.status.terminal:
            if not (request.replace or (request.fresh and before.status is JobStatus.PAUSED)):
                raise JobSubmissionError(
                    f"job {before.job_id} is {before.status} already (run {before.run})",
                    hint=f"mzt resume {before.job_id}, or start anew with --replace",
                )
            await self._cancel(before, "replaced by a new run")
        if request.fresh:
            done = await asyncio.to_thread(
                make_fresh,
                plan.workspace,
                plan.config.workspace_lifecycle,
                score=submission.score.path,
                now=self._clock.wall(),
            )
            _log.info("command.fresh", extra={"workspace": str(plan.workspace), "did": done})
        key = await self._journal.submit(
            submission.draft(self._clock.wall()), list(submission.sheets())
        )
        run = ActiveRun(key.run_id, key.job_id, key.run, plan, self._home.run_dir(key.run_id))
        run.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        message = messages.RunAdded(
            run.run_id,
            run.job_id,
            policy_of(plan.config, self._settings),
            submission.tasks,
            start_sheet=request.start_sheet,
            graph=submission.graph,
        )
        self._engine.announce(run, "job.submitted", config_path=str(submission.score.path))
        self._engine.add(run, message)
        return SubmitReply(key.job_id, "accepted", f"run {key.run} of {key.job_id}", key.run)

    async def pause(self, job: str) -> Receipt:
        """Start no new sheet of the run; running ones end first."""
        row = await self._row(job)
        if row.status.terminal:
            raise JobSubmissionError(f"job {row.job_id} is {row.status}: nothing to pause")
        run = await self._revival.load(row)
        await self._write_down(run, paused_by="a person")
        await self._engine.command(messages.PauseRun(run.run_id, "a person"))
        return _receipt(run)

    async def resume(self, job: str) -> Receipt:
        """Go on with a paused, failed or cancelled run; running sheets are not touched."""
        row = await self._row(job)
        if row.status is JobStatus.COMPLETED:
            raise JobSubmissionError(
                f"job {row.job_id} is completed", hint="mzt run starts it again as a new run"
            )
        run = await self._revival.load(row)
        if not row.status.terminal:
            await self._write_down(run, paused_by=None)
        await self._engine.command(messages.ResumeRun(run.run_id))
        return _receipt(run)

    async def retry(self, job: str, sheet: int | None = None) -> Receipt:
        """Run failed, blocked and cancelled sheets again, or a sheet and all downstream of it."""
        row = await self._row(job)
        if sheet is not None and not 1 <= sheet <= row.sheets_total:
            raise InputError(
                f"job {row.job_id} has no sheet {sheet}", hint=f"it has 1 to {row.sheets_total}"
            )
        if sheet is None and not (row.failed or row.skipped or row.cancelled):
            raise JobSubmissionError(
                f"no sheet of job {row.job_id} failed", hint="--sheet N runs a sheet again"
            )
        run = await self._revival.load(row)
        await self._engine.command(messages.RetryRun(run.run_id, sheet))
        return _receipt(run)

    async def cancel(self, job: str) -> Receipt:
        """End the run and the trees of its sheets; returns when they are gone."""
        row = await self._row(job)
        if row.status is JobStatus.CANCELLED:
            return Receipt(row.job_id, row.run, row.status, f"{row.job_id} is cancelled already")
        if row.status.terminal:
            raise JobSubmissionError(f"job {row.job_id} is {row.status}: nothing to cancel")
        return _receipt(await self._cancel(row, "cancelled by a person"))

    async def _cancel(self, row: RunRow, reason: str) -> ActiveRun:
        run = await self._revival.load(row)
        await self._write_down(run, status=JobStatus.CANCELLING, reason=reason)
        await self._engine.command(messages.CancelRun(run.run_id, reason))
        await run.over.wait()
        await self._journal.flush()
        return run

    def drain(self) -> None:
        """Start nothing new, here or for new requests; running sheets end, their jobs are paused."""
        self.draining = True
        for run in list(self._engine.runs.values()):
            if run.status in (JobStatus.RUNNING, JobStatus.QUEUED):
                self._engine.apply(messages.PauseRun(run.run_id, "draining"))

    def stop_dispatch(self) -> None:
        """Start nothing new, because this conductor is about to leave; nothing is paused by it."""
        self.draining = True
        self._engine.hold(WaitReason.DRAINING)

    async def end_sheets(self) -> None:
        """End all sheets of all active runs; returns when their trees are gone."""
        self.draining = True
        runs = [run for run in self._engine.runs.values() if run.status.active]
        for run in runs:
            self._engine.apply(messages.CancelRun(run.run_id, "ended with the conductor"))
        for run in runs:
            await run.over.wait()

    # --- parts ----------------------------------------------------------------------------------

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
        """Journal a person's wish before it is carried out: a crash in between does not lose it."""
        saved = changes.RunSaved(
            run.run_id,
            status or run.status,
            at=self._clock.wall(),
            reason=run.reason if reason is None else reason,
            paused_by=paused_by,
        )
        await self._journal.commit([saved], sync=Sync.DISK)

    def _newest_run_of(self, score_path: str) -> RunRow | None:
        with open_reader(self._home) as reader:
            job_id = reader.owned_job_id(score_path)
            return reader.find_run(JobRef(job_id)) if job_id else None

    def _read_row(self, ref: JobRef) -> RunRow:
        with open_reader(self._home) as reader:
            return reader.get_run(ref)


def _receipt(run: ActiveRun) -> Receipt:
    words = f"{run.job_id} is {run.status}"
    if run.reason:
        words += f": {run.reason}"
    return Receipt(run.job_id, run.number, run.status, words)
