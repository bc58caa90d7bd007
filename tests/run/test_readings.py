"""Events of many agents are read in turns, and what cannot be read is left to their end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marianne_core.config.profiles import load_profiles
from marianne_core.run import readings as module
from marianne_core.run.instrument.progress import SLICE, Progress
from marianne_core.run.instrument.result import ResultReader
from marianne_core.run.readings import Readings

PROFILES = load_profiles()
LINE = b'{"type":"assistant","message":{"id":"m","usage":{"input_tokens":5,"output_tokens":1}}}\n'
PATIENCE = 20.0


class Ensemble:
    """Readers of the built-in profiles."""

    def reader(self, name: str) -> ResultReader:
        profile = PROFILES.get(name)
        assert profile is not None
        assert profile.cli is not None
        return ResultReader(profile.cli)


def attempt(folder: Path, number: int, content: bytes, instrument: str = "claude-code") -> Any:
    """As much of an attempt as its reading needs."""
    (folder / f"{number}.out").write_bytes(content)
    sheet = SimpleNamespace(instrument=instrument)
    return SimpleNamespace(
        run=SimpleNamespace(plan=SimpleNamespace(sheets=[sheet])),
        num=1,
        token=f"token {number}",
        progress=None,
        files=SimpleNamespace(name=lambda suffix: f"{folder}/{number}.{suffix}"),
    )


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    return Readings(Ensemble())  # type: ignore[arg-type]


async def told(one: Any, tokens: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while one.progress.so_far is None or one.progress.so_far.input_tokens != tokens:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_attempts_that_end_at_once_take_turns(
    readings: Readings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, held = Progress.read_on, [0]

    def counted(progress: Progress, path: str) -> bool:
        held[-1] += 1
        return read(progress, path)

    async def mark_turns() -> None:
        while True:
            held.append(0)
            await asyncio.sleep(0)

    monkeypatch.setattr(Progress, "read_on", counted)
    many = [attempt(tmp_path, number, LINE * 3000) for number in range(20)]
    marking = asyncio.create_task(mark_turns())
    await asyncio.gather(*map(readings.to_the_end, many))
    marking.cancel()
    assert sum(held) >= 20 * 3000 * len(LINE) // SLICE
    assert max(held) == 1
    assert all(one.progress.finish().usage.input_tokens is None for one in many)
    assert {one.progress.so_far.input_tokens for one in many} == {5}


async def test_what_is_added_is_read_while_the_agent_works(
    readings: Readings, tmp_path: Path
) -> None:
    one = attempt(tmp_path, 1, LINE)
    readings.begin(one)
    await told(one, 5)
    with (tmp_path / "1.out").open("ab") as file:
        file.write(LINE.replace(b'"id":"m"', b'"id":"n"'))
    await told(one, 10)
    readings.end(one)
    await readings.close()


async def test_a_file_that_cannot_be_read_is_tried_again(
    readings: Readings, tmp_path: Path
) -> None:
    broken, sound = attempt(tmp_path, 1, b""), attempt(tmp_path, 2, LINE)
    (tmp_path / "1.out").unlink()
    (tmp_path / "1.out").mkdir()
    readings.begin(broken)
    readings.begin(sound)
    await told(sound, 5)
    with pytest.raises(IsADirectoryError):
        await readings.to_the_end(broken)
    (tmp_path / "1.out").rmdir()
    (tmp_path / "1.out").write_bytes(LINE)
    await told(broken, 5)
    await readings.close()


async def test_other_output_is_not_read_meanwhile(readings: Readings, tmp_path: Path) -> None:
    one = attempt(tmp_path, 1, b"text", instrument="cli")
    readings.begin(one)
    await readings.to_the_end(one)
    assert one.progress is None
    await readings.close()
