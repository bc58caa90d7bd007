"""Runs that cannot be read or planned any more: kept, told, and ended when a person says so."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from marianne_core.model.errors import InputError, JobSubmissionError
from marianne_core.model.states import JobStatus
from marianne_core.remember.home import Home
from marianne_core.run import restore
from tests.conductor.house import House, Playing, settled, submit, until

_PROFILE = """
    cli:
      command: {executable: "{program}", prompt_flag: -p}
      output: {format: text}
    """
_HELD = "echo x >> ran; until [ -e go ]; do sleep 0.02; done"


async def _without_its_profile(house: House) -> Path:
    """A run is playing when its conductor ends and its instrument's profile goes; the profile."""
    house.instrument(_PROFILE, name="odd", program="cd " + str(house.workspace) + "; " + _HELD)
    score = house.score("instrument: odd", sheets=2, script="words")
    async with Playing(house, score):
        await house.appears("ran")
    profile = house.instruments / "odd.yaml"
    return profile.rename(house.root / "odd.yaml")


async def test_a_run_without_its_profile_waits_and_its_sheet_goes_on(house: House) -> None:
    profile = await _without_its_profile(house)
    async with house.conductor() as conductor:
        run = await house.run(conductor)
        assert run.status == "paused"
        assert "odd" in run.reason
        with pytest.raises(InputError, match="cannot be taken up"):
            await conductor.resume("song")
    assert house.processes() != {}
    profile.rename(house.instruments / "odd.yaml")
    async with house.conductor() as conductor:
        await conductor.resume("song")
        house.put("go")
        await settled(conductor)
        assert (await house.run(conductor)).status == "completed"
    assert house.lines("ran") == ["x", "x"]


async def test_a_run_without_its_profile_can_be_cancelled(house: House) -> None:
    await _without_its_profile(house)
    async with house.conductor() as conductor:
        receipt = await conductor.cancel("song")
        assert receipt.status == "cancelled"
        assert house.processes() == {}
        run = await house.run(conductor)
    assert run.statuses == ["cancelled", "cancelled"]
    assert [row.ended for row in house.attempts()] == ["cancelled"]


async def test_a_run_without_its_profile_can_be_replaced(house: House) -> None:
    await _without_its_profile(house)
    house.score("", script="true")
    async with house.conductor() as conductor:
        await submit(conductor, house.root / "song.yaml", replace=True)
        await settled(conductor)
        assert house.processes() == {}
    assert [str(row.status) for row in house.rows()] == ["completed", "cancelled"]


async def test_a_cancel_of_a_run_without_its_profile_is_carried_on(house: House) -> None:
    await _without_its_profile(house)
    with sqlite3.connect(house.home.database) as store:
        store.execute("UPDATE runs SET status = 'cancelling', reason = 'cancelled by a person'")
    store.close()
    async with house.conductor():
        await until(lambda: house.row().status is JobStatus.CANCELLED, "it is cancelled")
    assert house.processes() == {}


async def test_no_other_run_of_its_job_begins_beside_it(house: House) -> None:
    house.instrument(_PROFILE, name="odd", program="cd " + str(house.workspace) + "; " + _HELD)
    score = house.score("", script="exit 1")
    async with Playing(house, score) as song:
        await song.end()
        house.score("instrument: odd", script="words")
        await submit(song.conductor, score)
        await house.appears("ran")
    (house.instruments / "odd.yaml").unlink()
    async with house.conductor() as conductor:
        with pytest.raises(JobSubmissionError, match="run 2 of job song is paused"):
            await conductor.resume("song#1")
        await conductor.end_sheets()
        assert house.processes() == {}
        assert house.row().status == "cancelled"


async def test_its_cancel_goes_on_when_the_system_lacks_means(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _without_its_profile(house)
    monkeypatch.setattr("marianne_core.run.system_errors._FIRST_PAUSE", 0.01)
    async with house.conductor() as conductor:
        look, failures = restore.look_again, [errno.EMFILE, errno.ENOMEM]

        def short(*what: Any) -> Any:
            if failures:
                raise OSError(failures.pop(), "not now")
            return look(*what)

        monkeypatch.setattr(restore, "look_again", short)
        assert (await conductor.cancel("song")).status == "cancelled"
    assert house.processes() == {}


async def test_a_run_whose_score_makes_other_sheets_now_is_set_aside(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score):
        await house.appears("ran")
    with sqlite3.connect(house.home.database) as store:
        store.execute(
            "UPDATE submissions SET score = replace(score, 'total_items: 2', 'total_items: 1')"
        )
    store.close()
    async with house.conductor() as conductor:
        run = await house.run(conductor)
        assert run.status == "paused"
        assert "now makes 1 sheets" in run.reason
        await conductor.cancel("song")
    assert house.processes() == {}


async def test_a_run_that_cannot_be_read_keeps_no_other_from_going_on(house: House) -> None:
    held = "until [ -e go ]; do sleep 0.02; done"
    broken = house.score("", script=held, name="broken")
    house.score("", script=held, name="fine")
    async with Playing(house, broken) as song:
        await submit(song.conductor, house.root / "fine.yaml")
        await until(lambda: len(house.processes()) >= 2, "both play")
    _spoil(house.home, "broken")
    house.put("go")
    async with house.conductor() as conductor:
        await until(lambda: house.row("fine").status is JobStatus.COMPLETED, "the other ends")
        row = house.row("broken")
        assert row.status == "paused"
        assert "cannot be read" in row.reason
        await conductor.cancel("broken")
    assert house.row("broken").status == "cancelled"


def _spoil(home: Home, job: str) -> None:
    with sqlite3.connect(home.database) as store:
        store.execute(
            "UPDATE submissions SET options = '{' WHERE run_id ="
            " (SELECT run_id FROM runs WHERE job_id = ?)",
            (job,),
        )
    store.close()
