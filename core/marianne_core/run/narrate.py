"""Events in words: what views, logs and streams say about a change of a sheet or a run."""

from __future__ import annotations

from typing import Any

from marianne_core.decide.messages import SheetChanged, SheetsChanged
from marianne_core.model.events import Event
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.run.active import ActiveRun

_SHEET_EVENTS = {
    SheetStatus.PENDING: "sheet.pending",
    SheetStatus.IN_PROGRESS: "sheet.started",
    SheetStatus.WAITING: "sheet.waiting",
    SheetStatus.RETRY_SCHEDULED: "sheet.retrying",
    SheetStatus.FERMATA: "sheet.fermata",
    SheetStatus.COMPLETED: "sheet.completed",
    SheetStatus.FAILED: "sheet.failed",
    SheetStatus.SKIPPED: "sheet.skipped",
    SheetStatus.CANCELLED: "sheet.cancelled",
}

_RUN_EVENTS = {
    JobStatus.QUEUED: "job.queued",
    JobStatus.RUNNING: "job.started",
    JobStatus.PAUSING: "job.pausing",
    JobStatus.PAUSED: "job.paused",
    JobStatus.PAUSED_AT_CHAIN: "job.paused",
    JobStatus.COMPLETED: "job.completed",
    JobStatus.FAILED: "job.failed",
    JobStatus.CANCELLING: "job.cancelling",
    JobStatus.CANCELLED: "job.cancelled",
}


def sheet_event(run: ActiveRun, change: SheetChanged, at: float, until: float | None) -> Event:
    """The event of a sheet's change; `at` and `until` are wall clock, seconds."""
    record = change.record
    sheet = run.plan.sheets[change.num - 1]
    data: dict[str, Any] = {"status": record.status.value, "attempt": record.attempt}
    if record.status is SheetStatus.IN_PROGRESS:
        data["instrument"] = sheet.instrument
    if record.mode is not AttemptMode.NORMAL:
        data["mode"] = record.mode.value
    if record.reason:
        data["reason"] = record.reason
    if until is not None:
        data["until"] = until
    over = record.status is not SheetStatus.IN_PROGRESS  # it may be started anew at once
    if over and run.ending is not None and run.ending[0] == change.num:
        data.update(_outcome(run.ending[1]))
    return Event(
        _SHEET_EVENTS.get(record.status, "sheet.changed"),
        run.job_id,
        run.number,
        change.num,
        at,
        data,
    )


def sheets_event(run: ActiveRun, change: SheetsChanged, at: float) -> Event:
    """One event, of the run, for the same change of many sheets: `sheets.cancelled`, ..."""
    record = change.record
    data: dict[str, Any] = {
        "status": record.status.value,
        "blocks": [[block.start, block.stop - 1] for block in change.blocks],
        "count": sum(map(len, change.blocks)),
    }
    if record.reason:
        data["reason"] = record.reason
    return Event(f"sheets.{record.status.value}", run.job_id, run.number, 0, at, data)


def run_event(run: ActiveRun, before: JobStatus, at: float) -> Event:
    """The event of a run's change; `run.status` is the new status."""
    kind = _RUN_EVENTS.get(run.status, "job.changed")
    if run.status is JobStatus.RUNNING and before is not JobStatus.QUEUED:
        kind = "job.resumed"
    data: dict[str, Any] = {"status": run.status.value, "sheet_count": len(run.plan.sheets)}
    if run.reason:
        data["reason"] = run.reason
    return Event(kind, run.job_id, run.number, 0, at, data)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    """What the end of an attempt adds: only what is known."""
    done = outcome.ended is Ended.OK
    well = outcome.ended is Ended.SKIPPED or (done and outcome.pass_rate >= 100)
    data: dict[str, Any] = {"success": well}
    if done:  # else nothing was validated
        data["pass_rate"] = outcome.pass_rate
    if outcome.exit_code is not None:
        data["exit_code"] = outcome.exit_code
    if outcome.code is not None:
        data["error_code"] = outcome.code
    if outcome.cost_usd is not None:
        data["cost_usd"] = outcome.cost_usd
    return data
