"""Forgetting runs."""

from __future__ import annotations

import asyncio
import os

import pytest

from marianne_core.model.errors import StateError
from marianne_core.model.outcome import Ended, Outcome, ValidationResult
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.broom import Broom
from marianne_core.remember.changes import (
    AttemptFinished,
    AttemptIntended,
    HookResults,
    RunSaved,
)
from marianne_core.remember.clearing import ClearFilter, clear_without_conductor
from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock
from marianne_core.remember.migrations import open_database
from marianne_core.remember.run_dirs import removing, set_strays_aside
from marianne_core.remember.schema import TABLES_OF_A_RUN


@pytest.fixture
async def history(store, submit, event) -> dict[str, int]:
    """Three ended runs of `a`, one of `b`, and one of every status that is not over."""
    ended = [
        ("a1", "/s/a.yaml", JobStatus.COMPLETED, 100.0),
        ("a2", "/s/a.yaml", JobStatus.FAILED, 200.0),
        ("a3", "/s/a.yaml", JobStatus.CANCELLED, 300.0),
        ("b1", "/s/b.yaml", JobStatus.COMPLETED, 400.0),
    ]
    ids = {}
    for name, path, status, at in ended:
        ids[name] = run_id = (await submit(2, path=path)).run_id
        result = ValidationResult(0, "file_exists", "x", True)
        await store.journal.commit(
            [
                AttemptIntended(run_id, 1, 1, 1.0, "t", "b", "cli"),
                AttemptFinished(run_id, 1, 1, 1.0, Outcome(Ended.OK), [result]),
                HookResults(run_id, []),
                event("job.done", run_id),
                RunSaved(run_id, status, at),
            ]
        )
    for status in JobStatus:
        if not status.terminal:
            ids[status.value] = run_id = (await submit(1, path=f"/s/{status}.yaml")).run_id
            await store.journal.commit([RunSaved(run_id, status, 1.0)])
    return ids


@pytest.mark.parametrize(
    ("wanted", "cleared"),
    [
        (ClearFilter(), ""),
        (ClearFilter(jobs=[]), ""),
        (ClearFilter(statuses=[]), ""),
        (ClearFilter(jobs=[], statuses=[JobStatus.FAILED]), ""),
        (ClearFilter(jobs=[JobRef("a")]), "a1 a2 a3"),
        (ClearFilter(jobs=[JobRef("a", 2), JobRef("b")]), "a2 b1"),
        (ClearFilter(jobs=[JobRef("nobody")]), ""),
        (ClearFilter(statuses=[JobStatus.COMPLETED]), "a1 b1"),
        (ClearFilter(statuses=[JobStatus.RUNNING, JobStatus.PAUSED]), ""),
        (ClearFilter(statuses=list(JobStatus)), "a1 a2 a3 b1"),
        (ClearFilter(older_than=750.0), "a1 a2"),
        (ClearFilter(older_than=0.0), "a1 a2 a3 b1"),
        (ClearFilter(jobs=[JobRef("a")], older_than=750.0), "a1 a2"),
        (ClearFilter(keep_newest=1), "a1 a2 a3"),
        (ClearFilter(keep_newest=0), "a1 a2 a3 b1"),
        (ClearFilter(keep_newest=100), ""),
    ],
)
async def test_only_what_the_filter_names(
    store, history, wanted: ClearFilter, cleared: str
) -> None:
    run_ids = await store.journal.clear(wanted, now=1000.0)
    assert run_ids == [history[name] for name in cleared.split()]
    with store.reader() as reader:
        left = {run.run_id for run in reader.list_runs(limit=None)}
    assert left == set(history.values()) - set(run_ids)


async def test_no_row_of_a_cleared_run_is_left(store, history) -> None:
    await store.journal.clear(ClearFilter(jobs=[JobRef("a")]), now=1000.0)
    connection = open_database(store.home.database)
    for table in TABLES_OF_A_RUN:
        rows = connection.execute(f"SELECT DISTINCT run_id FROM {table}").fetchall()
        assert {run_id for (run_id,) in rows}.isdisjoint({1, 2, 3}), table
        assert rows, table
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    others = {"jobs", "limits", "marks", "sqlite_sequence"}
    assert {name for (name,) in names} == {*TABLES_OF_A_RUN, *others}
    jobs = {job_id for (job_id,) in connection.execute("SELECT job_id FROM jobs")}
    assert "a" not in jobs
    assert "b" in jobs
    connection.close()


