"""Forgetting runs: rows of all tables in one transaction, and only of runs that are over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock
from marianne_core.remember.migrations import open_database, open_for_reading, unreadable
from marianne_core.remember.schema import TABLES_OF_A_RUN
from marianne_core.remember.trouble import refusal

_TERMINAL = tuple(status.value for status in JobStatus if status.terminal)


@dataclass(frozen=True, slots=True)
class ClearFilter:
    """Which runs to forget. A run must meet every condition that is given.

    None is no condition, and an empty one is met by nothing. A filter without any condition clears
    nothing. Runs that are not over are never cleared, whatever the filter says.
    """

    jobs: Sequence[JobRef] | None = None
    """A job alone stands for all its runs, `job#3` for one."""
    statuses: Sequence[JobStatus] | None = None
    older_than: float | None = None
    """Seconds since the run ended."""
    keep_newest: int | None = None
    """Spare this many of the newest runs that are over (`max_job_history`)."""


def clear_runs(connection: sqlite3.Connection, wanted: ClearFilter, now: float) -> list[int]:
    """Delete the runs that the filter names, within the transaction that is open.

    `now` is wall clock. A job without a run left gives its id free. Returns the run ids, so that
    the caller removes their directories after the commit (see `run_dirs`).
    """
    run_ids = [int(run_id) for (run_id,) in connection.execute(*runs_to_clear(wanted, now))]
    for statement in DELETE_RUN:
        connection.executemany(statement, [(run_id,) for run_id in run_ids])
    if run_ids:
        connection.execute(DELETE_EMPTY_JOBS)
    return run_ids


DELETE_RUN: tuple[str, ...] = tuple(f"DELETE FROM {t} WHERE run_id = ?" for t in TABLES_OF_A_RUN)
"""Each with a run id: the statements that delete one run."""

DELETE_EMPTY_JOBS = "DELETE FROM jobs WHERE job_id NOT IN (SELECT job_id FROM runs)"


def runs_to_clear(wanted: ClearFilter, now: float) -> tuple[str, list[object]]:
    """SQL and parameters that find the run ids of a filter."""
    if wanted == ClearFilter():
        return "SELECT run_id FROM runs WHERE 0", []
    where, values = [f"status IN ({_marks(_TERMINAL)})"], list[object](_TERMINAL)
    if wanted.statuses is not None:
        where.append(f"status IN ({_marks(wanted.statuses)})")
        values += [str(status) for status in wanted.statuses]
    if wanted.jobs is not None:
        one_of = []
        for ref in wanted.jobs:
            one_of.append("job_id = ?" if ref.run is None else "job_id = ? AND run = ?")
            values += [ref.job_id] if ref.run is None else [ref.job_id, ref.run]
        where.append(f"({' OR '.join(one_of) or '0'})")
    if wanted.older_than is not None:
        where.append("finished_at <= ?")
        values.append(now - wanted.older_than)
    if wanted.keep_newest is not None:
        where.append(
            "run_id NOT IN (SELECT run_id FROM runs WHERE"
            f" status IN ({_marks(_TERMINAL)}) ORDER BY run_id DESC LIMIT ?)"
        )
        values += [*_TERMINAL, wanted.keep_newest]
    return f"SELECT run_id FROM runs WHERE {' AND '.join(where)} ORDER BY run_id", values


def runs_in_store(home: Home, wanted: ClearFilter, now: float) -> list[int]:
    """The run ids that a filter finds now; `now` is wall clock. Raises StateError."""
    connection = open_for_reading(home.database)
    if connection is None:
        return []
    try:
        return [int(run_id) for (run_id,) in connection.execute(*runs_to_clear(wanted, now))]
    except sqlite3.Error as error:
        raise unreadable(str(home.database), error) from error
    finally:
        connection.close()


def clear_without_conductor(
    home: Home, wanted: ClearFilter, now: float, *, version: str
) -> list[int]:
    """Like `clear_runs`, for a command when no conductor runs; returns after the commit.

    Takes the state lock meanwhile; `version` is the program's, for those who find it taken. Raises
    StateError when a conductor works there or the database cannot be written.
    """
    if not home.database.exists():
        return []
    with _only_writer(home, version) as connection:
        return clear_runs(connection, wanted, now)


def lift_without_conductor(home: Home, instrument: str | None, now: float, *, version: str) -> int:
    """Forget the rate limits of an instrument, or all, when no conductor runs; how many held.

    Other things as in `clear_without_conductor`.
    """
    if not home.database.exists():
        return 0
    with _only_writer(home, version) as connection:
        where, values = ("", []) if instrument is None else (" AND instrument = ?", [instrument])
        held = connection.execute(
            f"DELETE FROM limits WHERE until > ?{where}", [now, *values]
        ).rowcount
        connection.execute("DELETE FROM limits WHERE until <= ?", [now])
        return held


@contextmanager
def _only_writer(home: Home, version: str) -> Iterator[sqlite3.Connection]:
    """The database within one transaction, and nobody else who conducts; committed at the end."""
    lock = StateLock(home.lock)
    lock.acquire(version=version, socket=home.socket)
    try:
        connection = open_database(home.database)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise refusal(error, home.database) from error
        finally:
            # Undoes what was not committed.
            connection.close()
    finally:
        lock.release()


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
