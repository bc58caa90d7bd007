"""Databases of other versions and of other programs."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from marianne_core.model.errors import StateError
from marianne_core.model.outcome import Ended
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.remember.changes import AttemptEnding, RunSaved
from marianne_core.remember.home import Home
from marianne_core.remember.migrations import (
    MIGRATIONS,
    SCHEMA_VERSION,
    Migration,
    open_database,
    open_for_reading,
)
from marianne_core.remember.queries import open_reader
from marianne_core.remember.reports import validation_report
from marianne_core.remember.schema import APPLICATION_ID
from marianne_core.remember.writing import apply

STORED = Path(__file__).parents[1] / "data" / "store-v1.db"
STORED_3 = STORED.with_name("store-v3.db")
"""Written by version 1 of the schema: one finished run, one with an attempt that is not over."""


def schema_of(path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> list[tuple[str, str]]:
    connection = open_database(path, migrations)
    try:
        return connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        ).fetchall()
    finally:
        connection.close()


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_database_is_marked_as_ours(home: Home) -> None:
    connection = open_database(home.database)
    assert pragma(connection, "application_id") == APPLICATION_ID
    assert pragma(connection, "user_version") == SCHEMA_VERSION
    assert pragma(connection, "journal_mode") == "wal"
    connection.close()
    assert home.database.stat().st_mode & 0o077 == 0
    open_database(home.database).close()


def test_an_empty_file_becomes_a_database(home: Home) -> None:
    home.database.touch()
    open_database(home.database).close()
    assert open_for_reading(home.database) is not None


def test_the_schema_of_version_1_never_changes(home: Home, tmp_path: Path) -> None:
    shutil.copy(STORED, tmp_path / "stored.db")
    assert schema_of(tmp_path / "stored.db", MIGRATIONS[:1]) == schema_of(
        home.database, MIGRATIONS[:1]
    )


def test_a_migrated_database_is_like_a_new_one(home: Home, tmp_path: Path) -> None:
    shutil.copy(STORED, tmp_path / "stored.db")
    assert schema_of(tmp_path / "stored.db") == schema_of(home.database)


def test_a_stored_database_of_version_1_is_read(home: Home) -> None:
    shutil.copy(STORED, home.database)
    open_database(home.database).close()
    with open_reader(home) as reader:
        done, going = reader.list_runs()[::-1]
        assert (done.job_id, done.run, done.status) == ("hello", 1, JobStatus.COMPLETED)
        assert (done.sheets_total, done.completed, done.skipped) == (3, 2, 1)
        assert [sheet.status for sheet in reader.sheets(done.run_id)] == [
            SheetStatus.COMPLETED,
            SheetStatus.COMPLETED,
            SheetStatus.SKIPPED,
        ]
        assert [attempt.ended for attempt in reader.attempts(done.run_id)] == ["failed", "ok", "ok"]
        assert validation_report(reader, done.run_id, 1, 1).pass_rate == 50.0
        (unfinished,) = reader.unfinished_runs()
        assert unfinished.run == going
        assert unfinished.submission.variables == {"who": "world"}
        assert [attempt.token for attempt in unfinished.open_attempts] == ["00112233aabbccdd"]
        assert [event.kind for event in reader.events(done.run_id)][-1] == "job.completed"


def test_version_2_knows_what_was_ordered_to_end(home: Home) -> None:
    shutil.copy(STORED, home.database)
    connection = open_database(home.database)
    with open_reader(home) as reader:
        (before,) = reader.unfinished_runs()
        (attempt,) = before.open_attempts
    assert (before.run.final, attempt.ending, attempt.ending_reason) == (None, None, "")
    run_id = before.run.run_id
    apply(
        connection,
        [
            AttemptEnding(run_id, attempt.num, attempt.attempt, 5.0, Ended.TIMEOUT, "E001: late"),
            RunSaved(run_id, JobStatus.CANCELLING, 5.0, "E001: late", final=JobStatus.FAILED),
        ],
    )
    connection.close()
    with open_reader(home) as reader:
        (after,) = reader.unfinished_runs()
    assert after.run.final is JobStatus.FAILED
    assert after.open_attempts == [
        attempt._replace(ending="timeout", ending_reason="E001: late", ending_at=5.0)
    ]


def test_a_stored_database_of_version_3_is_read(home: Home) -> None:
    shutil.copy(STORED_3, home.database)
    assert schema_of(home.database, MIGRATIONS[:3]) == schema_of(
        home.database.with_name("new.db"), MIGRATIONS[:3]
    )
    open_database(home.database).close()
    with open_reader(home) as reader:
        (unfinished,) = reader.unfinished_runs()
        assert (unfinished.run.elapsed, unfinished.run.counted_at) == (12.5, 100.0)
        assert {sheet.waits_used for sheet in unfinished.sheets} == {0}
        assert reader.limits(0.0) == []


NEXT = (*MIGRATIONS, ("ALTER TABLE runs ADD COLUMN mood TEXT", "UPDATE runs SET mood = 'calm'"))
NEXT_VERSION = SCHEMA_VERSION + 1


def test_an_older_database_is_brought_forward_with_its_rows(home: Home) -> None:
    shutil.copy(STORED, home.database)
    connection = open_database(home.database, NEXT)
    assert pragma(connection, "user_version") == SCHEMA_VERSION + 1
    assert connection.execute("SELECT job_id, mood FROM runs ORDER BY run_id").fetchall() == [
        ("hello", "calm"),
        ("other", "calm"),
    ]
    connection.close()


def test_a_migration_that_fails_changes_nothing(home: Home) -> None:
    shutil.copy(STORED, home.database)
    before = schema_of(home.database)
    broken = (*MIGRATIONS, ("ALTER TABLE runs ADD COLUMN mood TEXT", "SELECT nonsense"))
    with pytest.raises(StateError, match="nonsense"):
        open_database(home.database, broken)
    assert schema_of(home.database) == before


def test_a_newer_database_is_refused_untouched(home: Home) -> None:
    open_database(home.database, NEXT).close()
    before = home.database.read_bytes()
    with pytest.raises(
        StateError, match=f"has version {NEXT_VERSION}, .* knows versions up to {SCHEMA_VERSION}"
    ) as caught:
        open_database(home.database)
    assert "newer mzt" in caught.value.hint
    with pytest.raises(StateError, match=f"has version {NEXT_VERSION}"):
        open_reader(home)
    assert home.database.read_bytes() == before


def test_a_newer_database_with_an_unfinished_log_is_refused_untouched(home: Home) -> None:
    writer = open_database(home.database, NEXT)
    writer.execute("UPDATE runs SET mood = 'glad'")
    writer.execute("CREATE TABLE more (x)")
    files = [home.database, home.database.with_name("marianne.db-wal")]
    before = [file.read_bytes() for file in files]
    with pytest.raises(StateError, match=f"has version {NEXT_VERSION}"):
        open_database(home.database)
    assert [file.read_bytes() for file in files] == before
    writer.close()


def test_a_reader_waits_for_the_conductor_to_migrate(home: Home) -> None:
    open_database(home.database).close()
    with pytest.raises(
        StateError, match=f"has version {SCHEMA_VERSION}, this program reads version {NEXT_VERSION}"
    ) as caught:
        open_for_reading(home.database, version=NEXT_VERSION)
    assert "mzt run and mzt resume start one" in caught.value.hint


def test_a_database_of_another_program_is_refused_untouched(home: Home) -> None:
    foreign = sqlite3.connect(home.database)
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.commit()
    foreign.close()
    before = home.database.read_bytes()
    for refused in (lambda: open_database(home.database), lambda: open_reader(home)):
        with pytest.raises(StateError, match="of another program") as caught:
            refused()
        assert str(home.database) == caught.value.where
    assert home.database.read_bytes() == before
    assert sorted(path.name for path in home.root.iterdir() if path.is_file()) == ["marianne.db"]


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0", b"\0" * 5000])
def test_other_files_are_refused_untouched(home: Home, content: bytes) -> None:
    home.database.write_bytes(content)
    with pytest.raises(StateError, match="not a database of mzt"):
        open_database(home.database)
    assert home.database.read_bytes() == content


def test_a_damaged_database_is_said(home: Home) -> None:
    open_database(home.database).close()
    whole = home.database.read_bytes()
    home.database.write_bytes(whole[:100] + b"\xa5" * (len(whole) - 100))
    for refused in (lambda: open_database(home.database), lambda: open_reader(home)):
        with pytest.raises(StateError, match="damaged") as caught:
            refused()
        assert "backup" in caught.value.hint


def test_a_directory_in_its_place_is_said(home: Home) -> None:
    home.database.mkdir()
    with pytest.raises(StateError, match="cannot be opened"):
        open_database(home.database)


def test_odd_paths(tmp_path: Path) -> None:
    home = Home(tmp_path / "a b?c#d%41'é")
    home.prepare()
    open_database(home.database).close()
    reader = open_for_reading(home.database)
    assert reader is not None
    assert reader.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    reader.close()


def test_a_crash_while_making_it_leaves_nothing_in_its_place(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (("CREATE TABLE runs (run_id)", "SELECT nonsense"),)
    with pytest.raises(StateError, match="nonsense"):
        open_database(home.database, broken)
    assert [path for path in home.root.iterdir() if path.is_file()] == []
    # Killed instead: what is left beside it is in nobody's way.
    (home.root / "marianne.db.new-0badcafe").write_bytes(b"half a page")
    open_database(home.database).close()
    assert open_for_reading(home.database) is not None


def test_two_who_make_it_at_once_get_the_same_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        first = open_database(home.database)
        first.execute("INSERT INTO jobs VALUES ('first', '/a', 1, 0)")
        first.close()
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    second = open_database(home.database)
    assert second.execute("SELECT job_id FROM jobs").fetchall() == [("first",)]
    second.close()
