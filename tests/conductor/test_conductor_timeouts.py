"""Sheets and jobs that take too long: ended with all their processes, and said so."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import pytest

from marianne_core.run import take_up
from tests.conductor.host import Host
from tests.conductor.house import House, Playing, is_alive, settled, until


def _alter(house: House, table: str, what: str) -> None:
    """Let the store say something else, while no conductor is there."""
    connection = sqlite3.connect(house.home.database)
    with connection:
        connection.execute(f"UPDATE {table} SET {what}")
    connection.close()


_FAMILY = """
    trap '' TERM
    (trap '' TERM; sleep 98) &
    setsid sleep 97 &
    (setsid bash -c "trap '' TERM; sleep 96 & sleep 95" &)
    touch family
    sleep 99
    """


async def test_a_sheet_over_its_time_is_ended_with_its_whole_tree(house: House) -> None:
    score = house.score("instrument_config: {timeout_seconds: 0.6}", script=_FAMILY)
    async with Playing(house, score) as song:
        await house.appears("family")
        assert len(house.processes()) >= 5
        run = await song.end()
    assert house.processes() == {}
    assert run.status == "failed"
    assert run.statuses == ["failed"]
    attempt = house.attempts(1)[0]
    assert (attempt.ended, attempt.code) == ("timeout", "E001")
    assert "0.6" in run.sheet(1)["reason"]
    assert (attempt.finished_at or 0) - (attempt.started_at or 0) < 5


async def test_a_sheet_in_time_is_left_alone(house: House) -> None:
    score = house.score("instrument_config: {timeout_seconds: 20}", script="sleep 0.2")
    assert (await house.play(score)).status == "completed"


async def test_a_timeout_can_be_tried_again(house: House) -> None:
    score = house.score(
        """
        instrument_config: {timeout_seconds: 0.5}
        retry: {max_retries: 1, base_delay_seconds: 0.02}
        """,
        script="mkdir once && sleep 99 || true",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert [row.code for row in house.attempts(1)] == ["E001", None]


async def test_single_sheets_have_timeouts_of_their_own(house: House) -> None:
    score = house.score(
        """
        instrument_config: {timeout_seconds: 60, timeout_overrides: {2: 0.5}}
        sheet:
          size: 1
          total_items: 1
          fan_out: {1: 3}
          per_sheet_instrument_config: {3: {timeout_seconds: 0.4}}
        parallel: {enabled: true, max_concurrent: 3, fail_fast: false}
        """,
        script="[ {{ sheet_num }} = 1 ] || sleep 99",
    )
    run = await house.play(score)
    assert run.statuses == ["completed", "failed", "failed"]
    assert [house.attempts(num)[0].code for num in (2, 3)] == ["E001", "E001"]
    assert house.processes() == {}


async def test_a_timeout_holds_over_a_restart(house: House) -> None:
    """The time counts from the start of the sheet, whoever watches it."""
    score = house.score("instrument_config: {timeout_seconds: 1.2}", script="touch runs; sleep 99")
    async with Playing(house, score):
        await house.appears("runs")
        await until(lambda: house.attempts(1), "its start is written down")
    async with house.conductor() as conductor:
        await settled(conductor)
    attempt = house.attempts(1)[0]
    assert attempt.code == "E001"
    assert 1.1 < (attempt.finished_at or 0) - (attempt.started_at or 0) < 4
    assert house.processes() == {}


async def test_the_time_of_a_sheet_is_not_counted_anew_by_who_takes_it_over(house: House) -> None:
    score = house.score("instrument_config: {timeout_seconds: 900}", script="touch runs; sleep 99")
    async with Playing(house, score):
        await house.appears("runs")
        await until(lambda: house.attempts(1), "its start is written down")
    _alter(house, "attempts", "deadline = deadline - 1000")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.attempts(1)[0].code == "E001"
    assert house.processes() == {}


async def test_the_time_of_a_sheet_that_nobody_saw_begin_counts_from_its_start(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its conductor was killed before the row was written that has its deadline."""
    score = house.score("instrument_config: {timeout_seconds: 900}", script="touch runs; sleep 99")
    async with Playing(house, score):
        await house.appears("runs")
        await until(lambda: house.attempts(1), "its start is written down")
    _alter(house, "attempts", "deadline = NULL, started_at = NULL")
    (shim,) = house.shims()
    ages = {shim: 300.0}
    monkeypatch.setattr(take_up, "process_age", ages.get)
    async with house.conductor() as conductor:
        assert (await house.run(conductor)).status == "running"
    attempt = house.attempts(1)[0]
    assert abs(time.time() - 300 - (attempt.started_at or 0)) < 20
    _alter(house, "attempts", "deadline = NULL, started_at = NULL")
    ages[shim] = 1000.0
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.attempts(1)[0].code == "E001"
    assert house.processes() == {}


