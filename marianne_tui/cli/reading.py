"""What commands that read have in common: the store, and the conductor when one answers.

Fast commands use it: stdlib only, neither asyncio nor pydantic.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from marianne_core.model.errors import InputError, MztError, NoConductorError
from marianne_core.model.moments import parked_words
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.remember.home import Home
from marianne_core.remember.lock import LockHolder, StateLock
from marianne_core.remember.queries import open_reader, status_dict
from marianne_core.remember.rows import LimitRow, RunRow, SheetRow

LIVE_TIMEOUT = 3.0
"""Seconds a busy conductor has to answer before the store is shown instead."""


def find_home() -> Home:
    """The state directory that the environment names."""
    return Home.find(os.environ)


def conductor_of(home: Home) -> LockHolder | None:
    """Who conducts in this state directory; None when nobody does."""
    return StateLock(home.lock).holder()


def known_job_ids() -> list[str]:
    """Ids of all remembered jobs, for shell completion: a store that cannot be read has none."""
    try:
        with open_reader(find_home()) as reader:
            return [run.job_id for run in reader.list_runs(newest_only=True, limit=200)]
    except (MztError, OSError):
        return []


def check_sheet(run: RunRow, sheet: int | None) -> None:
    """Raise InputError for the number of a sheet that the run does not have; None is any."""
    if sheet is not None and not 1 <= sheet <= run.sheets_total:
        raise InputError(
            f"there is no sheet {sheet}",
            where=f"{run.job_id}#{run.run}",
            hint=f"it has sheets 1 to {run.sheets_total}",
        )


class Picture(NamedTuple):
    """One run as a command shows it."""

    run: RunRow
    sheets: list[SheetRow]
    status: dict[str, Any]
    """The document of `mzt status --json`."""
    live: bool
    """True when the conductor itself gave the status, with the waits of this moment."""
    conductor: LockHolder | None


def picture_of(home: Home, ref: JobRef, *, ask: bool = True) -> Picture:
    """The run that a person names, from the conductor if one answers, else from the store.

    Without `ask` from the store in any case.
    Raises JobSubmissionError for an unknown job, StateError for a store that cannot be read.
    """
    conductor = conductor_of(home)
    with open_reader(home) as reader, reader.snapshot():
        run = reader.get_run(ref)
        sheets = reader.sheets(run.run_id)
        limits = [] if run.status.terminal else reader.limits(time.time())
    status = None
    # A run that is over does not change any more: the store knows all of it.
    if ask and conductor is not None and not run.status.terminal:
        status = _live_status(home, run)
    if status is None:
        status = _stored_status(run, sheets, limits, conductor)
        return Picture(run, sheets, status, False, conductor)
    return Picture(run, sheets, status, True, conductor)


def _stored_status(
    run: RunRow,
    sheets: list[SheetRow],
    limits: list[LimitRow],
    conductor: LockHolder | None,
) -> dict[str, Any]:
    """The status from the store, with the reasons that only a moment without a conductor has."""
    interrupted = is_interrupted(run, conductor)
    status = status_dict(run, sheets, interrupted=interrupted)
    status["reason"] = reason_of(run, conductor)
    _tell_limits(status["sheets"], sheets, limits)
    if interrupted:
        waits, runs = "no conductor is running", "may still run; no conductor is running"
    elif run.status is JobStatus.PAUSED:
        waits, runs = f"paused by {run.paused_by}" if run.paused_by else "the job is paused", ""
    else:
        return status
    for sheet in status["sheets"]:
        if not sheet["reason"]:
            if sheet["status"] == SheetStatus.IN_PROGRESS:
                sheet["reason"] = runs
            elif not SheetStatus(sheet["status"]).terminal:
                sheet["reason"] = waits
    return status


def limit_words(limit: LimitRow) -> str:
    """`rate limit of claude-code/opus: parked until 15:00`."""
    name = limit.instrument if limit.model is None else f"{limit.instrument}/{limit.model}"
    return parked_words(name, limit.until, time.time())


def _tell_limits(shown: list[dict[str, Any]], rows: list[SheetRow], limits: list[LimitRow]) -> None:
    """Sheets that met a limit say until when it holds."""
    if not limits:
        return
    for sheet, row in zip(shown, rows, strict=True):
        if row.status is SheetStatus.WAITING:
            for limit in limits:
                if limit.instrument == row.instrument and limit.model in (None, row.model):
                    sheet["reason"] = f"{limit_words(limit)}; {sheet['reason']}"
                    break


def is_interrupted(run: RunRow, conductor: LockHolder | None) -> bool:
    """True for a run that a conductor left: it goes on when the next one takes it up."""
    return run.status.active and conductor is None


def reason_of(run: RunRow, conductor: LockHolder | None) -> str:
    """Why the run stands where it does; an interrupted one says that first."""
    if not is_interrupted(run, conductor):
        return run.reason
    words = "interrupted: no conductor is running"
    return f"{words} ({run.reason})" if run.reason else words


def seconds_of(run: RunRow, conductor: LockHolder | None, now: float) -> float | None:
    """Seconds that a run has taken at wall-clock time `now`; None before its start, and when nobody
    knows.

    The time of a run on which nobody works stands still.
    """
    if run.started_at is None:
        return None
    if run.status is JobStatus.PAUSED or is_interrupted(run, conductor):
        # Its conductor was killed while the time went on: what is stored is from before.
        return run.elapsed if run.counted_at is None else None
    return (run.finished_at or now) - run.started_at


def _live_status(home: Home, run: RunRow) -> dict[str, Any] | None:
    # Imported here: `mzt list`, and a status without a conductor, open no socket.
    from marianne_core.serve.blocking import call

    name = f"{run.job_id}#{run.run}"
    try:
        answer = call(home.socket, "job.status", {"job_id": name, "parts": True}, LIVE_TIMEOUT)
    except NoConductorError:
        return None
    return {**answer, "sheets": list(answer["sheets"].values())}


def run_dict(run: RunRow, conductor: LockHolder | None) -> dict[str, Any]:
    """A run as `mzt list --json` and `mzt history --json` print it. Times as in the status."""
    return {
        "job_id": run.job_id,
        "run": run.run,
        "name": run.name,
        "status": str(run.status),
        "interrupted": is_interrupted(run, conductor),
        "reason": reason_of(run, conductor),
        "config_path": run.score_path,
        "workspace": run.workspace,
        "submitted_at": run.submitted_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "sheets_total": run.sheets_total,
        "sheets_completed": run.completed,
        "sheets_failed": run.failed,
        "sheets_skipped": run.skipped,
        "sheets_cancelled": run.cancelled,
    }
