"""Rate limits in the store: one of each instrument and model, until it ends or is lifted."""

from __future__ import annotations

import asyncio

import pytest

from marianne_core.model.errors import StateError
from marianne_core.model.states import SheetStatus
from marianne_core.remember.changes import LimitLifted, LimitMet, SheetSaved, Sync
from marianne_core.remember.clearing import lift_without_conductor
from marianne_core.remember.lock import StateLock
from marianne_core.remember.rows import LimitRow

CLAUDE = LimitMet(
    "claude-code", None, 1300.0, False, at=1000.0, reason="slow down", run_id=3, num=7
)
OPUS = LimitMet("claude-code", "opus", 5000.0, True, at=1000.0, reason="used up")
CODEX = LimitMet("codex-cli", None, 2000.0, False, at=1000.0)


async def _keep(store, *changes) -> None:
    await store.journal.commit(list(changes), sync=Sync.WRITE)


async def test_what_holds_is_told(store) -> None:
    await _keep(store, OPUS, CLAUDE, CODEX)
    with store.reader() as reader:
        assert reader.limits(1300.0) == [
            LimitRow("claude-code", "opus", 5000.0, True, "used up", 1000.0, 0, 0),
            LimitRow("codex-cli", None, 2000.0, False, "", 1000.0, 0, 0),
        ]
        assert reader.limits(1299.0)[0] == LimitRow(
            "claude-code", None, 1300.0, False, "slow down", 1000.0, 3, 7
        )
        assert reader.limits(5000.0) == []


async def test_a_later_one_takes_its_place_and_one_is_lifted(store) -> None:
    later = LimitMet("claude-code", None, 1900.0, True, at=1400.0)
    await _keep(store, CLAUDE, OPUS, later, LimitLifted("claude-code", "opus"))
    with store.reader() as reader:
        (row,) = reader.limits(0.0)
    assert (row.instrument, row.model, row.until, row.by_clock) == (
        "claude-code",
        None,
        1900.0,
        True,
    )


async def test_a_sheet_remembers_how_often_it_waited(store, submit) -> None:
    run_id = (await submit(2)).run_id
    await _keep(store, SheetSaved(run_id, 1, SheetStatus.WAITING, 1.0, attempts=2, waits_used=2))
    with store.reader() as reader:
        assert [sheet.waits_used for sheet in reader.sheets(run_id)] == [2, 0]


@pytest.mark.parametrize(
    ("instrument", "lifted", "left"),
    [(None, 2, []), ("codex-cli", 1, ["claude-code"]), ("nobody", 0, ["claude-code", "codex-cli"])],
)
async def test_without_a_conductor(store, instrument, lifted: int, left: list[str]) -> None:
    await _keep(store, CLAUDE, OPUS, CODEX)
    await store.journal.close()
    count = await asyncio.to_thread(
        lift_without_conductor, store.home, instrument, 1500.0, version="1"
    )
    assert count == lifted  # what is over by then does not count, and goes too
    with store.reader() as reader:
        assert [row.instrument for row in reader.limits(0.0)] == left


async def test_not_beside_a_conductor(store) -> None:
    await _keep(store, CLAUDE)
    lock = StateLock(store.home.lock)
    lock.acquire(version="1", socket=store.home.socket)
    try:
        with pytest.raises(StateError):
            lift_without_conductor(store.home, None, 0.0, version="1")
    finally:
        lock.release()


async def test_where_there_is_no_store_there_is_nothing_to_lift(tmp_path, home) -> None:
    assert lift_without_conductor(home, None, 0.0, version="1") == 0
