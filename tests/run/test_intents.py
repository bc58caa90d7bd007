"""Intents written ahead: one token an attempt, committed before it starts, right after refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from marianne_core.decide.messages import Launch
from marianne_core.model.errors import StateError
from marianne_core.model.states import AttemptMode
from marianne_core.remember.changes import AttemptIntended, Sync
from marianne_core.run.intents import Intents


class Store:
    """A journal whose commits end when the test says so."""

    def __init__(self) -> None:
        self.commits: list[tuple[list[AttemptIntended], asyncio.Future[None]]] = []

    async def commit(self, rows: Sequence[AttemptIntended], *, sync: Sync) -> None:
        assert sync is Sync.WRITE
        future = asyncio.get_running_loop().create_future()
        self.commits.append((list(rows), future))
        await future

    def sheets(self, number: int) -> list[int]:
        return [row.num for row in self.commits[number][0]]

    async def answer(self, number: int, error: StateError | None = None) -> None:
        future = self.commits[number][1]
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
        for _ in range(3):
            await asyncio.sleep(0)


def order(num: int, attempt: int = 1, run_id: int = 1) -> Launch:
    return Launch(run_id, num, attempt, AttemptMode.NORMAL)


def row(launch: Launch, token: str) -> AttemptIntended:
    return AttemptIntended(launch.run_id, launch.num, launch.attempt, 1.0, token, "boot", "cli")


class Ahead:
    """What the baton would say comes next: sheets in order from one on."""

    def __init__(self, last: int) -> None:
        self.next, self.last = 1, last

    def likely(self, n: int) -> list[Launch]:
        return [order(num) for num in range(self.next, min(self.last + 1, self.next + n))]

    def take(self) -> Launch:
        self.next += 1
        return order(self.next - 1)


def intents(store: Store, likely: Callable[[int], Sequence[Launch]]) -> Intents:
    return Intents(store, likely, lambda launch, n: [], row)  # type: ignore[arg-type]


async def test_sixteen_are_written_ahead_and_the_next_in_time() -> None:
    store, ahead = Store(), Ahead(100)
    made = intents(store, ahead.likely)
    for num in range(1, 4):
        made.token_of(ahead.take())
        await asyncio.sleep(0)
        assert len(store.commits) == 1, num
    assert store.sheets(0) == list(range(1, 18))
    await store.answer(0)
    for _ in range(20):
        made.token_of(ahead.take())
        await asyncio.sleep(0)
    assert len(store.commits) == 2
    assert set(store.sheets(0)).isdisjoint(store.sheets(1))


async def test_nobody_starts_before_the_commit() -> None:
    store = Store()
    made = intents(store, lambda n: [])
    token = made.token_of(order(1))
    waiting = asyncio.ensure_future(made.committed(1, 1, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    assert store.commits[0][0] == [row(order(1), token)]
    await store.answer(0)
    await asyncio.wait_for(waiting, 10)


async def test_a_refused_commit_refuses_its_attempts_and_no_others() -> None:
    store = Store()
    made = intents(store, lambda n: [])
    made.token_of(order(1))
    await asyncio.sleep(0)
    made.token_of(order(2))
    await asyncio.sleep(0)
    first, second = (asyncio.ensure_future(made.committed(1, num, 1)) for num in (1, 2))
    await asyncio.sleep(0)
    await store.answer(0, StateError("the disk is full"))
    await store.answer(1)
    with pytest.raises(StateError, match="the disk is full"):
        await first
    await second
    # Whoever asks later is refused as well.
    with pytest.raises(StateError, match="could not be stored"):
        await made.committed(1, 1, 1)


async def test_after_a_refusal_the_next_are_still_written_ahead_in_time() -> None:
    """A refused commit takes its own intents away, not those that others wrote."""
    store, ahead = Store(), Ahead(100)
    made = intents(store, ahead.likely)
    made.token_of(ahead.take())
    await asyncio.sleep(0)
    await store.answer(0)  # 1 to 17: sixteen of them unused
    made.token_of(order(50))
    await asyncio.sleep(0)
    await store.answer(1, StateError("the disk is full"))
    commits = len(store.commits)
    # Ten more of the first commit are used before anything is written again.
    for _ in range(9):
        made.token_of(ahead.take())
        await asyncio.sleep(0)
    assert len(store.commits) == commits
    for _ in range(3):
        made.token_of(ahead.take())
        await asyncio.sleep(0)
    assert len(store.commits) == commits + 1


async def test_a_late_refusal_spares_the_token_that_came_after() -> None:
    """Given up before it started, the same attempt is offered again: it has a commit of its own."""
    store = Store()
    made = intents(store, lambda n: [])
    first = made.token_of(order(1))
    await asyncio.sleep(0)
    made.used(1, 1, 1)
    second = made.token_of(order(1))
    await asyncio.sleep(0)
    assert second != first
    waiting = asyncio.ensure_future(made.committed(1, 1, 1))
    await asyncio.sleep(0)
    await store.answer(0, StateError("the disk is full"))
    assert not waiting.done()
    await store.answer(1)
    await asyncio.wait_for(waiting, 10)
    assert made.token_of(order(1)) == second


async def test_a_run_that_is_over_gives_its_unused_intents_back() -> None:
    store, ahead = Store(), Ahead(5)
    made = intents(store, ahead.likely)
    made.token_of(ahead.take())
    made.token_of(order(1, run_id=2))
    await asyncio.sleep(0)
    await store.answer(0)
    assert made.forget(1) == [(1, num, 1) for num in range(2, 6)]
    assert made.forget(1) == []
    with pytest.raises(StateError):
        await made.committed(1, 3, 1)
