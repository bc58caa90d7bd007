"""A conductor made of a dict: enough behaviour for clients, server and host to be tested."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marianne_core.model.errors import (
    InputError,
    JobSubmissionError,
    NoConductorError,
    UnknownJobError,
)
from marianne_core.model.events import Event
from marianne_core.model.output import (
    OutputEnd,
    OutputPage,
    OutputPiece,
    OutputRequest,
    OutputStream,
)
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.watch.bus import EventBus, EventStream, Subscription, of_job

HELD = "held"
"""A score with this text runs until `FakeService.release`."""

_RESUMABLE = (JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass
class FakeRun:
    """One run with one sheet."""

    job_id: str
    run: int
    status: JobStatus = JobStatus.RUNNING
    sheet: SheetStatus = SheetStatus.IN_PROGRESS
    attempts: int = 1
    options: SubmitRequest = field(default_factory=lambda: SubmitRequest(""))

    def wrote(self) -> bytes:
        """The sheet's output so far."""
        return b"begun\n" + b"done\n" * self.sheet.terminal

    def picture(self) -> dict[str, Any]:
        """The run as `status` shows it."""
        sheet = {
            "num": 1,
            "movement": 1,
            "status": str(self.sheet),
            "attempts": self.attempts,
            "instrument": "cli",
            "exit_code": 0 if self.sheet is SheetStatus.COMPLETED else None,
            "reason": "",
            "started_at": 1.0,
            "finished_at": None,
        }
        return {
            "job_id": self.job_id,
            "run": self.run,
            "status": str(self.status),
            "reason": "",
            "sheets_total": 1,
            "sheets_completed": int(self.sheet is SheetStatus.COMPLETED),
            "sheets": [sheet],
        }


class FakeOutput:
    """What a fake sheet writes, followed by its events."""

    def __init__(self, run: FakeRun, events: Subscription) -> None:
        self.outcome: OutputEnd | None = None
        self._run = run
        self._events = events
        self._told = 0
        self._closed = False

    @property
    def ended(self) -> bool:
        return self._closed or self.outcome is not None

    def __aiter__(self) -> AsyncIterator[OutputPiece]:
        return self

    async def __anext__(self) -> OutputPiece:
        while self._closed or (told := self._run.wrote()) == told[: self._told]:
            if self._closed:
                raise StopAsyncIteration
            if self._run.sheet.terminal:
                self.outcome = OutputEnd(str(self._run.sheet))
                raise StopAsyncIteration
            await anext(self._events)
        start, self._told = self._told, len(told)
        return OutputPiece(1, start, len(told), text=told[start:].decode())

    async def aclose(self) -> None:
        self._closed = True
        await self._events.aclose()


