"""Making a new run: its id, its number, its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from marianne_core.model.states import JobStatus
from marianne_core.remember.changes import RunDraft, RunKey, SheetDraft, SheetsAdded
from marianne_core.remember.job_ids import id_for, path_to_store
from marianne_core.remember.lanes import Row, as_json, short
from marianne_core.remember.writing import apply

NEXT_RUN_OF_JOB = (
    "INSERT INTO jobs (job_id, score_path, last_run, created_at) VALUES (?, ?, 1, ?)"
    " ON CONFLICT (job_id) DO UPDATE SET last_run = last_run + 1"
)
"""job_id, score_path, time. Afterwards `jobs.last_run` is the number of the new run."""

_ADD_RUN = (
    "INSERT INTO runs (job_id, run, name, score_path, workspace, status, reason, submitted_at,"
    " started_at, finished_at, chain_depth) VALUES (?, (SELECT last_run FROM jobs WHERE"
    " job_id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADD_SUBMISSION = (
    "INSERT INTO submissions (run_id, score, variables, options, hook_config, concert_config)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)


def add_run(
    connection: sqlite3.Connection, draft: RunDraft, sheets: Sequence[SheetDraft]
) -> RunKey:
    """Make a new run of the draft's score, with its sheets. Earlier runs are left as they are."""
    job_id = id_for(connection, draft.score_path)
    path = path_to_store(draft.score_path)
    connection.execute(NEXT_RUN_OF_JOB, (job_id, path, draft.submitted_at))
    run_id = connection.execute(*new_run(job_id, draft)).lastrowid
    assert run_id is not None
    connection.execute(*new_submission(run_id, draft))
    apply(connection, (SheetsAdded(run_id, sheets),))
    (run,) = connection.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return RunKey(run_id, job_id, run)


def new_run(job_id: str, draft: RunDraft) -> tuple[str, Row]:
    """SQL and parameters that add the run itself, once `NEXT_RUN_OF_JOB` was executed."""
    at = draft.submitted_at
    return _ADD_RUN, (
        job_id,
        job_id,
        draft.name,
        path_to_store(draft.score_path),
        path_to_store(draft.workspace),
        draft.status.value,
        short(draft.reason),
        at,
        at if draft.status is JobStatus.RUNNING else None,
        at if draft.status.terminal else None,
        draft.chain_depth,
    )


def new_submission(run_id: int, draft: RunDraft) -> tuple[str, Row]:
    """SQL and parameters that keep what was submitted."""
    hooks, concert = draft.hook_config, draft.concert_config
    return _ADD_SUBMISSION, (
        run_id,
        draft.score,
        as_json(draft.variables),
        as_json(draft.options),
        None if hooks is None else as_json(hooks),
        None if concert is None else as_json(concert),
    )
