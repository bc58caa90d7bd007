"""What was ordered, or going on, when the conductor died: carried on as it was meant."""

from __future__ import annotations

import sqlite3

import pytest

from marianne_core.model.states import JobStatus
from tests.conductor.host import Host
from tests.conductor.house import House, Playing, settled, until

_LEAVES_IN_ORDER = """
    trap 'touch told; until [ -e leave ]; do sleep 0.02; done; exit 0' TERM
    touch up
    sleep 99 & wait
    """


async def _taken_up(house: House) -> None:
    async with house.conductor() as conductor:
        await settled(conductor)


async def test_a_timeout_that_was_being_carried_out_stays_a_timeout(house: House) -> None:
    score = house.score("instrument_config: {timeout_seconds: 1}", script=_LEAVES_IN_ORDER)
    with Host(house, score, grace=60):
        await house.appears("told")
    house.put("leave")
    await until(lambda: not house.processes(), "the sheet leaves with 0")
    await _taken_up(house)
    assert house.row().status == "failed"
    attempt = house.attempts(1)[0]
    assert (attempt.code, attempt.ended) == ("E001", "timeout")


async def test_a_timeout_that_was_being_carried_out_is_carried_on(house: House) -> None:
    score = house.score("instrument_config: {timeout_seconds: 1}", script=_LEAVES_IN_ORDER)
    with Host(house, score, grace=60):
        await house.appears("told")
    await _taken_up(house)  # its grace is short
    assert house.processes() == {}
    assert house.attempts(1)[0].ended == "timeout"


async def test_a_cancel_that_was_being_carried_out_stays_one(house: House) -> None:
    score = house.score("", script=_LEAVES_IN_ORDER)
    with Host(house, score, grace=60) as host:
        await house.appears("up")
        host.begin("cancel song")
        await house.appears("told")
    house.put("leave")
    await until(lambda: not house.processes(), "the sheet leaves with 0")
    await _taken_up(house)
    assert house.row().status == "cancelled"
    assert house.attempts(1)[0].ended == "cancelled"


async def test_a_kill_while_a_command_decides_about_skipping_counts_for_nothing(
    house: House,
) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 1
          skip_when_command: {1: {command: "echo x >> asked; test -e go || sleep 55", timeout_seconds: 60}}
        """,
        script="touch ran",
    )
    with Host(house, score):
        await house.appears("asked")
    assert house.processes() != {}
    house.put("go")
    await _taken_up(house)
    assert house.row().status == "completed"
    assert house.lines("asked") == ["x", "x"]
    assert house.attempts(1) == []  # nothing of it was ever started, nothing was lost


async def test_only_attempts_that_ran_count_of_several_open_ones(house: House) -> None:
    score = house.score("", script="echo x >> ran; until [ -e go ]; do sleep 0.02; done")
    with Host(house, score):
        await house.appears("ran")
    with sqlite3.connect(house.home.database) as store:
        # Written ahead for a later try, as if its first attempt had not been taken up.
        store.execute(
            "INSERT INTO attempts (run_id, num, attempt, mode, instrument, token, boot_id,"
            " intended_at) SELECT run_id, num, 2, mode, instrument, 'mzt-0-never', boot_id,"
            " intended_at FROM attempts"
        )
    store.close()
    house.put("go")
    await _taken_up(house)
    assert house.row().status == "completed"
    assert house.lines("ran") == ["x"]
    assert [row.attempt for row in house.attempts(1)] == [1]


async def test_a_dependent_starts_when_what_it_builds_on_is_stored(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a kill could have work judged again that a dependent has changed already."""
    monkeypatch.setattr("marianne_core.remember.journal._LINGER", 30.0)
    score = house.score(
        "sheet: {size: 1, total_items: 2, dependencies: {2: [1]}}\n"
        "validations: [{type: file_exists, path: order}]",
        script="echo {{ sheet_num }} >> order; until [ -e go{{ sheet_num }} ]; do sleep 0.02; done",
    )
    house.put("go1")
    async with Playing(house, score) as song:
        await until(lambda: house.lines("order") == ["1", "2"], "the dependent runs")
        assert house.attempts(1)[0].ended == "ok"
        house.put("go2")
        await song.end()


async def test_time_that_counts_is_stored_while_a_run_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marianne_core.run.engine._SAVE_ELAPSED", 0.0)
    monkeypatch.setattr("marianne_core.run.engine._LONGEST_SLEEP", 0.05)
    score = house.score("", script="touch up; until [ -e go ]; do sleep 0.02; done")
    async with Playing(house, score, job_timeout=3600) as song:
        await house.appears("up")
        await until(lambda: house.row().elapsed > 0.2, "its time is stored")
        house.put("go")
        await song.end()


async def test_a_job_that_timed_out_is_failed_also_after_a_restart(house: House) -> None:
    score = house.score("", script=_LEAVES_IN_ORDER)
    async with Playing(house, score, job_timeout=0.5, grace=60) as song:
        await house.appears("told")
        await until(lambda: house.row().status is JobStatus.CANCELLING, "it is being ended")
        assert (await song.now()).status == "cancelling"
    house.put("leave")
    await _taken_up(house)
    assert house.row().status == "failed"
    assert "E001" in house.row().reason


@pytest.mark.parametrize("proof", ["", "validations: [{type: file_exists, path: began}]"])
@pytest.mark.parametrize("code", [0, 3])
async def test_after_a_reboot_only_what_is_proved_again_counts(
    house: House, code: int, proof: str
) -> None:
    """An exit line may have reached the disk without what the sheet wrote before (design, 4.4)."""
    score = house.score(
        proof, script=f"echo x >> began; until [ -e go ]; do sleep 0.02; done; exit {code}"
    )
    async with Playing(house, score):
        await house.appears("began")
    house.put("go")
    await until(lambda: not house.processes(), "the sheet ends")
    with sqlite3.connect(house.home.database) as store:
        store.execute("UPDATE attempts SET boot_id = 'another'")
    store.close()
    await _taken_up(house)
    ends = [row.ended for row in house.attempts(1)]
    if code == 0 and proof:
        assert ends == ["ok"]
    else:
        assert ends == ["lost", "ok" if code == 0 else "failed"]
        assert house.lines("began") == ["x", "x"]
