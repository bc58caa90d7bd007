"""Orders that meet: with each other, with the end of a run, with a conductor that leaves."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from marianne_core.model.errors import JobSubmissionError, MztError, StateError
from marianne_core.model.requests import SubmitRequest
from marianne_core.remember.journal import Journal
from marianne_core.remember.transactions import Transactions
from marianne_core.run.revival import Revival
from marianne_core.run.shortages import Shortages
from tests.conductor.house import House, Playing, settled, submit, until

_HELD = "echo {{ sheet_num }} >> order; until [ -e go ]; do sleep 0.02; done; test -e ok"


async def test_a_sheet_that_ends_while_the_conductor_leaves_does_not_run_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while starts are held, when leaving takes more than one turn of the loop."""
    score = house.score("", script=_HELD)
    close = Shortages.close

    async def slowly(shortages: Shortages) -> None:
        await close(shortages)
        await asyncio.sleep(0.3)

    monkeypatch.setattr(Shortages, "close", slowly)
    house.put("ok")
    async with Playing(house, score) as song:
        await house.appears("order")
        song.conductor._engine._shortages.of_means("no open file")
        house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "completed"
    assert house.lines("order") == ["1"]


async def test_a_new_run_and_an_old_one_do_not_begin_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = house.score("", script=_HELD)
    house.put("go")
    async with house.conductor() as conductor:
        await house.play(score, conductor=conductor)
        assert house.row().status == "failed"
        (house.workspace / "go").unlink()
        store = Journal.submit
        resumed: list[asyncio.Task[Any]] = []

        async def meanwhile(journal: Journal, *what: Any) -> Any:
            key = await store(journal, *what)
            resumed.append(asyncio.create_task(conductor.resume("song#1")))
            await asyncio.sleep(0.1)
            return key

        monkeypatch.setattr(Journal, "submit", meanwhile)
        await submit(conductor, score)
        with pytest.raises(JobSubmissionError, match="run 2 of job song"):
            await resumed[0]
        house.put("ok")
        house.put("go")
        await settled(conductor)
    assert house.lines("order") == ["1", "1"]
    assert [str(row.status) for row in house.rows()] == ["completed", "failed"]


@pytest.mark.parametrize("command", ["retry", "resume"])
async def test_an_order_that_a_full_disk_refuses_is_not_carried_out(
    house: House, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    score = house.score("", script="echo x >> ran; test -e ok")
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    full.sqlite_errorname = "SQLITE_FULL"

    def refuse(*_: object, **__: object) -> Any:
        raise full

    async with house.conductor() as conductor:
        await house.play(score, conductor=conductor)
        house.put("ok")
        with monkeypatch.context() as disk:
            disk.setattr(Transactions, "write", refuse)
            disk.setattr(Transactions, "try_disk", refuse)
            with pytest.raises(StateError):
                await getattr(conductor, command)("song")
        await conductor.list_jobs()
        await settled(conductor)
        assert house.lines("ran") == ["x"]
        await until(lambda: conductor._store_trouble is None, "the store is well")
        await getattr(conductor, command)("song")
        await settled(conductor)
    assert house.lines("ran") == ["x", "x"]
    assert house.row().status == "completed"


async def test_a_drain_also_stops_a_resume_that_is_under_way(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = house.score("", script="echo x >> ran; exit 1")
    async with house.conductor() as conductor:
        await house.play(score, conductor=conductor)
        load = Revival.load

        async def slowly(revival: Revival, run_id: int) -> Any:
            run = await load(revival, run_id)
            conductor.drain()
            await asyncio.sleep(0)
            return run

        monkeypatch.setattr(Revival, "load", slowly)
        with pytest.raises(JobSubmissionError, match="is being stopped"):
            await conductor.resume("song")
        await settled(conductor)
    assert house.lines("ran") == ["x"]


async def test_a_cancel_does_not_wait_for_validations_that_outlasted_a_timeout(
    house: House,
) -> None:
    score = house.score(
        """
        instrument_config: {timeout_seconds: 0.6}
        validations:
          - {type: command_succeeds, command: "touch validating; sleep 55", timeout_seconds: 60}
        """,
        script="true",
    )
    async with Playing(house, score) as song:
        await house.appears("validating")
        engine = song.conductor._engine
        await until(
            lambda: engine._baton._lives.runs[1].living[1].killed,
            "the timeout has passed",
        )
        await asyncio.wait_for(song.conductor.cancel("song"), 10)
        assert (await song.now()).statuses == ["cancelled"]
    assert house.processes() == {}


async def test_a_completed_job_has_nothing_to_retry(house: House) -> None:
    score = house.score("", sheets=2, script="true")
    async with house.conductor() as conductor:
        await house.play(score, conductor=conductor, start_sheet=2)
        with pytest.raises(JobSubmissionError, match="no sheet of job song failed"):
            await conductor.retry("song")


async def test_many_orders_at_once_leave_one_run_at_work(house: House) -> None:
    """Whatever comes first: never two runs of a job at once, and no order hangs."""
    score = house.score("", sheets=2, script="echo b >> log; sleep 0.05; echo e >> log")
    async with house.conductor() as conductor:
        await submit(conductor, score)
        for _ in range(3):
            orders = [
                conductor.submit(SubmitRequest(str(score), replace=True)),
                conductor.cancel("song"),
                conductor.resume("song"),
                conductor.retry("song#1"),
                conductor.pause("song"),
                conductor.submit(SubmitRequest(str(score))),
            ]
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*orders, return_exceptions=True)
            for answer in answers:
                assert not isinstance(answer, BaseException) or isinstance(answer, MztError)
        active = [row for row in house.rows() if row.status.active]
        assert len(active) <= 1
        for row in house.rows():
            if not row.status.terminal:
                await conductor.cancel(f"song#{row.run}")
        await settled(conductor)
    assert house.processes() == {}