async def test_a_sheet_whose_time_ran_out_while_nobody_watched_is_ended_at_once(
    house: House,
) -> None:
    score = house.score("instrument_config: {timeout_seconds: 0.5}", script="touch runs; sleep 99")
    async with Playing(house, score):
        await house.appears("runs")
        await until(lambda: house.attempts(1), "its start is written down")
    started = house.attempts(1)[0].started_at or 0
    await until(lambda: time.time() > started + 0.6, "its time is over")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.attempts(1)[0].code == "E001"
    assert len(house.attempts(1)) == 1


async def test_validations_do_not_count_against_the_sheet(house: House) -> None:
    score = house.score(
        """
        instrument_config: {timeout_seconds: 0.5}
        validations: [{type: command_succeeds, command: sleep 0.8}]
        """,
        script="true",
    )
    assert (await house.play(score)).status == "completed"


async def test_a_job_over_its_time_is_ended_and_fails(house: House) -> None:
    score = house.score("", sheets=3, script="touch runs; sleep 99")
    async with house.conductor(job_timeout=0.8) as conductor:
        run = await house.play(score, conductor=conductor)
    assert run.status == "failed"
    assert "0.8" in run.reason or "timeout" in run.reason or "longer" in run.reason
    assert all(status in ("failed", "cancelled", "skipped") for status in run.statuses)
    assert all(sheet["reason"] for sheet in run.picture["sheets"])
    assert house.processes() == {}


async def test_the_time_of_a_job_goes_on_over_a_restart(house: House) -> None:
    score = house.score("", script="touch runs; sleep 99")
    async with Playing(house, score, job_timeout=1.5):
        await house.appears("runs")
    async with house.conductor(job_timeout=1.5) as conductor:
        await settled(conductor)
    row = house.row()
    assert row.status == "failed"
    assert (row.finished_at or 0) - (row.started_at or 0) < 5


@pytest.mark.parametrize("sheet", ["lives on", "ended meanwhile"])
async def test_the_time_of_a_job_goes_on_when_its_conductor_is_killed(
    house: House, sheet: str
) -> None:
    """Nobody could save what was used last; the sheet ran all the while."""
    score = house.score(
        "", sheets=2, script="echo >> runs; until [ -e go ]; do sleep 0.02; done; rm go"
    )
    with Host(house, score):
        await house.appears("runs")
        await until(lambda: house.row().counted_at is not None, "the store says so")
    if sheet == "ended meanwhile":
        house.put("go")
        await until(lambda: not house.processes(), "it is over")
    _alter(house, "runs", "counted_at = counted_at - 1000")  # killed so long ago
    async with house.conductor(job_timeout=900) as conductor:
        await settled(conductor)
    assert house.row().status == "failed"
    assert "900" in house.row().reason
    assert house.lines("runs") == [""]
    assert house.processes() == {}


async def test_what_a_paused_job_has_used_is_remembered(house: House) -> None:
    score = house.score("", sheets=2, script="touch runs; until [ -e go ]; do sleep 0.02; done")
    async with Playing(house, score) as song:
        await house.appears("runs")
        await song.conductor.pause("song")
        house.put("go")
        await song.events.until("job.paused")
    assert house.row().counted_at is None
    _alter(house, "runs", "elapsed = elapsed + 1000")
    async with house.conductor(job_timeout=900) as conductor:
        await conductor.resume("song")
        await settled(conductor)
    assert house.row().status == "failed"
    assert "900" in house.row().reason


