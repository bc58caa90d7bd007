"""The register of jobs for programs that embed the conductor: a view on the tables of the store.

Method names and meanings are those of the conductor's API (CONDUCTOR-API, section 7a), with one
difference: registering a job that is known makes a new run of it and erases nothing. A `job_id`
alone stands for its newest run, `job#3` for an older one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from marianne_core.model.clock import Clock, SystemClock
from marianne_core.model.errors import InputError, JobSubmissionError, StateError
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.changes import RunDraft, RunSaved
from marianne_core.remember.clearing import (
    DELETE_EMPTY_JOBS,
    DELETE_RUN,
    ClearFilter,
    runs_to_clear,
)
from marianne_core.remember.job_ids import path_from_store, path_to_store
from marianne_core.remember.job_records import RECORD, JobRecord, record_of
from marianne_core.remember.migrations import open_database, open_for_reading, unreadable
from marianne_core.remember.submitting import NEXT_RUN_OF_JOB, new_run, new_submission
from marianne_core.remember.trouble import refusal
from marianne_core.remember.writing import saved_run

_ACTIVE = ", ".join(f"'{status}'" for status in JobStatus if status.active)
_ORPHANS = f"{RECORD} WHERE status IN ({_ACTIVE}) ORDER BY run_id"
_NEWEST = "run_id IN (SELECT max(run_id) FROM runs GROUP BY job_id)"
_CHECKPOINT_COLUMNS = frozenset({"checkpoint", "hook_results", "current_sheet"})


class JobRegistry:
    """Open it with `await open()`, or use `async with JobRegistry(path) as registry`.

    Writes are synced before they return. Raises StateError when the database cannot be used, and
    JobSubmissionError for a job that is unknown.
    """

    def __init__(self, db_path: Path | str, *, clock: Clock | None = None) -> None:
        self.db_path = Path(db_path).expanduser()
        self._clock = clock or SystemClock()
        self._database: aiosqlite.Connection | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Open the database, making it where there is none; harmless when it is open.

        A database of another version is refused: to migrate it is the conductor's, which alone
        holds the state directory.
        """
        if self._database is not None:
            return

        def connect() -> sqlite3.Connection:
            return open_database(self.db_path)

        await asyncio.to_thread(self._refuse_other_version)

        database = aiosqlite.Connection(connect, iter_chunk_size=256)
        await database
        try:
            await database.execute("PRAGMA synchronous=FULL")
        except BaseException:
            await database.close()
            raise
        self._database = database

    async def close(self) -> None:
        """Let go of the database; harmless when it is not open."""
        database, self._database = self._database, None
        if database is not None:
            await database.close()

    async def __aenter__(self) -> JobRegistry:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- jobs ---------------------------------------------------------------------------------

    async def register_job(
        self, job_id: str, config_path: Path | str, workspace: Path | str, *, score: str = ""
    ) -> JobRecord:
        """Make a new run of a job, QUEUED; earlier runs stay as they are.

        `score` is its text. Raises JobSubmissionError when the id belongs to another file, and
        InputError for an id that does not name a job alone (`job#3` is a run of `job`).
        """
        if JobRef.parse(job_id).run is not None:
            raise InputError(f"{job_id!r} names a run, not a job", hint="give an id without `#`")
        path = _absolute(config_path)
        draft = RunDraft(
            score_path=path,
            score=score,
            name=Path(path).stem,
            workspace=_absolute(workspace),
            submitted_at=self._clock.wall(),
        )
        async with self._transaction() as database:
            owner = await _first(database, "SELECT score_path FROM jobs WHERE job_id = ?", job_id)
            if owner is not None and path_from_store(owner[0]) != path:
                raise JobSubmissionError(
                    f"the job id {job_id!r} belongs to {path_from_store(owner[0])}",
                    where=path,
                    hint="give it another id, or clear that job first",
                )
            await database.execute(
                NEXT_RUN_OF_JOB, (job_id, path_to_store(path), draft.submitted_at)
            )
            run_id = (await database.execute(*new_run(job_id, draft))).lastrowid
            assert run_id is not None
            await database.execute(*new_submission(run_id, draft))
            row = await _first(database, f"{RECORD} WHERE run_id = ?", run_id)
        assert row is not None
        return record_of(row)

    async def get_job(self, job_id: str) -> JobRecord | None:
        """The record of a job's newest run (or of `job#3`); None when it is unknown."""
        ref = JobRef.parse(job_id)
        rows = await self._rows(
            f"{RECORD} WHERE job_id = ? AND (? IS NULL OR run = ?) ORDER BY run DESC LIMIT 1",
            ref.job_id,
            ref.run,
            ref.run,
        )
        return record_of(rows[0]) if rows else None

    async def list_jobs(
        self, status: JobStatus | str | None = None, limit: int = 50
    ) -> list[JobRecord]:
        """The newest run of every job, newest first, at most `limit`."""
        rows = await self._rows(
            f"{RECORD} WHERE {_NEWEST} AND (? IS NULL OR status = ?) ORDER BY run_id DESC LIMIT ?",
            status,
            status,
            limit,
        )
        return [record_of(row) for row in rows]

    async def has_active_job(self, job_id: str) -> bool:
        """True while a run of the job (or that run, for `job#3`) is neither over nor paused."""
        ref = JobRef.parse(job_id)
        return any(
            record.job_id == ref.job_id and ref.run in (None, record.run)
            for record in await self.get_orphaned_jobs()
        )

    async def get_orphaned_jobs(self) -> list[JobRecord]:
        """Runs that a conductor works on, oldest first; at its start: that an earlier one left."""
        return [record_of(row) for row in await self._rows(_ORPHANS)]

    async def mark_orphans_failed(self, reason: str = "the conductor ended") -> int:
        """Set all such runs to FAILED; returns how many. Our own conductor recovers them instead."""
        async with self._transaction() as database:
            orphans = [record_of(row) for row in await _all(database, _ORPHANS, ())]
            for record in orphans:
                await self._set_status(database, record.run_id, JobStatus.FAILED, reason)
        return len(orphans)

    async def update_status(
        self, job_id: str, status: JobStatus | str, error_message: str | None = None
    ) -> None:
        """Set where a run stands; its times follow from the status."""
        async with self._transaction() as database:
            run_id = await self._run_id(database, job_id)
            await self._set_status(database, run_id, status, error_message)

    async def update_config_metadata(
        self,
        job_id: str,
        *,
        config_path: Path | str | None = None,
        workspace: Path | str | None = None,
    ) -> None:
        """Set the paths of a run; None leaves one as it is."""
        values = [
            None if value is None else path_to_store(_absolute(value))
            for value in (config_path, workspace)
        ]
        async with self._transaction() as database:
            run_id = await self._run_id(database, job_id)
            await database.execute(
                "UPDATE runs SET score_path = COALESCE(?, score_path),"
                " workspace = COALESCE(?, workspace) WHERE run_id = ?",
                (*values, run_id),
            )

    async def update_progress(self, job_id: str, current_sheet: int, total_sheets: int) -> None:
        """Note which sheet a run has reached, and of how many."""
        async with self._transaction() as database:
            run_id = await self._run_id(database, job_id)
            await self._keep(database, run_id, "current_sheet", current_sheet)
            await database.execute(
                "UPDATE runs SET sheets_total = ? WHERE run_id = ?", (total_sheets, run_id)
            )

    async def delete_jobs(
        self,
        job_ids: Sequence[str] | None = None,
        statuses: Sequence[JobStatus | str] | None = None,
        older_than_seconds: float | None = None,
    ) -> int:
        """Forget runs that are over and meet every condition given; returns how many.

        Without a condition, or with an empty one, nothing is deleted. The age counts from the end
        of a run.
        """
        wanted = ClearFilter(
            jobs=None if job_ids is None else [JobRef.parse(text) for text in job_ids],
            statuses=None if statuses is None else [JobStatus(status) for status in statuses],
            older_than=older_than_seconds,
        )
        async with self._transaction() as database:
            rows = await _all(database, *runs_to_clear(wanted, self._clock.wall()))
            for statement in DELETE_RUN:
                await database.executemany(statement, rows)
            await database.execute(DELETE_EMPTY_JOBS)
        return len(rows)

    # --- what is kept beside a run ------------------------------------------------------------

    async def save_checkpoint(
        self, job_id: str, checkpoint: str, *, status: JobStatus | str | None = None
    ) -> None:
        """Keep a checkpoint (JSON text); with `status`, both change together or not at all."""
        async with self._transaction() as database:
            run_id = await self._run_id(database, job_id)
            await self._keep(database, run_id, "checkpoint", checkpoint)
            if status is not None:
                await self._set_status(database, run_id, status, None)

    async def load_checkpoint(self, job_id: str) -> str | None:
        """The checkpoint kept last, as JSON text; None when there is none."""
        record = await self.get_job(job_id)
        if record is None:
            return None
        rows = await self._rows(
            "SELECT checkpoint FROM checkpoints WHERE run_id = ?", record.run_id
        )
        return rows[0][0] if rows else None

    async def store_hook_config(self, job_id: str, hook_config: str) -> None:
        """Keep the hooks of a run (JSON text of a list). Raises InputError for any other text."""
        try:
            hooks = json.loads(hook_config)
        except ValueError as error:
            raise InputError(f"the hooks of {job_id} are not JSON: {error}") from error
        if not isinstance(hooks, list):
            raise InputError(f"the hooks of {job_id} are not a list")
        async with self._transaction() as database:
            run_id = await self._run_id(database, job_id)
            await database.execute(
                "UPDATE submissions SET hook_config = ? WHERE run_id = ?", (hook_config, run_id)
            )

    async def get_hook_config(self, job_id: str) -> list[dict[str, Any]] | None:
        """The hooks of a run; None when it has none or is unknown."""
        record = await self.get_job(job_id)
        if record is None:
            return None
        rows = await self._rows(
            "SELECT hook_config FROM submissions WHERE run_id = ?", record.run_id
        )
        return json.loads(rows[0][0]) if rows and rows[0][0] is not None else None

    async def store_hook_results(self, job_id: str, hook_results: str) -> None:
        """Keep what the hooks of a run said (JSON text)."""
        async with self._transaction() as database:
            run_id = await self._run_id(database, job_id)
            await self._keep(database, run_id, "hook_results", hook_results)

    # --- inside -------------------------------------------------------------------------------

    def _refuse_other_version(self) -> None:
        self.db_path.parent.mkdir(parents=True, exist_ok=True)
        found = open_for_reading(self.db_path)
        if found is not None:
            found.close()

    def _connection(self) -> aiosqlite.Connection:
        if self._database is None:
            raise StateError("the register of jobs is not open", where=str(self.db_path))
        return self._database

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """A transaction of one task, committed at the end and undone by any error."""
        async with self._lock:
            database = self._connection()
            try:
                await database.execute("BEGIN IMMEDIATE")
                yield database
                await database.execute("COMMIT")
            except BaseException as error:
                # Does nothing when no transaction is open. It queues behind a statement that a
                # cancelled task no longer waits for.
                await asyncio.shield(database.rollback())
                if isinstance(error, sqlite3.Error):
                    raise refusal(error, self.db_path) from error
                raise

    async def _rows(self, sql: str, *values: object) -> list[Any]:
        # One after the other with transactions: a reader must not see what may be undone.
        async with self._lock:
            try:
                return await _all(self._connection(), sql, values)
            except sqlite3.Error as error:
                raise unreadable(str(self.db_path), error) from error

    async def _run_id(self, database: aiosqlite.Connection, job_id: str) -> int:
        ref = JobRef.parse(job_id)
        row = await _first(
            database,
            "SELECT run_id FROM runs WHERE job_id = ? AND (? IS NULL OR run = ?)"
            " ORDER BY run DESC LIMIT 1",
            ref.job_id,
            ref.run,
            ref.run,
        )
        if row is None:
            raise JobSubmissionError(f"no job {job_id!r}", hint="register it first")
        return int(row[0])

    async def _set_status(
        self,
        database: aiosqlite.Connection,
        run_id: int,
        status: JobStatus | str,
        error_message: str | None,
    ) -> None:
        change = RunSaved(run_id, JobStatus(status), self._clock.wall(), error_message or "")
        await database.execute(*saved_run(change))

    async def _keep(
        self, database: aiosqlite.Connection, run_id: int, column: str, value: object
    ) -> None:
        assert column in _CHECKPOINT_COLUMNS
        await database.execute(
            f"INSERT INTO checkpoints (run_id, {column}, last_event_at) VALUES (?, ?, ?)"
            f" ON CONFLICT (run_id) DO UPDATE SET {column} = excluded.{column},"
            " last_event_at = excluded.last_event_at",
            (run_id, value, self._clock.wall()),
        )


def _absolute(path: Path | str) -> str:
    return os.path.abspath(path)


async def _all(database: aiosqlite.Connection, sql: str, values: Iterable[object]) -> list[Any]:
    return list(await database.execute_fetchall(sql, list(values)))


async def _first(database: aiosqlite.Connection, sql: str, *values: object) -> Any | None:
    rows = await _all(database, sql, values)
    return rows[0] if rows else None
