"""Syncing beside the writer: what goes onto the disk before what, and a disk that refuses."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from pathlib import Path

import pytest

from marianne_core.model.errors import StateError
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.remember.changes import AttemptFinished, AttemptIntended, Sync

LOG = "marianne.db-wal"


def finished(run_id: int, num: int, *outputs: Path) -> AttemptFinished:
    outcome = Outcome(Ended.OK, exit_code=0)
    return AttemptFinished(run_id, num, 1, 2.0, outcome, outputs=tuple(map(str, outputs)))


def written(path: Path, content: str = "said\n") -> Path:
    path.write_text(content)
    return path


async def test_a_sync_that_takes_long_holds_up_no_commit(store, event, syncs) -> None:
    syncs.gate.clear()
    store.journal.add([event("result")], sync=Sync.LAZY)
    await syncs.until(LOG)
    # The disk is at work and stays so; whoever needs only the write is served.
    async with asyncio.timeout(10):
        for _ in range(20):
            await store.journal.commit([event("intent")], sync=Sync.WRITE)
    assert len(store.kinds()) == 21
    assert syncs.names == [LOG]


async def test_what_was_committed_during_a_sync_gets_another(store, event, syncs) -> None:
    syncs.gate.clear()
    store.journal.add([event("one")], sync=Sync.LAZY)
    await syncs.until(LOG)
    await store.journal.commit([event("two")], sync=Sync.LAZY)
    syncs.gate.set()
    await syncs.until(LOG, times=2)


async def test_a_results_files_are_synced_before_its_row(store, submit, syncs, tmp_path) -> None:
    key = await submit()
    files = [written(tmp_path / name) for name in ("1.1.out", "1.1.txt")]
    await store.journal.commit([finished(key.run_id, 1, *files)], sync=Sync.LAZY)
    assert syncs.names == []
    await syncs.until(LOG)
    assert syncs.names == ["1.1.out", "1.1.txt", LOG]


async def test_a_command_does_not_get_ahead_of_the_files(store, submit, syncs, tmp_path) -> None:
    """A commit at FULL syncs the rows of earlier results, and those of its own group."""
    key = await submit()
    earlier, beside = written(tmp_path / "1.1.out"), written(tmp_path / "2.1.out")
    await store.journal.commit([finished(key.run_id, 1, earlier)], sync=Sync.LAZY)
    store.journal.add([finished(key.run_id, 2, beside)], sync=Sync.LAZY)
    seen: list[list[str]] = []
    await store.journal.call(lambda connection: seen.append(list(syncs.names)), sync=Sync.DISK)
    assert seen == [["1.1.out", "2.1.out"]]


async def test_a_result_is_not_committed_into_a_sync_of_the_log(
    store, submit, event, syncs, tmp_path
) -> None:
    key = await submit()
    syncs.gate.clear()
    store.journal.add([event("earlier")], sync=Sync.LAZY)
    await syncs.until(LOG)
    waiting = asyncio.ensure_future(
        store.journal.commit([finished(key.run_id, 1, written(tmp_path / "1.1.out"))])
    )
    await asyncio.sleep(0.05)
    assert not waiting.done()
    syncs.gate.set()
    await asyncio.wait_for(waiting, 10)
    await store.journal.flush()
    assert syncs.names == [LOG, "1.1.out", LOG]


async def test_files_that_need_no_sync(store, submit, syncs, tmp_path) -> None:
    key = await submit()
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(written(tmp_path / "elsewhere"))
    names = ("empty", "missing", "fifo", "link", "folder/missing")
    await store.journal.commit([finished(key.run_id, 1, *(tmp_path / name for name in names))])
    await store.journal.flush()
    assert syncs.names == [LOG]


async def test_a_file_that_vanished_before_its_sync(store, submit, syncs, tmp_path) -> None:
    key = await submit()
    file = written(tmp_path / "1.1.out")
    await store.journal.commit([finished(key.run_id, 1, file)])
    file.unlink()
    await store.journal.flush()
    assert syncs.names == [LOG]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EIO, "the disk reports an error"), (errno.ENOSPC, "the disk is full")],
)
async def test_a_sync_that_fails_is_trouble_until_one_succeeds(
    store, event, syncs, number: int, words: str
) -> None:
    syncs.failing[LOG] = number
    store.journal.add([event("result")], sync=Sync.LAZY)
    await store.until(lambda: bool(store.troubles))
    assert store.troubles == [f"the state database cannot be written: {words}"]
    with pytest.raises(StateError, match=words):
        await store.journal.flush()
    syncs.failing.clear()
    await store.until(lambda: store.troubles[-1] is None)
    await store.journal.commit([event("next")], sync=Sync.DISK)
    assert store.kinds() == ["result", "next"]
    assert len(store.troubles) == 2


async def test_after_a_failed_sync_the_rows_are_written_anew(store, event, syncs) -> None:
    """The system takes pages for written that it failed to write: they go into the database."""
    syncs.failing[LOG] = errno.EIO
    store.journal.add([event("result")], sync=Sync.LAZY)
    await store.until(lambda: bool(store.troubles))
    syncs.failing.clear()
    await store.until(lambda: store.troubles[-1] is None)
    alone = store.home.root / "copy.db"
    alone.write_bytes(store.home.database.read_bytes())
    with sqlite3.connect(alone) as copy:
        assert copy.execute("SELECT kind FROM events").fetchall() == [("result",)]
    copy.close()


async def test_a_file_that_cannot_be_synced_is_trouble(store, submit, syncs, tmp_path) -> None:
    key = await submit()
    syncs.failing["1.1.out"] = errno.EIO
    store.journal.add([finished(key.run_id, 1, written(tmp_path / "1.1.out"))], sync=Sync.LAZY)
    await store.until(lambda: bool(store.troubles))
    assert LOG not in syncs.names
    syncs.failing.clear()
    await store.until(lambda: store.troubles[-1] is None)
    assert syncs.names[-1] == "1.1.out"


async def test_commands_are_refused_whole_while_files_cannot_be_synced(
    store, submit, event, syncs, tmp_path
) -> None:
    key = await submit()
    syncs.failing["1.1.out"] = errno.EIO
    await store.journal.commit([finished(key.run_id, 1, written(tmp_path / "1.1.out"))])
    with pytest.raises(StateError, match="the disk reports an error"):
        await store.journal.commit([event("refused")], sync=Sync.DISK)
    syncs.failing.clear()
    await store.until(lambda: store.troubles[-1:] == [None])
    assert store.kinds() == []


async def test_a_long_log_is_copied_into_the_database(store, submit, syncs, tmp_path) -> None:
    key = await submit()
    log = store.home.database.with_name(LOG)
    file = written(tmp_path / "1.1.out")
    for _ in range(60):
        rows = [
            AttemptIntended(key.run_id, 1, attempt, 1.0, f"t{attempt}", "boot", "x" * 40)
            for attempt in range(1, 301)
        ]
        await store.journal.commit([*rows, finished(key.run_id, 1, file)], sync=Sync.WRITE)
    await store.journal.written()
    checkpoints = [s for s in store.trace if "wal_checkpoint" in s]
    assert 3 <= len(checkpoints) <= 6
    assert log.stat().st_size < 8_000_000
    assert "1.1.out" in syncs.names


async def test_closing_syncs_what_is_owed(store, submit, syncs, tmp_path) -> None:
    key = await submit()
    await store.journal.commit([finished(key.run_id, 1, written(tmp_path / "1.1.out"))])
    await store.journal.close()
    assert syncs.names == ["1.1.out", LOG]
