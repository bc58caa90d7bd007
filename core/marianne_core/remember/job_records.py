"""What the register of jobs gives out: one run of a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from marianne_core.model.states import JobStatus
from marianne_core.remember.job_ids import path_from_store

RECORD = (
    "SELECT job_id, run, score_path, workspace, submitted_at, started_at, finished_at, status,"
    " reason, current_sheet, sheets_total, run_id FROM runs LEFT JOIN checkpoints USING (run_id)"
)
"""Selects what `record_of` reads."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One run of a job, as the register knows it. Times are seconds since the epoch."""

    job_id: str
    run: int
    config_path: str
    """Absolute path of the score."""
    workspace: str
    submitted_at: float
    started_at: float | None
    completed_at: float | None
    """When it became terminal, whatever the status."""
    status: JobStatus
    error_message: str | None
    current_sheet: int | None
    total_sheets: int
    run_id: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; the status is a plain string."""
        return {**asdict(self), "status": str(self.status)}


def record_of(row: Sequence[Any]) -> JobRecord:
    """The record in a row of `RECORD`."""
    (job_id, run, path, workspace, submitted, started, finished, status, reason, *rest) = row
    current_sheet, total_sheets, run_id = rest
    return JobRecord(
        job_id=job_id,
        run=run,
        config_path=path_from_store(path),
        workspace=path_from_store(workspace),
        submitted_at=submitted,
        started_at=started,
        completed_at=finished,
        status=JobStatus(status),
        error_message=reason,
        current_sheet=current_sheet,
        total_sheets=total_sheets,
        run_id=run_id,
    )