async def test_a_paused_job_does_not_use_up_its_time(house: House) -> None:
    score = house.score("", sheets=2, script="touch runs; until [ -e go ]; do sleep 0.02; done")
    async with Playing(house, score, job_timeout=1.0) as song:
        await house.appears("runs")
        await song.conductor.pause("song")
        house.put("go")
        await song.events.until("job.paused")
        await asyncio.sleep(1.2)  # longer than the job may take
        await song.conductor.resume("song")
        run = await song.end()
    assert run.status == "completed"


async def test_a_timeout_also_ends_a_child_that_cleared_its_environment(house: House) -> None:
    """Neither its session nor its environment names it; the chain of its parents does."""
    score = house.score(
        "instrument_config: {timeout_seconds: 0.6}",
        script="env -i setsid sleep 94 & echo $! > pid; wait",
    )
    async with Playing(house, score) as song:
        await house.appears("pid")
        pid = int(house.lines("pid")[0])
        assert (await song.end()).statuses == ["failed"]
    assert not is_alive(pid)


async def test_a_timeout_that_is_being_carried_out_is_finished_by_the_next_conductor(
    house: House,
) -> None:
    """The first one left between TERM and KILL; the sheet has still run out of time."""
    score = house.score(
        "instrument_config: {timeout_seconds: 0.5}",
        script="trap 'touch asked' TERM; touch up; while :; do sleep 0.05; done",
    )
    async with Playing(house, score, grace=30):
        await house.appears("asked")
    async with house.conductor() as conductor:
        await settled(conductor)
    (attempt,) = house.attempts(1)
    assert (attempt.ended, attempt.code) == ("timeout", "E001")
    assert house.processes() == {}


_SPENDS = """
    output: {format: jsonl, input_tokens_path: tokens.in, output_tokens_path: tokens.out, cost_path: usd}
    errors: {success_event_type: done}
"""


def _spender(house: House) -> None:
    """An instrument that tells what it has used, and then goes on for long."""
    house.instrument(
        "cli:\n    command: {executable: '{program}'}" + _SPENDS,
        name="spender",
        program="""\
        echo '{"type": "step", "tokens": {"in": 900, "out": 30}, "usd": 0.25}'
        touch spent
        exec sleep 99
        """,
    )


async def test_what_a_sheet_had_used_when_its_time_was_over_is_stored(house: House) -> None:
    _spender(house)
    score = house.score(
        "instrument: spender\ninstrument_config: {timeout_seconds: 0.6}", script="x"
    )
    assert (await house.play(score)).status == "failed"
    attempt = house.attempts(1)[0]
    assert (attempt.ended, attempt.code) == ("timeout", "E001")
    assert (attempt.input_tokens, attempt.output_tokens, attempt.cost_usd) == (900, 30, 0.25)


async def test_what_a_cancelled_sheet_had_used_is_stored(house: House) -> None:
    _spender(house)
    score = house.score("instrument: spender", script="x")
    async with Playing(house, score) as song:
        await house.appears("spent")
        await song.conductor.cancel("song")
        assert (await song.end()).status == "cancelled"
    attempt = house.attempts(1)[0]
    assert (attempt.ended, attempt.code) == ("cancelled", None)
    assert (attempt.input_tokens, attempt.output_tokens, attempt.cost_usd) == (900, 30, 0.25)


async def test_what_a_sheet_had_used_is_stored_when_it_is_cancelled_while_it_is_validated(
    house: House,
) -> None:
    house.instrument(
        "cli:\n    command: {executable: '{program}'}" + _SPENDS,
        name="spender",
        program="""echo '{"type": "done", "tokens": {"in": 900, "out": 30}, "usd": 0.25}'\n""",
    )
    score = house.score(
        "instrument: spender\n"
        "validations: [{type: command_succeeds, command: 'touch checking; sleep 99'}]",
        script="x",
    )
    async with Playing(house, score) as song:
        await house.appears("checking")
        await song.conductor.cancel("song")
        assert (await song.end()).status == "cancelled"
    attempt = house.attempts(1)[0]
    assert (attempt.input_tokens, attempt.output_tokens, attempt.cost_usd) == (900, 30, 0.25)
