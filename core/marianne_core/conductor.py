"""The conductor: composes the rooms, and offers what a client may ask for.

The only file that knows them all. An async context manager: entering it is recovery, leaving it
stops dispatch, syncs, and goes; sheets live on, and the next conductor takes them up. It installs
no signal handler, prints nothing and imports no screen: a host does that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self


from marianne_core import __version__
from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.profiles import Profiles, load_profiles, profile_directories
from marianne_core.decide import messages
from marianne_core.decide.baton import Baton
from marianne_core.model.clock import Clock, SystemClock
from marianne_core.model.errors import InputError, JobSubmissionError, StateError
from marianne_core.model.events import Event
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.model.waits import WaitReason
from marianne_core.remember import changes
from marianne_core.remember.changes import Sync
from marianne_core.remember.home import Home
from marianne_core.remember.journal import Journal
from marianne_core.remember.lock import StateLock
from marianne_core.remember.queries import open_reader, status_dict
from marianne_core.remember.rows import RunRow
from marianne_core.run import restore
from marianne_core.run.active import ActiveRun
from marianne_core.run.engine import Engine
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.launcher import Launcher, locks_are_inherited
from marianne_core.run.musician import Musician
from marianne_core.run.recovery import Finding
from marianne_core.run.submission import Submission, limits_of, policy_of, read_request, tasks_of
from marianne_core.run.validate.validator import Validator
from marianne_core.run.waiter import Waiter
from marianne_core.run.workspace import make_fresh
from marianne_core.watch.bus import EventBus, of_job

_MAY_WAIT = frozenset(
    str(s) for s in SheetStatus if not s.terminal and s is not SheetStatus.IN_PROGRESS
)

_log = logging.getLogger(__name__)


class Conductor:
    """One conductor of one state directory; see `serve.client.Client` for what it answers."""

    def __init__(
        self,
        config: DaemonConfig,
        home: Home,
        *,
        clock: Clock | None = None,
        seed: int | None = None,
        environ: Mapping[str, str] | None = None,
        profiles: Profiles | None = None,
    ) -> None:
        """`seed` makes the jitter of retries repeatable; `environ` is what instruments inherit."""
        self.config = config
        self.home = home
        self._clock = clock or SystemClock()
        self._seed = random.SystemRandom().getrandbits(64) if seed is None else seed
        self._environ = dict(os.environ if environ is None else environ)
        self._profiles = profiles or load_profiles(profile_directories(Path.home(), Path.cwd()))
        self._lock = StateLock(home.lock)
        self._started = time.monotonic()
        self._submitting = asyncio.Lock()
        self._draining = False
        self._exit = AsyncExitStack()
        self.bus = EventBus()

    # --- life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Recover: lock, store, and every run and attempt that an earlier conductor left.

        Raises StateError when the state directory cannot be used or another conductor has it.
        """
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop dispatch, sync, leave. Sheets live on."""
        await self._exit.aclose()

    async def _start(self) -> None:
        self.home.prepare()
        self._lock.acquire(version=__version__, socket=self.home.socket)
        self._exit.callback(self._lock.release)
        if not locks_are_inherited(self.home.root):
            raise StateError(
                "locks are not handed on to child processes in this directory",
                where=str(self.home.root),
                hint="it may be on a network file system: set MARIANNE_HOME to a local directory",
            )
        self._journal = await Journal.open(self.home.database, on_trouble=self._store_in_trouble)
        self._exit.push_async_callback(self._journal.close)
        self._exit.callback(self.bus.close)
        waiter = Waiter()
        self._exit.callback(waiter.close)
        validator = Validator(clock=self._clock)
        self._exit.callback(validator.close)
        ensemble = Ensemble(self._profiles, self._environ)
        limits = limits_of(self.config, self._profiles)

        def musician(engine: Engine) -> Musician:
            self._musician = Musician(
                engine,
                clock=self._clock,
                ensemble=ensemble,
                launcher=Launcher(),
                waiter=waiter,
                validator=validator,
                grace=self.config.grace_seconds,
            )
            return self._musician

        self._engine = Engine(
            Baton(limits, self._seed),
            clock=self._clock,
            journal=self._journal,
            bus=self.bus,
            musician=musician,
        )
        self._exit.push_async_callback(self._engine.leave)
        await self._recover()

    async def _recover(self) -> None:
        self._engine.hold(WaitReason.DRAINING)
        found = await asyncio.to_thread(restore.read_unfinished, self.home, **self._how())
        restored = [each for each in found if isinstance(each, restore.RestoredRun)]
        findings = await asyncio.to_thread(restore.examine_attempts, restored)
        for each in found:
            if isinstance(each, restore.RestoredRun):
                self._bring_back(each, findings)
            else:
                self._set_aside(each)
        self._engine.release(WaitReason.DRAINING)

    def _how(self) -> dict[str, Any]:
        return {
            "profiles": self._profiles,
            "thinking_method": self.config.default_thinking_method,
            "runs_dir": self.home.runs,
            "clock": self._clock,
        }

    def _bring_back(
        self, restored: restore.RestoredRun, findings: Mapping[str, Finding]
    ) -> None:
        """Put a stored run into the engine, and go on with its open attempts."""
        run, row = restored.run, restored.row
        start = restored.options.get("start_sheet")
        message = messages.RunAdded(
            run.run_id,
            run.job_id,
            policy_of(run.plan.config, self.config),
            tasks_of(run.plan),
            restored=restored.records,
            start_sheet=start if isinstance(start, int) else None,
            paused_by=row.paused_by,
            elapsed=row.elapsed,
            ended=row.status if row.status.terminal else None,
        )
        self._engine.add(run, message)
        for attempt_row in restored.open_attempts:
            finding = findings[attempt_row.token]
            attempt, part = restore.take_up(restored, attempt_row, finding, self._musician)
            self._engine.take_up(attempt, part, finding)
        if row.status is JobStatus.CANCELLING:
            self._engine.apply(messages.CancelRun(run.run_id, row.reason))

    def _set_aside(self, broken: restore.NotRestored) -> None:
        """A run that cannot be planned waits for a person: its profile may come back."""
        row, reason = broken.row, f"cannot be taken up: {broken.error}"
        saved = changes.RunSaved(
            row.run_id,
            JobStatus.PAUSED,
            at=self._clock.wall(),
            reason=reason,
            paused_by="recovery",
            elapsed=row.elapsed,
        )
        self._journal.add([saved], sync=Sync.LAZY)
        _log.warning(
            "conductor.run_set_aside",
            extra={"job_id": row.job_id, "run": row.run, "reason": reason},
        )

    def _store_in_trouble(self, reason: str | None) -> None:
        if reason is None:
            self._engine.release(WaitReason.DISK)
        else:
            self._engine.hold(WaitReason.DISK, reason)

    # --- commands -------------------------------------------------------------------------------

    async def submit(self, request: SubmitRequest) -> SubmitReply:
        """Start a new run of a score. A person's mistake comes back as a rejection."""
        try:
            if self._draining:
                raise InputError("the conductor is draining and takes no new jobs")
            settings = self.config
            submission = await asyncio.to_thread(read_request, request, self._profiles, settings)
            async with self._submitting:
                return await self._accept(submission)
        except (InputError, JobSubmissionError) as error:
            return SubmitReply("", "rejected", str(error), exit_code=InputError.exit_code)

    async def _accept(self, submission: Submission) -> SubmitReply:
        request, plan = submission.request, submission.plan
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
            _log.info("conductor.fresh", extra={"workspace": str(plan.workspace), "did": done})
        key = await self._journal.submit(
            submission.draft(self._clock.wall()), list(submission.sheets())
        )
        run = ActiveRun(key.run_id, key.job_id, key.run, plan, self.home.run_dir(key.run_id))
        run.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        message = messages.RunAdded(
            run.run_id,
            run.job_id,
            policy_of(plan.config, self.config),
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
        run = await self._in_engine(row)
        await self._write_down(run, paused_by="a person")
        await self._engine.command(messages.PauseRun(run.run_id, "a person"))
        return self._receipt(run)

    async def resume(self, job: str) -> Receipt:
        """Go on with a paused, failed or cancelled run; running sheets are not touched."""
        row = await self._row(job)
        if row.status is JobStatus.COMPLETED:
            raise JobSubmissionError(
                f"job {row.job_id} is completed", hint="mzt run starts it again as a new run"
            )
        run = await self._in_engine(row)
        if not row.status.terminal:
            await self._write_down(run, paused_by=None)
        await self._engine.command(messages.ResumeRun(run.run_id))
        return self._receipt(run)

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
        run = await self._in_engine(row)
        await self._engine.command(messages.RetryRun(run.run_id, sheet))
        return self._receipt(run)

    async def cancel(self, job: str) -> Receipt:
        """End the run and the trees of its sheets; returns when they are gone."""
        row = await self._row(job)
        if row.status is JobStatus.CANCELLED:
            return Receipt(row.job_id, row.run, row.status, f"{row.job_id} is cancelled already")
        if row.status.terminal:
            raise JobSubmissionError(f"job {row.job_id} is {row.status}: nothing to cancel")
        return self._receipt(await self._cancel(row, "cancelled by a person"))

    async def _cancel(self, row: RunRow, reason: str) -> ActiveRun:
        run = await self._in_engine(row)
        await self._write_down(run, status=JobStatus.CANCELLING, reason=reason)
        await self._engine.command(messages.CancelRun(run.run_id, reason))
        await run.over.wait()
        await self._journal.flush()
        return run

    def drain(self) -> None:
        """Start nothing new, here or for new requests; running sheets end, their jobs are paused."""
        self._draining = True
        for run in list(self._engine.runs.values()):
            if run.status in (JobStatus.RUNNING, JobStatus.QUEUED):
                self._engine.apply(messages.PauseRun(run.run_id, "draining"))

    def stop_dispatch(self) -> None:
        """Start nothing new, because this conductor is about to leave; nothing is paused by it."""
        self._draining = True
        self._engine.hold(WaitReason.DRAINING)

    async def end_sheets(self) -> None:
        """End all sheets of all active runs; returns when their trees are gone."""
        self._draining = True
        runs = [run for run in self._engine.runs.values() if run.status.active]
        for run in runs:
            self._engine.apply(messages.CancelRun(run.run_id, "ended with the conductor"))
        for run in runs:
            await run.over.wait()

    # --- questions ------------------------------------------------------------------------------

    @property
    def idle(self) -> asyncio.Event:
        """Set while no run is active."""
        return self._engine.idle

    async def status(self, job: str) -> dict[str, Any]:
        """The run as `mzt status --json` prints it, with what each sheet waits for right now."""
        ref = JobRef.parse(job)
        await self._written()
        picture, run_id = await asyncio.to_thread(self._read_status, ref)
        now = self._clock.now()
        if wait := self._engine.wait_of_run(run_id):
            picture["reason"] = wait.words(now)
        for number, sheet in enumerate(picture["sheets"]):
            if sheet["status"] in _MAY_WAIT and (
                wait := self._engine.wait_of(run_id, sheet["num"])
            ):
                sheet["reason"] = wait.words(now)
            if number % 500 == 499:
                await asyncio.sleep(0)
        return picture

    async def list_jobs(self) -> list[dict[str, Any]]:
        """The newest run of every job, newest first."""
        await self._written()
        return await asyncio.to_thread(self._read_list)

    async def health(self) -> dict[str, Any]:
        """Liveness, without I/O."""
        active = [run for run in self._engine.runs.values() if run.status.active]
        return {
            "status": "ok",
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "shutting_down": self._draining,
            "running_jobs": len(active),
            "active_sheets": self._engine.living,
            "version": __version__,
        }

    async def events(self, job: str | None = None) -> AsyncIterator[Event]:
        """Subscribe to events of a job, or of all."""
        return self.bus.subscribe(of_job(job))

    # --- parts ----------------------------------------------------------------------------------

    async def _written(self) -> None:
        """Everything that happened so far can be read from the store (unless it is in trouble)."""
        with suppress(StateError):
            await self._journal.commit([], sync=Sync.WRITE)

    async def _row(self, job: str) -> RunRow:
        ref = JobRef.parse(job)
        await self._written()
        return await asyncio.to_thread(self._read_row, ref)

    async def _in_engine(self, row: RunRow) -> ActiveRun:
        """The run; one that is over, or was set aside, is loaded so that it can be opened again."""
        if row.run_id in self._engine.runs:
            return self._engine.runs[row.run_id]
        restored = await asyncio.to_thread(restore.read_run, self.home, row, **self._how())
        findings = await asyncio.to_thread(restore.examine_attempts, [restored])
        if row.run_id not in self._engine.runs:
            self._bring_back(restored, findings)
        return self._engine.runs[row.run_id]

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

    def _receipt(self, run: ActiveRun) -> Receipt:
        words = f"{run.job_id} is {run.status}"
        if run.reason:
            words += f": {run.reason}"
        return Receipt(run.job_id, run.number, run.status, words)

    def _newest_run_of(self, score_path: str) -> RunRow | None:
        with open_reader(self.home) as reader:
            job_id = reader.owned_job_id(score_path)
            return reader.find_run(JobRef(job_id)) if job_id else None

    def _read_row(self, ref: JobRef) -> RunRow:
        with open_reader(self.home) as reader:
            return reader.get_run(ref)

    def _read_status(self, ref: JobRef) -> tuple[dict[str, Any], int]:
        with open_reader(self.home) as reader, reader.snapshot():
            run = reader.get_run(ref)
            return status_dict(run, reader.sheets(run.run_id)), run.run_id

    def _read_list(self) -> list[dict[str, Any]]:
        with open_reader(self.home) as reader:
            return [_listed(run) for run in reader.list_runs(newest_only=True, limit=None)]


def _listed(run: RunRow) -> dict[str, Any]:
    """A run in a list, with the keys of the existing protocol beside ours."""
    return {
        **run._asdict(),
        "status": str(run.status),
        "config_path": run.score_path,
        "progress_completed": run.completed,
        "progress_total": run.sheets_total,
    }
