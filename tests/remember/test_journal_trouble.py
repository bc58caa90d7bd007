"""A store that cannot be written: nothing is lost, nobody waits for ever, and it goes on."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from marianne_core.model.errors import StateError
from marianne_core.model.states import JobStatus
from marianne_core.remember.changes import RunSaved, Sync

FILL = "x" * 3000


async def fill(store, event) -> int:
    """Add events until the database is full; returns how many were added."""
    store.limit_to(20)
    for number in range(200):
        store.journal.add([event("full", number=number, fill=FILL)])
        await asyncio.sleep(0)
    await store.until(lambda: bool(store.troubles))
    return 200


async def test_a_full_disk_loses_nothing_and_goes_on(store, event) -> None:
    count = await fill(store, event)
    assert store.troubles == ["the state database cannot be written: the disk is full"]
    assert len(store.kinds()) < count
    for number in range(50):
        store.journal.add([event("later", number=number)])
    await asyncio.sleep(0)
    store.lift_limit()
    await store.until(lambda: store.troubles[-1] is None)
    await store.journal.flush()
    with store.reader() as reader:
        events = reader.events()
    assert [event.kind for event in events] == ["full"] * count + ["later"] * 50
    assert [event.data["number"] for event in events] == [*range(count), *range(50)]
    assert len(store.troubles) == 2


async def test_a_full_disk_refuses_commands_clearly_and_whole(store, event, submit) -> None:
    key = await submit()
    await fill(store, event)
    for sync in Sync:
        with pytest.raises(StateError, match="the disk is full") as caught:
            await store.journal.commit(
                [event("refused"), RunSaved(key.run_id, JobStatus.PAUSED, 5.0)], sync=sync
            )
        assert "free some space" in caught.value.hint
        assert caught.value.where == str(store.home.database)
    with pytest.raises(StateError, match="the disk is full"):
        await submit()
    with pytest.raises(StateError, match="the disk is full"):
        await store.journal.flush()
    store.lift_limit()
    # Somebody who waits does not wait for the next retry.
    await store.journal.commit([event("accepted")], sync=Sync.DISK)
    assert store.troubles[-1] is None
    assert store.kinds() == ["full"] * 200 + ["accepted"]
    with store.reader() as reader:
        assert [run.status for run in reader.list_runs()] == [JobStatus.QUEUED]


async def test_a_command_too_large_is_refused_while_all_else_is_written(store, event) -> None:
    store.limit_to(60)
    store.journal.add([event("before")])
    large = asyncio.ensure_future(store.journal.commit([event("large", fill="x" * 400_000)]))
    small = asyncio.ensure_future(store.journal.commit([event("small")], sync=Sync.DISK))
    await asyncio.sleep(0)
    store.journal.add([event("after")])
    with pytest.raises(StateError, match="the disk is full"):
        await large
    await small
    await store.journal.flush()
    assert store.kinds() == ["before", "small", "after"]
    assert store.troubles == []


async def test_a_lone_command_too_large_is_no_trouble(store, event) -> None:
    store.limit_to(60)
    with pytest.raises(StateError, match="the disk is full"):
        await store.journal.commit([event("large", fill="x" * 400_000)])
    await store.journal.commit([event("small")])
    assert store.troubles == []


async def test_trouble_without_anything_kept_ends_by_itself(store, event) -> None:
    store.limit_to(0)

    async def commit_many() -> None:
        for _ in range(100):
            await store.journal.commit([event("intent", fill=FILL)])

    with pytest.raises(StateError, match="the disk is full"):
        await commit_many()
    await store.until(lambda: bool(store.troubles))
    store.lift_limit()
    await store.until(lambda: store.troubles[-1] is None)


async def test_a_read_only_database(store, event) -> None:
    await store.journal.commit([event("before")])
    store.connection.execute("PRAGMA query_only=1")
    store.journal.add([event("kept")])
    with pytest.raises(StateError, match="read-only"):
        await store.journal.commit([event("refused")], sync=Sync.DISK)
    assert store.troubles == ["the state database cannot be written: it is read-only"]
    store.connection.execute("PRAGMA query_only=0")
    await store.until(lambda: store.troubles[-1] is None)
    assert store.kinds() == ["before", "kept"]


async def test_a_database_locked_by_another_program(store, event) -> None:
    other = sqlite3.connect(store.home.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.journal.add([event("kept")])
    with pytest.raises(StateError, match="locked") as caught:
        await store.journal.commit([event("refused")])
    assert "other program" in caught.value.hint
    other.execute("ROLLBACK")
    other.close()
    await store.until(lambda: store.troubles[-1:] == [None])
    assert store.kinds() == ["kept"]


async def test_closing_in_trouble_ends_and_says_what_is_lost(store, event) -> None:
    await fill(store, event)
    waiting = asyncio.ensure_future(store.journal.commit([event("refused")]))
    await asyncio.sleep(0)
    with pytest.raises(StateError, match=r"changes were not written: .* disk is full"):
        await store.journal.close()
    with pytest.raises(StateError, match="the disk is full"):
        await waiting
    kinds = store.kinds()
    assert kinds == ["full"] * len(kinds)
    # The fixture closes it once more: that says it again, so it is taken here.
    store.journal = _Closed()


class _Closed:
    async def close(self) -> None:
        return


async def test_a_writer_that_fails_leaves_nobody_waiting(store, event, monkeypatch) -> None:
    monkeypatch.setattr(store.journal, "_write", None)
    with pytest.raises(StateError, match="closed"):
        await store.journal.commit([event("lost")])
    assert "the writer of the state database failed" in (store.troubles[0] or "")
    with pytest.raises(StateError, match="closed"):
        store.journal.add([event("late")])
    with pytest.raises(TypeError):
        await store.journal.close()
    store.journal = _Closed()
