"""Many sheets in one change: the same rows and counters as one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marianne_core.model.states import SheetStatus
from marianne_core.remember.changes import Change, SheetDraft, SheetSaved, SheetsSaved
from marianne_core.remember.home import Home
from marianne_core.remember.migrations import open_database
from marianne_core.remember.queries import Reader
from marianne_core.remember.submitting import add_run
from marianne_core.remember.writing import apply

S = SheetStatus
ALIKE = (S.PENDING, S.SKIPPED, S.CANCELLED)


@pytest.fixture
def connection(home: Home) -> Iterator[sqlite3.Connection]:
    with closing(open_database(home.database)) as connection:
        yield connection


def made(connection: sqlite3.Connection, submission, sheets: int) -> int:
    drafts = [SheetDraft(num, "cli", description=f"sheet {num}") for num in range(1, sheets + 1)]
    return add_run(connection, submission(), drafts).run_id


def picture(connection: sqlite3.Connection, run_id: int) -> tuple[object, ...]:
    reader = Reader(connection)
    run = reader.run(run_id)
    assert run is not None
    return (run.completed, run.failed, run.skipped, run.cancelled, reader.sheets(run_id))


def one_by_one(change: SheetsSaved) -> list[SheetSaved]:
    return [
        SheetSaved(
            change.run_id, num, change.status, change.at, change.reason, blocked=change.blocked
        )
        for block in change.blocks
        for num in block
    ]


@st.composite
def histories(draw) -> list[tuple[Sequence[range], SheetStatus, str, bool]]:
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        first = draw(st.integers(1, 12))
        middle = draw(st.integers(first, 12))
        blocks = [range(first, middle + 1)]
        if middle < 11:
            blocks.append(range(middle + 2, draw(st.integers(middle + 2, 12)) + 1))
        status = draw(st.sampled_from(ALIKE))
        steps.append((blocks, status, draw(st.sampled_from(("", "why"))), draw(st.booleans())))
    return steps


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=histories())
def test_many_at_once_are_the_same_rows_as_one_by_one(connection, submission, steps) -> None:
    at_once, apart = (made(connection, submission, 12) for _ in range(2))
    for at, (blocks, status, reason, blocked) in enumerate(steps, 5):
        change = SheetsSaved(at_once, blocks, status, float(at), reason, blocked)
        apply(connection, [change])
        apply(connection, one_by_one(replace(change, run_id=apart)))
        assert picture(connection, at_once) == picture(connection, apart)


def test_they_keep_their_place_among_other_changes(connection, submission) -> None:
    run_id = made(connection, submission, 4)
    changes: list[Change] = [
        SheetSaved(run_id, 2, S.IN_PROGRESS, 5.0, attempts=1),
        SheetsSaved(run_id, [range(3, 5)], S.CANCELLED, 6.0, "no longer wanted"),
        SheetSaved(run_id, 4, S.PENDING, 7.0, "to run again"),
        SheetsSaved(run_id, [range(1, 2), range(3, 4)], S.SKIPPED, 8.0, "blocked", blocked=True),
    ]
    apply(connection, changes)
    rows = Reader(connection).sheets(run_id)
    assert [(row.status, row.reason, row.finished_at) for row in rows] == [
        (S.SKIPPED, "blocked", 8.0),
        (S.IN_PROGRESS, "", None),
        (S.SKIPPED, "blocked", 8.0),
        (S.PENDING, "to run again", None),
    ]
    assert (rows[1].attempts, rows[1].started_at) == (1, 5.0)
    assert picture(connection, run_id)[:4] == (0, 0, 2, 0)


def test_the_counters_are_counted_once_and_by_single_changes_as_before(
    connection, submission
) -> None:
    run_id = made(connection, submission, 2000)
    apply(connection, [SheetSaved(run_id, 3, S.FAILED, 8.0, attempts=1)])
    before = connection.total_changes
    block = range(5, 2001)
    apply(connection, [SheetsSaved(run_id, [block], S.CANCELLED, 9.0, "no longer wanted")])
    # Its sheets, its run, and a mark that is set and lifted.
    assert connection.total_changes - before == 1996 + 1 + 2
    assert picture(connection, run_id)[:4] == (0, 1, 0, 1996)
    apply(connection, [SheetSaved(run_id, 7, S.COMPLETED, 10.0, attempts=1)])
    assert picture(connection, run_id)[:4] == (1, 1, 0, 1995)
    assert connection.execute("SELECT count(*) FROM marks").fetchone() == (0,)