async def test_clearing_without_a_conductor(store, history) -> None:
    await store.journal.close()
    wanted = ClearFilter(jobs=[JobRef("b")])
    conductor = StateLock(store.home.lock)
    conductor.acquire(version="1", socket=store.home.socket)
    with pytest.raises(StateError, match="already works in this state directory"):
        clear_without_conductor(store.home, wanted, 1000.0, version="1")
    conductor.release()
    assert clear_without_conductor(store.home, wanted, 1000.0, version="1") == [history["b1"]]
    assert conductor.holder() is None
    with store.reader() as reader:
        assert reader.find_run(JobRef("b")) is None


def test_clearing_where_nothing_was_remembered(tmp_path) -> None:
    home = Home(tmp_path / "none")
    assert clear_without_conductor(home, ClearFilter(keep_newest=0), 1.0, version="1") == []
    assert not home.root.exists()


async def test_directories_of_cleared_runs_are_set_aside_after_a_crash(store, history) -> None:
    for run_id in history.values():
        store.home.run_dir(run_id).mkdir()
        (store.home.run_dir(run_id) / "1.1.out").touch()
    (store.home.runs / "notes").mkdir()
    (store.home.runs / "77").touch()
    (store.home.runs / "78").symlink_to(store.home.runs / "notes")
    await store.journal.clear(ClearFilter(jobs=[JobRef("a")]), now=1000.0)
    strays = set_strays_aside(store.home)
    gone = [store.home.run_dir(history[name]) for name in ("a1", "a2", "a3")]
    assert strays == sorted(folder.with_name(f"{folder.name}.gone") for folder in gone)
    assert not any(folder.exists() for folder in gone)
    # A sweep that was broken off is found by the next one.
    assert set_strays_aside(store.home) == strays
    assert list(removing(strays)) == [3]
    assert set_strays_aside(store.home) == []
    assert store.home.run_dir(history["b1"]).exists()
    assert {"notes", "77", "78"} <= {entry.name for entry in store.home.runs.iterdir()}


async def test_a_broom_sweeps_at_the_start(store, history) -> None:
    for name in ("a1", "b1"):
        store.home.run_dir(history[name]).mkdir()
        (store.home.run_dir(history[name]) / "1.1.out").touch()
    await store.journal.clear(ClearFilter(jobs=[JobRef("a", 1)]), now=1000.0)
    broom = Broom(store.home)
    await broom.sweep()
    # From here on a run of this id, of a store that was made anew, is safe.
    assert not store.home.run_dir(history["a1"]).exists()
    async with asyncio.timeout(10):
        while len(os.listdir(store.home.runs)) > 1:  # noqa: ASYNC110, no event tells it
            await asyncio.sleep(0.005)
    await broom.leave()
    assert os.listdir(store.home.runs) == [str(history["b1"])]


async def test_a_broom_that_leaves_early_leaves_the_rest(store) -> None:
    for number in range(900, 903):
        store.home.run_dir(number).mkdir()
    broom = Broom(store.home)
    await broom.sweep()
    await broom.leave()
    await broom.leave()
    assert all(entry.name.endswith(".gone") for entry in store.home.runs.iterdir())


async def test_a_broom_says_what_it_could_not_remove(store, monkeypatch) -> None:
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    store.home.run_dir(5).mkdir()
    (store.home.run_dir(5) / "1.1.out").touch()
    monkeypatch.setattr("os.unlink", refuse)
    with pytest.raises(StateError, match="are forgotten, but") as told:
        await Broom(store.home).remove([5])
    assert told.value.where.endswith("5/1.1.out")


def test_removing_goes_in_portions_and_follows_no_links(tmp_path) -> None:
    folder, kept = tmp_path / "7", tmp_path / "kept"
    (folder / "deep" / "er").mkdir(parents=True)
    kept.mkdir()
    (kept / "mine").touch()
    for number in range(25):
        (folder / f"{number}.1.out").touch()
    (folder / "deep" / "er" / "file").touch()
    (folder / "to a folder").symlink_to(kept)
    (folder / "to a file").symlink_to(kept / "mine")
    (folder / "to nothing").symlink_to(tmp_path / "nothing")
    assert list(removing([folder, tmp_path / "gone"], portion=10)) == [10, 20, 28]
    assert not folder.exists()
    assert (kept / "mine").exists()


def test_removing_a_link_keeps_what_it_leads_to(tmp_path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine").touch()
    (tmp_path / "7").symlink_to(kept)
    assert list(removing([tmp_path / "7"])) == [0]
    assert (kept / "mine").exists()
    assert not (tmp_path / "7").is_symlink()


def test_nothing_to_sweep_yet(tmp_path) -> None:
    assert set_strays_aside(Home(tmp_path / "none")) == []
