"""A full disk and a lack of processes hold back starts, each until it is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from marianne_core.model.waits import Wait, WaitReason
from marianne_core.run import shortages as room
from marianne_core.run.shortages import Shortages


class Engine:
    """Remembers what is held."""

    def __init__(self) -> None:
        self.held: dict[str, Wait] = {}
        self.released = asyncio.Event()

    def hold(self, source: str, wait: Wait) -> None:
        assert source not in self.held
        self.held[source] = wait

    def release(self, source: str) -> None:
        del self.held[source]
        self.released.set()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(room, "_LONGEST_PAUSE", 0.002)


async def test_starts_are_held_until_something_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, False, True])
    asked = []

    def has_room(folder: Path) -> bool:
        asked.append(folder)
        return next(answers)

    monkeypatch.setattr(room, "_has_room", has_room)
    engine = Engine()
    shortages = Shortages(engine.hold, engine.release)
    shortages.disk_full(tmp_path, "no space left")
    shortages.disk_full(tmp_path, "no space left")  # said by another sheet
    (wait,) = engine.held.values()
    assert wait.reason is WaitReason.DISK
    assert "no space left" in wait.words()
    async with asyncio.timeout(10):
        await engine.released.wait()
    assert engine.held == {}
    assert asked == [tmp_path] * 3


async def test_each_reason_is_released_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_has_room", lambda folder: False)
    engine = Engine()
    shortages = Shortages(engine.hold, engine.release)
    shortages.disk_full(tmp_path, "full")
    shortages.of_means("no process could be started")
    assert len(engine.held) == 2
    async with asyncio.timeout(10):
        await engine.released.wait()
    (wait,) = engine.held.values()
    assert wait.reason is WaitReason.DISK
    await shortages.close()


async def test_a_shortage_that_goes_on_is_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "_LONGEST_PAUSE", 5.0)
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    engine = Engine()
    shortages = Shortages(engine.hold, engine.release)
    monkeypatch.setattr(room.asyncio, "sleep", sleep)
    for _ in range(3):
        shortages.of_means("no process could be started")
        async with asyncio.timeout(10):
            await engine.released.wait()
        engine.released.clear()
    assert slept == [0.001, 0.002, 0.004]


async def test_a_trial_that_gets_no_thread_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marianne_core.run.system_errors._FIRST_PAUSE", 0.001)
    answers: list[object] = [RuntimeError("can't start new thread"), True]

    async def to_thread(*_: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(room.asyncio, "to_thread", to_thread)
    engine = Engine()
    Shortages(engine.hold, engine.release).disk_full(tmp_path, "full")
    async with asyncio.timeout(10):
        await engine.released.wait()
    assert answers == []


async def test_starts_that_fail_together_are_one_shortage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "_LONGEST_PAUSE", 5.0)
    engine = Engine()
    shortages = Shortages(engine.hold, engine.release)
    for _ in range(4):
        shortages.of_means("no process could be started")
    assert shortages._pause == 0.002
    await shortages.close()


def test_room_is_what_a_trial_write_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert room._has_room(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert room._has_room(tmp_path / "gone")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room.os, "fsync", full)
    assert not room._has_room(tmp_path)
