"""The way from a launch order to a command line: what it costs, and on which thread it runs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marianne_core.plan.prompt import Prompt, build_prompt
from marianne_core.run import musician as musician_module
from marianne_core.run.launcher import resolve_program
from tests.conductor.house import House, Playing


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    assert made.tidy() == []


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One item for every prompt that was made: True where that was in the main thread."""
    seen: list[bool] = []

    def watched(*args: Any, **kwargs: Any) -> Prompt:
        seen.append(threading.current_thread() is threading.main_thread())
        return build_prompt(*args, **kwargs)

    monkeypatch.setattr(musician_module, "build_prompt", watched)
    return seen


@pytest.mark.parametrize(
    ("script", "inline"),
    [("echo {{ sheet_num }}", True), ("{% for n in range(3) %}echo {{ n }}\n{% endfor %}", False)],
)
async def test_a_prompt_that_may_take_long_is_made_in_a_thread(
    house: House, threads: list[bool], script: str, inline: bool
) -> None:
    run = await house.play(house.score("", script=script))
    assert run.statuses == ["completed"]
    assert threads == [inline]


async def test_what_a_thread_could_not_put_into_a_prompt_is_told(house: House) -> None:
    text = "sheet: {size: 1, total_items: 1, prelude: [{file: none.md, as: context}]}"
    score = house.score(text, script="echo {{ injected_context | length }}")
    async with house.conductor() as conductor:
        events: list[Any] = []
        conductor.bus.subscribe_callback(events.append)
        run = await house.play(score, conductor=conductor)
    assert run.statuses == ["completed"]
    warnings = [e.data["reason"] for e in events if e.event == "sheet.warning"]
    assert any("none.md" in reason for reason in warnings)


async def test_a_template_that_fails_in_a_thread_fails_its_sheet(house: House) -> None:
    text = "cross_sheet: {auto_capture_stdout: true}"
    script = "{% for n in [1] %}{{ 1 / (previous_outputs | length - 1) }}{% endfor %}true"
    run = await house.play(house.score(text, sheets=2, script=f": {script}"))
    assert run.statuses[1] == "failed"
    assert "ZeroDivisionError" in run.sheet(2)["reason"]


async def test_an_attempt_is_cancelled_while_its_prompt_is_made(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def held_up(*args: Any, **kwargs: Any) -> Prompt:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(20)
        return build_prompt(*args, **kwargs)

    monkeypatch.setattr(musician_module, "build_prompt", held_up)
    score = house.score("", script="{% for n in [1] %}touch made{% endfor %}")
    try:
        async with Playing(house, score) as song:
            await asyncio.wait_for(begun.wait(), 20)
            await song.conductor.cancel("song")
            run = await song.end()
    finally:
        go.set()
    assert run.status == "cancelled"
    assert not (house.workspace / "made").exists()


def test_a_program_is_found_with_one_look_at_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / f"{n}" for n in range(5)]
    for folder in folders:
        folder.mkdir()
    program = folders[3] / "tool"
    program.write_text("")
    program.chmod(0o755)
    looks: Counter[str] = Counter()
    plain = os.stat

    def stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        looks[str(path)] += 1
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", stat)
    found = resolve_program("tool", os.pathsep.join(map(str, folders)), tmp_path)
    assert found == program
    assert looks == {str(folder / "tool"): 1 for folder in folders[:4]}