class FakeService:
    """Satisfies `Service` and `HostedConductor`."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.idle = asyncio.Event()
        self.idle.set()
        self.runs: list[FakeRun] = []
        self.log: list[str] = []
        self.slow_cancel: asyncio.Event | None = None
        """When set, `cancel` waits for it."""
        self._seconds = itertools.count(1)
        self._gone = False

    @property
    def working_on(self) -> list[str]:
        return [f"{run.job_id}#{run.run}" for run in self.runs if run.status.active]

    async def submit(self, request: SubmitRequest) -> SubmitReply:
        self._check()
        path = Path(request.client_cwd or "/", request.config_path)
        text = _read(path)
        if text is None:
            return SubmitReply("", "rejected", f"{path}: no such file", exit_code=2)
        earlier = [run for run in self.runs if run.job_id == path.stem]
        if earlier and earlier[-1].status.active:
            message = f"{path.stem} is {earlier[-1].status}; `mzt resume`, or run it with --replace"
            return SubmitReply(path.stem, "rejected", message, exit_code=2)
        run = FakeRun(path.stem, len(earlier) + 1, options=request)
        self.runs.append(run)
        self._tell(run, "job.started")
        if HELD not in text:
            asyncio.get_running_loop().call_soon(self._finish, run)
        return SubmitReply(run.job_id, "accepted", "started", run.run)

    async def status(self, job: str) -> dict[str, Any]:
        return self._find(job).picture()

    async def list_jobs(self) -> list[dict[str, Any]]:
        self._check()
        newest = {run.job_id: run for run in self.runs}
        order = sorted(newest.values(), key=self.runs.index, reverse=True)
        return [{"job_id": r.job_id, "run": r.run, "status": str(r.status)} for r in order]

    async def pause(self, job: str) -> Receipt:
        run = self._find(job)
        if run.status is not JobStatus.RUNNING:
            raise JobSubmissionError(f"{job} is {run.status}", hint="only a running job can pause")
        run.status = JobStatus.PAUSING
        self._tell(run, "job.pausing")
        return self._receipt(run)

    async def resume(self, job: str) -> Receipt:
        run = self._find(job)
        if run.status not in _RESUMABLE:
            raise JobSubmissionError(f"{job} is {run.status}")
        return self._again(run)

    async def cancel(self, job: str) -> Receipt:
        run = self._find(job)
        if run.status.terminal:
            raise JobSubmissionError(f"{job} is {run.status} already")
        self.log.append("cancel asked")
        if self.slow_cancel is not None:
            await self.slow_cancel.wait()
        run.status, run.sheet = JobStatus.CANCELLED, SheetStatus.CANCELLED
        self.log.append("cancel done")
        self._tell(run, "job.cancelled")
        return self._receipt(run)

    async def retry(self, job: str, sheet: int | None = None) -> Receipt:
        run = self._find(job)
        if sheet not in (None, 1):
            raise InputError(f"{job} has no sheet {sheet}", hint="it has 1 sheet")
        return self._again(run)

    async def clear(
        self,
        *,
        jobs: Sequence[str] | None = None,
        statuses: Sequence[JobStatus] | None = None,
        older_than: float | None = None,
    ) -> int:
        self._check()
        if jobs is statuses is older_than is None:
            raise InputError("nothing says which runs to clear")
        named = None if jobs is None else [JobRef.parse(job) for job in jobs]
        kept = [
            run
            for run in self.runs
            if not run.status.terminal
            or (statuses is not None and run.status not in statuses)
            or (
                named is not None
                and not {JobRef(run.job_id), JobRef(run.job_id, run.run)}.intersection(named)
            )
            or older_than
        ]
        deleted, self.runs = len(self.runs) - len(kept), kept
        return deleted

    async def health(self) -> dict[str, Any]:
        self._check()
        return {
            "status": "ok",
            "pid": os.getpid(),
            "uptime_seconds": 1.0,
            "shutting_down": False,
            "version": "0.0.0",
            "schema": 1,
        }

    async def events(self, job: str | None = None) -> EventStream:
        if job is not None and self.runs:
            self._find(job)
        return self.bus.subscribe(of_job(job))

    async def output(self, request: OutputRequest) -> OutputPage:
        run = self._sheet_of(request)
        data = run.wrote()
        start = min(request.offset or 0, len(data))
        piece = OutputPiece(run.attempts, start, len(data), text=data[start:].decode())
        over = run.sheet.terminal
        return OutputPage(run.job_id, run.run, 1, run.attempts, len(data), over, piece)

    async def follow_output(self, request: OutputRequest) -> OutputStream:
        run = self._sheet_of(request)
        return FakeOutput(run, self.bus.subscribe(of_job(f"{run.job_id}#{run.run}")))

    def _sheet_of(self, request: OutputRequest) -> FakeRun:
        run = self._find(request.job)
        request.check(follow=False)
        if request.sheet != 1:
            raise InputError(f"there is no sheet {request.sheet}")
        return run

    def drain(self) -> None:
        self.log.append("drain")
        for run in self.runs:
            if run.status is JobStatus.RUNNING:
                run.status = JobStatus.PAUSING
                self._tell(run, "job.pausing")

    def stop_dispatch(self) -> None:
        self.log.append("stop_dispatch")

    async def end_sheets(self) -> None:
        self.log.append("end_sheets")
        for run in self.runs:
            if run.status.active:
                run.status, run.sheet = JobStatus.PAUSED, SheetStatus.CANCELLED
                self._tell(run, "job.paused")

    def release(self) -> None:
        """Let every running sheet end well."""
        for run in self.runs:
            if run.status.active:
                self._finish(run)

    def leave(self) -> None:
        """The conductor goes."""
        self._gone = True
        self.bus.close()

    def _finish(self, run: FakeRun) -> None:
        run.sheet = SheetStatus.COMPLETED
        self._tell(run, "sheet.completed", sheet=1)
        pausing = run.status is JobStatus.PAUSING
        run.status = JobStatus.PAUSED if pausing else JobStatus.COMPLETED
        self._tell(run, "job.paused" if pausing else "job.completed")

    def _again(self, run: FakeRun) -> Receipt:
        run.status, run.sheet = JobStatus.RUNNING, SheetStatus.IN_PROGRESS
        run.attempts += 1
        self._tell(run, "job.resuming")
        asyncio.get_running_loop().call_soon(self._finish, run)
        return self._receipt(run)

    def _tell(self, run: FakeRun, name: str, sheet: int = 0) -> None:
        if any(other.status.active for other in self.runs):
            self.idle.clear()
        else:
            self.idle.set()
        event = Event(name, run.job_id, run.run, sheet, float(next(self._seconds)))
        self.bus.publish(event)

    def _receipt(self, run: FakeRun) -> Receipt:
        return Receipt(run.job_id, run.run, run.status, f"{run.job_id} is {run.status}")

    def _find(self, job: str) -> FakeRun:
        self._check()
        ref = JobRef.parse(job)
        for run in reversed(self.runs):
            if run.job_id == ref.job_id and ref.run in (None, run.run):
                return run
        raise UnknownJobError(f"there is no job {job}", hint="mzt list shows what there is")

    def _check(self) -> None:
        if self._gone:
            raise NoConductorError("the conductor has left")


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None
