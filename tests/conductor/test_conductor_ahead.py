"""The shim of the next sheet is started while a sheet runs; when it is not needed, it leaves."""

from __future__ import annotations

import os

import pytest

from marianne_core.run.launcher import Launcher, LaunchSpec, Shim
from marianne_core.run.processes import has_pidfd
from marianne_core.run.stage import Stage
from marianne_core.run.warm import Warm
from tests.conductor.house import House, Playing, settled, submit, until

pytestmark = pytest.mark.skipif(
    not has_pidfd() or not hasattr(os, "memfd_create"), reason="nothing is started ahead here"
)

_HELD = """
    echo {{ sheet_num }} >> order
    until [ -e go-{{ sheet_num }} ]; do sleep 0.01; done
    """

_CHAIN = "sheet: {size: 1, total_items: 3, dependencies: {2: [1], 3: [2]}}"


async def one_waits(house: House) -> int:
    """The pid of the one shim that waits for its order, as soon as it does."""
    await until(lambda: house.shims(waiting=True), "a shim waits")
    (pid,) = house.shims(waiting=True)
    return pid


async def none_waits(house: House) -> None:
    await until(lambda: not house.shims(waiting=True), "the waiting shim leaves")


@pytest.mark.parametrize("text", [_CHAIN, "sheet: {size: 1, total_items: 3}"])
async def test_each_sheet_of_a_chain_is_played_by_a_shim_that_waited(
    house: House, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    plain = Warm.launch
    played: list[int] = []

    def launch(self: Warm, spec: LaunchSpec) -> Shim | None:
        shim = plain(self, spec)
        played.append(shim.pid if shim is not None else 0)
        return shim

    monkeypatch.setattr(Warm, "launch", launch)
    async with Playing(house, house.score(text, script=_HELD)) as song:
        waiting = [0]
        for num in (1, 2):
            await until(lambda num=num: len(house.lines("order")) == num, "the sheet runs")
            waiting.append(await one_waits(house))
            house.put(f"go-{num}")
        house.put("go-3")
        assert (await song.end()).tries == [1, 1, 1]
    assert played == waiting
    assert house.lines("order") == ["1", "2", "3"]


async def test_where_several_run_none_waits(house: House) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 1, fan_out: {1: 4}}\n"
        "parallel: {enabled: true, max_concurrent: 2}",
        script="[ $(wc -l < order) -gt 1 ] && sleep 0.05\n" + _HELD,
    )
    house.put("order")
    async with Playing(house, score) as song:
        await until(lambda: len(house.lines("order")) == 2, "two run")
        assert not house.shims(waiting=True)
        for num in (1, 2, 3, 4):
            house.put(f"go-{num}")
        assert (await song.end()).tries == [1] * 4


@pytest.mark.parametrize("text", [_CHAIN, "sheet: {size: 1, total_items: 3}"])
async def test_after_a_pause_it_leaves_and_its_sheet_is_played_all_the_same(
    house: House, text: str
) -> None:
    async with Playing(house, house.score(text, script=_HELD)) as song:
        await one_waits(house)
        await song.conductor.pause("song")
        house.put("go-1")
        await settled(song.conductor)
        assert (await song.now()).status == "paused"
        await none_waits(house)
        await song.conductor.resume("song")
        for num in (2, 3):
            house.put(f"go-{num}")
        assert (await song.end()).tries == [1, 1, 1]
    assert house.lines("order") == ["1", "2", "3"]


async def test_after_a_cancellation_it_is_gone(house: House) -> None:
    async with Playing(house, house.score(_CHAIN, script=_HELD)) as song:
        await one_waits(house)
        await song.conductor.cancel("song")
        await none_waits(house)
        assert house.processes() == {}
        assert (await song.now()).status == "cancelled"


async def test_between_two_tries_none_waits(house: House) -> None:
    score = house.score(
        _CHAIN + "\nretry: {max_retries: 1, base_delay_seconds: 60, jitter: false}",
        script=_HELD + "exit 1",
    )
    async with Playing(house, score) as song:
        await one_waits(house)
        house.put("go-1")
        await song.events.until("sheet.retrying")
        await none_waits(house)
        await song.conductor.cancel("song")


async def test_a_conductor_that_leaves_takes_it_along(house: House) -> None:
    async with house.conductor() as conductor:
        await submit(conductor, house.score(_CHAIN, script=_HELD))
        waiting = await one_waits(house)
    assert waiting not in house.processes()
    assert len(house.shims()) == 1  # the sheet lives on
    for num in (1, 2, 3):
        house.put(f"go-{num}")
    async with house.conductor() as conductor:
        await settled(conductor)
        assert (await house.run(conductor)).tries == [1, 1, 1]
    assert house.lines("order") == ["1", "2", "3"]


_RULE = """
validations:
  - {type: command_succeeds, command: test ! -e changed, description: nobody changed it}
"""


_SKIPPED = """
sheet:
  {size: 1, total_items: 3, dependencies: {2: [1], 3: [2]}, skip_when: {1: 'True', 2: 'True'}}
"""


@pytest.mark.parametrize(
    ("text", "ends"),
    [(_CHAIN + _RULE, ["completed", "completed"]), (_SKIPPED, ["skipped"])],
    ids=["validated", "skipped"],
)
async def test_what_a_sheet_builds_on_is_in_the_store_before_it_is_started(
    house: House, monkeypatch: pytest.MonkeyPatch, text: str, ends: list[str]
) -> None:
    """What only the store tells: after a kill it would be judged anew, on changed files."""
    ordered, spawned = Warm.launch, Launcher.start
    known: list[str] = []

    def look(spec: LaunchSpec) -> None:
        if spec.files.sheet > 1:
            assert spec.token in house.intents()
            known.append(house.sheet_rows()[spec.files.sheet - 2].status)

    def launch(self: Warm, spec: LaunchSpec) -> Shim | None:
        if self.token == spec.token:
            look(spec)
        return ordered(self, spec)

    async def start(self: Launcher, spec: LaunchSpec) -> Shim:
        look(spec)
        return await spawned(self, spec)

    monkeypatch.setattr(Warm, "launch", launch)
    monkeypatch.setattr(Launcher, "start", start)
    assert (await house.play(house.score(text, script="true"))).status == "completed"
    assert known == ends


async def test_a_killed_conductor_whose_last_rows_were_never_written(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result that its files tell needs no row: the next sheet runs already."""
    with monkeypatch.context() as patch:
        patch.setattr(Stage, "_add", lambda self, rows: None)
        async with Playing(house, house.score(_CHAIN, script=_HELD)):
            house.put("go-1")
            await until(lambda: len(house.lines("order")) == 2, "the second sheet runs")
    assert house.sheet_rows()[0].status == "in_progress"
    for num in (2, 3):
        house.put(f"go-{num}")
    async with house.conductor() as conductor:
        await settled(conductor)
        assert (await house.run(conductor)).tries == [1, 1, 1]
    assert house.lines("order") == ["1", "2", "3"]
