"""Reading the store: for commands, views and recovery. Plain SQLite, nothing that starts slowly."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from marianne_core.model.errors import UnknownJobError
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.remember.home import Home
from marianne_core.remember.job_ids import id_for, near_id, owned_id, path_from_store, stem_of
from marianne_core.remember.migrations import open_for_reading, unreadable
from marianne_core.remember.rows import (
    AttemptRow,
    EventRow,
    LimitRow,
    RunRow,
    SheetRow,
    Submission,
    Totals,
    Unfinished,
    ValidationRow,
)

if TYPE_CHECKING:
    # Its module is slow to import, and a list of runs needs no name of a job.
    from marianne_core.model.runs import JobRef

_RUN = f"SELECT {', '.join(RunRow._fields)} FROM runs"
_SHEET = f"SELECT {', '.join(SheetRow._fields)} FROM sheets"
_ATTEMPT = f"SELECT {', '.join(AttemptRow._fields)} FROM attempts"
_LIMIT = f"SELECT {', '.join(LimitRow._fields)} FROM limits"
_VALIDATION = f"SELECT {', '.join(ValidationRow._fields)} FROM validations"
_SHEET_STATUS = {status.value: status for status in SheetStatus}
_TERMINAL = ", ".join(f"'{status}'" for status in JobStatus if status.terminal)


def open_reader(home: Home) -> Reader:
    """Open the store of a state directory for reading, whether or not a conductor works in it.

    A store that does not exist yet is like an empty one. Raises StateError for one that this
    program cannot read, naming the remedy. Close it, or use it in a `with` statement.
    """
    return Reader(open_for_reading(home.database), str(home.database))


class Reader:
    """Questions to the store. Each answer is one consistent picture.

    Several questions about the same moment go into `with reader.snapshot():`. Not for two threads
    at once. Raises StateError when the database cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection | None, where: str = "") -> None:
        self._connection = connection
        self._where = where

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database; harmless when done before."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All questions inside see the same moment. Keep it short: the log grows meanwhile."""
        if self._connection is None or self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    # --- runs ---------------------------------------------------------------------------------

    def list_runs(
        self,
        *,
        statuses: Sequence[JobStatus] | None = None,
        job_id: str | None = None,
        newest_only: bool = False,
        limit: int | None = 20,
        before: int | None = None,
    ) -> list[RunRow]:
        """Runs, newest first. `newest_only`: of each job its newest run alone.

        For the next page give the last `run_id` of this one as `before`.
        """
        where, values = ["1"], list[object]()
        if statuses is not None:
            where.append(f"status IN ({', '.join('?' * len(statuses))})")
            values += [str(status) for status in statuses]
        if job_id is not None:
            where.append("job_id = ?")
            values.append(job_id)
        if newest_only:
            where.append("run_id IN (SELECT max(run_id) FROM runs GROUP BY job_id)")
        if before is not None:
            where.append("run_id < ?")
            values.append(before)
        sql = f"{_RUN} WHERE {' AND '.join(where)} ORDER BY run_id DESC LIMIT ?"
        return [_run(row) for row in self._rows(sql, *values, -1 if limit is None else limit)]

    def find_run(self, ref: JobRef) -> RunRow | None:
        """The run that a person names: `job` its newest, `job#3` its third; None if unknown."""
        if ref.run is None:
            return self._newest(ref.job_id)
        rows = self._rows(f"{_RUN} WHERE job_id = ? AND run = ?", ref.job_id, ref.run)
        return _run(rows[0]) if rows else None

    def get_run(self, ref: JobRef) -> RunRow:
        """Like `find_run`; raises UnknownJobError, with a hint, for a run that is unknown."""
        found = self.find_run(ref)
        if found is not None:
            return found
        newest = self._newest(ref.job_id)
        if newest is not None:
            raise UnknownJobError(
                f"job {ref.job_id!r} has no run {ref.run}",
                hint=f"its newest run is {newest.job_id}#{newest.run}",
            )
        near = None if self._connection is None else near_id(self._connection, ref.job_id)
        hint = f"did you mean {near}? " if near else ""
        raise UnknownJobError(f"no job {ref.job_id!r}", hint=f"{hint}mzt list --all shows all jobs")

    def run(self, run_id: int) -> RunRow | None:
        """The run with this id."""
        rows = self._rows(f"{_RUN} WHERE run_id = ?", run_id)
        return _run(rows[0]) if rows else None

    def run_ids(self) -> list[int]:
        """The ids of all runs that are remembered, in order."""
        return [run_id for (run_id,) in self._rows("SELECT run_id FROM runs ORDER BY run_id")]

    def submission(self, run_id: int) -> Submission | None:
        """What was submitted as this run."""
        rows = self._rows(
            "SELECT score, variables, options, hook_config, concert_config FROM submissions"
            " WHERE run_id = ?",
            run_id,
        )
        if not rows:
            return None
        score, *parts = rows[0]
        variables, options, hooks, concert = (
            None if part is None else json.loads(part) for part in parts
        )
        return Submission(score, variables or {}, options or {}, hooks, concert)

    def job_id_for(self, score_path: str) -> str:
        """The id that runs of this absolute path have, or the next one would get."""
        if self._connection is None:
            return stem_of(score_path)
        return id_for(self._connection, score_path)

    def owned_job_id(self, score_path: str) -> str | None:
        """The id that belongs to this absolute path; None if it never ran, or was cleared."""
        return None if self._connection is None else owned_id(self._connection, score_path)

    def totals(self, run_id: int) -> Totals:
        """What all attempts of a run used; unknown amounts count as 0."""
        rows = self._rows(
            "SELECT count(*), total(input_tokens), total(output_tokens), total(cost_usd)"
            " FROM attempts WHERE run_id = ?",
            run_id,
        )
        if not rows:
            return Totals(0, 0, 0, 0.0)
        count, tokens_in, tokens_out, cost = rows[0]
        return Totals(count, int(tokens_in), int(tokens_out), cost)

    # --- what is inside a run -----------------------------------------------------------------

    def sheets(self, run_id: int, *, after: int = 0, limit: int | None = None) -> list[SheetRow]:
        """Sheets of a run with a number above `after`, in order."""
        rows = self._rows(
            f"{_SHEET} WHERE run_id = ? AND num > ? ORDER BY num LIMIT ?",
            run_id,
            after,
            -1 if limit is None else limit,
        )
        return [_sheet(row) for row in rows]

    def attempts(self, run_id: int, num: int | None = None) -> list[AttemptRow]:
        """Attempts of a sheet, or of all sheets of a run, in order of sheet and attempt.

        Those of which nothing was started (only intended, skipped, never ran) are left out.
        """
        rows = self._rows(
            f"{_ATTEMPT} WHERE run_id = ? AND num BETWEEN ? AND ?"
            " AND (started_at IS NOT NULL OR ended IS NOT NULL) AND ifnull(ended, '') NOT IN ('never_ran', 'skipped')"
            " ORDER BY num, attempt",
            run_id,
            -1 if num is None else num,
            2**62 if num is None else num,
        )
        return [_attempt(row) for row in rows]

    def last_moments(self, run_id: int) -> tuple[float | None, float | None]:
        """When an attempt of the run was started last, and when one ended last."""
        rows = self._rows(
            "SELECT MAX(started_at), MAX(finished_at) FROM attempts WHERE run_id = ?"
            " AND ifnull(ended, '') NOT IN ('never_ran', 'skipped')",
            run_id,
        )
        return rows[0] if rows else (None, None)

    def open_attempts(self, run_id: int) -> list[AttemptRow]:
        """Attempts of a run whose end is not known, in order; some may never have been started."""
        rows = self._rows(
            f"{_ATTEMPT} WHERE run_id = ? AND ended IS NULL ORDER BY num, attempt", run_id
        )
        return [_attempt(row) for row in rows]

    def validations(self, run_id: int, num: int, attempt: int) -> list[ValidationRow]:
        """What each rule said about an attempt, in order of the rules."""
        rows = self._rows(
            f"{_VALIDATION} WHERE run_id = ? AND num = ? AND attempt = ? ORDER BY rule",
            run_id,
            num,
            attempt,
        )
        return [_validation(row) for row in rows]

    def events(
        self, run_id: int | None = None, *, after_seq: int = 0, limit: int | None = None
    ) -> list[EventRow]:
        """Events of a run (None = of all) that came after `after_seq`, in order."""
        where = "run_id = ? AND " if run_id is not None else ""
        values = [] if run_id is None else [run_id]
        rows = self._rows(
            f"SELECT seq, run_id, sheet, time, kind, data FROM events WHERE {where}seq > ?"
            " ORDER BY seq LIMIT ?",
            *values,
            after_seq,
            -1 if limit is None else limit,
        )
        return [
            EventRow(seq, run, sheet, time, kind, json.loads(data) if data else {})
            for seq, run, sheet, time, kind, data in rows
        ]

    def limits(self, now: float) -> list[LimitRow]:
        """Rate limits that hold at this time (seconds since the epoch), by instrument and model."""
        rows = self._rows(f"{_LIMIT} WHERE until > ? ORDER BY instrument, model", now)
        return [
            LimitRow(name, model or None, until, bool(by_clock), reason or "", *rest)
            for name, model, until, by_clock, reason, *rest in rows
        ]

    # --- pictures -----------------------------------------------------------------------------

    def status(self, ref: JobRef) -> dict[str, Any]:
        """`status_dict` of the run that a person names. Raises UnknownJobError if unknown."""
        with self.snapshot():
            run = self.get_run(ref)
            return status_dict(run, self.sheets(run.run_id))

    def unfinished_runs(self) -> list[Unfinished]:
        """All runs that are not over, oldest first, with everything that recovery needs."""
        with self.snapshot():
            found = []
            for row in self._rows(f"{_RUN} WHERE status NOT IN ({_TERMINAL}) ORDER BY run_id"):
                run = _run(row)
                submission = self.submission(run.run_id)
                found.append(
                    Unfinished(
                        run,
                        submission or Submission("", {}, {}, None, None),
                        self.sheets(run.run_id),
                        self.open_attempts(run.run_id),
                    )
                )
            return found

    def _newest(self, job_id: str) -> RunRow | None:
        rows = self._rows(f"{_RUN} WHERE job_id = ? ORDER BY run DESC LIMIT 1", job_id)
        return _run(rows[0]) if rows else None

    def _rows(self, sql: str, *values: object) -> list[Any]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise unreadable(self._where, error) from error


