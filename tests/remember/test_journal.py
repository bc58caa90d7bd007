"""The journal: what goes into one commit, in which order, synced how far."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from marianne_core.model.errors import JobSubmissionError, StateError
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.remember.changes import (
    AttemptBegun,
    AttemptFinished,
    AttemptIntended,
    RunSaved,
    SheetSaved,
    Sync,
)
from marianne_core.remember.journal import Journal


def begins(trace: list[str]) -> int:
    return trace.count("BEGIN IMMEDIATE")


def levels(trace: list[str]) -> list[str]:
    """The synchronous level of each transaction, in order."""
    found, level = [], "?"
    for statement in trace:
        if statement.startswith("PRAGMA synchronous="):
            level = statement.partition("=")[2]
        elif statement == "BEGIN IMMEDIATE":
            found.append(level)
    return found


async def test_changes_of_one_loop_turn_are_one_commit(store, event) -> None:
    for number in range(100):
        store.journal.add([event(f"e{number}")], sync=Sync.WRITE)
    await store.journal.commit([event("last")])
    assert begins(store.trace) == 1
    assert store.trace.count("COMMIT") == 1
    assert store.kinds() == [f"e{number}" for number in range(100)] + ["last"]


async def test_nothing_to_write_is_no_transaction(store) -> None:
    await store.journal.commit([])
    await store.journal.flush()
    store.journal.add([])
    await store.journal.flush()
    assert store.trace == []


async def test_level_is_the_strictest_need_and_chosen_before_the_transaction(store, event) -> None:
    await store.journal.commit([event("intent")], sync=Sync.WRITE)
    await store.journal.commit([event("command")], sync=Sync.DISK)
    store.journal.add([event("intent")], sync=Sync.WRITE)
    await store.journal.commit([event("command")], sync=Sync.DISK)
    await store.journal.commit([event("intent")], sync=Sync.WRITE)
    assert levels(store.trace) == ["NORMAL", "FULL", "FULL", "NORMAL"]
    inside = False
    for statement in store.trace:
        assert not (inside and statement.startswith("PRAGMA synchronous"))
        inside = {"BEGIN IMMEDIATE": True, "COMMIT": False}.get(statement, inside)


async def test_lazy_changes_are_written_at_once_and_synced_soon(store, event, syncs) -> None:
    loop = asyncio.get_running_loop()
    store.journal.add([event("result")], sync=Sync.LAZY)
    await store.until(lambda: "COMMIT" in store.trace)
    assert syncs.names == []
    written = loop.time()
    await syncs.until("marianne.db-wal")
    assert 0.02 < loop.time() - written < 5
    assert store.kinds() == ["result"]
    assert levels(store.trace) == ["NORMAL"]


async def test_a_steady_stream_is_synced_now_and_then(store, event, syncs) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.4
    written = 0
    while loop.time() < end:
        await store.journal.commit([event("e")], sync=Sync.LAZY)
        written += 1
    await store.journal.commit([event("e")], sync=Sync.WRITE)
    assert 1 <= len(syncs.names) < 10
    assert set(levels(store.trace)) == {"NORMAL"}
    assert len(store.kinds()) == written + 1


async def test_flush_syncs_what_was_only_written(store, event, syncs) -> None:
    await store.journal.commit([event("intent")], sync=Sync.WRITE)
    assert syncs.names == []
    await store.journal.flush()
    assert syncs.names == ["marianne.db-wal"]
    await store.journal.flush()
    assert syncs.names == ["marianne.db-wal"]
    assert levels(store.trace) == ["NORMAL"]


async def test_a_command_syncs_what_was_written_before_it(store, event, syncs) -> None:
    await store.journal.commit([event("intent")], sync=Sync.LAZY)
    await store.journal.commit([event("command")], sync=Sync.DISK)
    assert levels(store.trace) == ["NORMAL", "FULL"]
    await asyncio.sleep(0.15)
    assert syncs.names == []  # SQLite has done it


async def test_a_command_that_changes_no_row_still_syncs(store, event, syncs) -> None:
    await store.journal.commit([event("intent")], sync=Sync.WRITE)
    await store.journal.commit([RunSaved(77, JobStatus.PAUSED, 1.0)], sync=Sync.DISK)
    assert levels(store.trace) == ["NORMAL", "FULL"]
    assert syncs.names == ["marianne.db-wal"]


async def test_order_of_one_sheet_holds_within_a_group(store, submit) -> None:
    key = await submit()
    for attempt in range(1, 30):
        intent = AttemptIntended(key.run_id, 1, attempt, 1.0, f"t{attempt}", "boot", "cli")
        store.journal.add([intent, SheetSaved(key.run_id, 1, SheetStatus.IN_PROGRESS, 1.0)])
        store.journal.add(
            [
                AttemptBegun(key.run_id, 1, attempt, 2.0, deadline=9.0),
                AttemptFinished(
                    key.run_id, 1, attempt, 3.0, Outcome(Ended.FAILED, exit_code=attempt)
                ),
                SheetSaved(key.run_id, 1, SheetStatus.RETRY_SCHEDULED, 3.0, attempts=attempt),
            ]
        )
    await store.journal.flush()
    with store.reader() as reader:
        sheet = reader.sheets(key.run_id)[0]
        attempts = reader.attempts(key.run_id, 1)
    assert (sheet.status, sheet.attempts, sheet.exit_code) == ("retry_scheduled", 29, 29)
    assert [attempt.exit_code for attempt in attempts] == list(range(1, 30))


async def test_an_attempt_that_never_ran_may_be_intended_again(store, submit) -> None:
    key = await submit()
    intent = AttemptIntended(
        key.run_id, 1, 1, 1.0, "one", "boot", "cli", mode=AttemptMode.COMPLETION
    )
    store.journal.add([intent])
    store.journal.add([AttemptFinished(key.run_id, 1, 1, 2.0, Outcome(Ended.NEVER_RAN))])
    store.journal.add([AttemptIntended(key.run_id, 1, 1, 3.0, "two", "boot", "cli")])
    await store.journal.flush()
    with store.reader() as reader:
        (attempt,) = reader.open_attempts(key.run_id)
    assert (attempt.token, attempt.ended, attempt.mode) == ("two", None, AttemptMode.NORMAL)


async def test_calls_see_what_was_added_before_them(store, event) -> None:
    def count(connection: sqlite3.Connection) -> int:
        return connection.execute("SELECT count(*) FROM events").fetchone()[0]

    store.journal.add([event("one")])
    first = asyncio.ensure_future(store.journal.call(count))
    await asyncio.sleep(0)
    store.journal.add([event("two")])
    assert await first == 1
    assert await store.journal.call(count) == 2


async def test_an_error_in_a_call_is_its_callers_alone(store, event) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM events")
        raise JobSubmissionError("no such job")

    await store.journal.commit([event("zero")])
    store.journal.add([event("one")])
    failing = asyncio.ensure_future(store.journal.call(fail))
    await asyncio.sleep(0)
    store.journal.add([event("two")])
    with pytest.raises(JobSubmissionError, match="no such job"):
        await failing
    await store.journal.flush()
    assert store.kinds() == ["zero", "one", "two"]
    assert store.troubles == []


async def test_giving_up_waiting_does_not_take_changes_back(store, event) -> None:
    waiting = asyncio.ensure_future(store.journal.commit([event("kept")]))
    await asyncio.sleep(0)
    waiting.cancel()
    await store.journal.flush()
    assert waiting.cancelled()
    assert store.kinds() == ["kept"]


async def test_text_that_is_not_unicode_does_not_stop_the_store(store, submit) -> None:
    key = await submit()
    bad = "broken \udcff output"
    await store.journal.commit(
        [SheetSaved(key.run_id, 1, SheetStatus.FAILED, 2.0, reason=bad, attempts=1)]
    )
    with store.reader() as reader:
        assert reader.sheets(key.run_id)[0].reason == "broken ? output"


async def test_long_texts_are_cut(store, submit) -> None:
    key = await submit()
    await store.journal.commit(
        [SheetSaved(key.run_id, 1, SheetStatus.FAILED, 2.0, reason="x" * 100_000)]
    )
    with store.reader() as reader:
        reason = reader.sheets(key.run_id)[0].reason
    assert reason == "x" * 8000 + "… (92000 more characters)"


async def test_a_wrong_change_is_refused_alone_and_reported(store, submit, event) -> None:
    key = await submit()
    reported: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    store.journal.add([event("before")])
    store.journal.add([event("with it"), event("time", sheet=2**70)])
    store.journal.add([event("after")])
    with pytest.raises(StateError, match="refused a change") as caught:
        await store.journal.commit(
            [AttemptIntended(key.run_id, 1, 1, 1.0, None, "boot", "cli")]  # type: ignore[arg-type]
        )
    assert "nothing was changed" in caught.value.hint
    assert store.kinds() == ["before", "after"]
    assert len(reported) == 1
    assert isinstance(reported[0]["exception"], StateError)
    assert store.troubles == []


async def test_close_writes_what_is_left_and_refuses_more(store, event) -> None:
    for number in range(5):
        store.journal.add([event(f"e{number}")], sync=Sync.WRITE)
    await store.journal.close()
    await store.journal.close()
    # Nothing is left beside the database: it is whole and synced.
    assert not store.home.database.with_name("marianne.db-wal").exists()
    assert len(store.kinds()) == 5
    with pytest.raises(StateError, match="closed"):
        store.journal.add([event("late")])
    with pytest.raises(StateError, match="closed"):
        await store.journal.flush()


async def test_what_cannot_be_opened_is_said_at_once(tmp_path) -> None:
    (tmp_path / "db").write_text("a letter to my mother, long enough to be something")
    with pytest.raises(StateError, match="another file"):
        await Journal.open(tmp_path / "db")
