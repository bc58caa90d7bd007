"""What commands that read have in common: the store, and the conductor when one answers.

Fast commands use it: stdlib only, neither asyncio nor pydantic.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from marianne_core.model.errors import MztError, NoConductorError
from marianne_core.model.runs import JobRef
from marianne_core.remember.home import Home
from marianne_core.remember.lock import LockHolder, StateLock
from marianne_core.remember.queries import open_reader, status_dict
from marianne_core.remember.rows import RunRow, SheetRow

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


class Picture(NamedTuple):
    """One run as a command shows it."""

    run: RunRow
    sheets: list[SheetRow]
    status: dict[str, Any]
    """The document of `mzt status --json`."""
    live: bool
    """True when the conductor itself gave the status, with the waits of this moment."""
    conductor: LockHolder | None


def picture_of(home: Home, ref: JobRef) -> Picture:
    """The run that a person names, from the conductor if one answers, else from the store.

    Raises JobSubmissionError for an unknown job, StateError for a store that cannot be read.
    """
    conductor = conductor_of(home)
    with open_reader(home) as reader, reader.snapshot():
        run = reader.get_run(ref)
        sheets = reader.sheets(run.run_id)
    status = None
    # A run that is over does not change any more: the store knows all of it.
    if conductor is not None and not run.status.terminal:
        status = _live_status(home, run)
    if status is None:
        return Picture(run, sheets, status_dict(run, sheets), False, conductor)
    return Picture(run, sheets, status, True, conductor)


def _live_status(home: Home, run: RunRow) -> dict[str, Any] | None:
    # Imported here: `mzt list`, and a status without a conductor, open no socket.
    from marianne_core.serve.blocking import call

    name = f"{run.job_id}#{run.run}"
    try:
        answer = call(home.socket, "job.status", {"job_id": name, "parts": True}, LIVE_TIMEOUT)
    except NoConductorError:
        return None
    return {**answer, "sheets": list(answer["sheets"].values())}


def run_dict(run: RunRow) -> dict[str, Any]:
    """A run as `mzt list --json` and `mzt history --json` print it. Times as in the status."""
    return {
        "job_id": run.job_id,
        "run": run.run,
        "name": run.name,
        "status": str(run.status),
        "reason": run.reason,
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