def status_dict(
    run: RunRow, sheets: Sequence[SheetRow], *, interrupted: bool = False
) -> dict[str, Any]:
    """A run as `mzt status --json` prints it. Times are seconds since the epoch, or None.

    `interrupted` says that no conductor works on a run that is active. `so_far`, what a running
    sheet has used, is known to its conductor alone.
    """
    return {
        "job_id": run.job_id,
        "run": run.run,
        "status": str(run.status),
        "interrupted": interrupted,
        "reason": run.reason,
        "sheets_total": run.sheets_total,
        "sheets_completed": run.completed,
        "sheets": [
            {
                "num": sheet.num,
                "movement": sheet.movement,
                "status": str(sheet.status),
                "attempts": sheet.attempts,
                "instrument": sheet.instrument,
                "exit_code": sheet.exit_code,
                "reason": sheet.reason,
                "started_at": sheet.started_at,
                "finished_at": sheet.finished_at,
                "so_far": None,
            }
            for sheet in sheets
        ],
    }


def _run(row: tuple[Any, ...]) -> RunRow:
    run = RunRow._make(row)
    return run._replace(
        status=JobStatus(run.status),
        final=None if run.final is None else JobStatus(run.final),
        reason=run.reason or "",
        score_path=path_from_store(run.score_path),
        workspace=path_from_store(run.workspace),
    )


def _sheet(row: tuple[Any, ...]) -> SheetRow:
    # Written out: a job may have 100,000 of them.
    (num, movement, voice, instrument, model, description, status, reason, attempts) = row[:9]
    (retries, completions, lost, blocked, mode, *rest) = row[9:]
    return SheetRow(
        num,
        movement,
        voice,
        instrument,
        model,
        description or "",
        _SHEET_STATUS[status],
        reason or "",
        attempts,
        retries,
        completions,
        lost,
        bool(blocked),
        AttemptMode.NORMAL if mode is None else AttemptMode(mode),
        *rest,
    )


def _attempt(row: tuple[Any, ...]) -> AttemptRow:
    attempt = AttemptRow._make(row)
    return attempt._replace(
        mode=AttemptMode(attempt.mode),
        reason=attempt.reason or "",
        ending_reason=attempt.ending_reason or "",
    )


def _validation(row: tuple[Any, ...]) -> ValidationRow:
    result = ValidationRow._make(row)
    return result._replace(
        passed=bool(result.passed),
        description=result.description or "",
        expected=result.expected or "",
        actual=result.actual or "",
        reason=result.reason or "",
        suggested_fix=result.suggested_fix or "",
    )
