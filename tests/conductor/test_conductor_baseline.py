"""`file_modified`: a file is judged by what it was when the attempt started."""

from __future__ import annotations

import os

import pytest

from tests.conductor.house import House, Playing, settled

_MODIFIED = "validations: [{type: file_modified, path: notes, retry_count: 0}]"


async def test_an_old_file_that_was_not_touched_is_not_modified(house: House) -> None:
    house.put("notes", "old")
    run = await house.play(house.score(_MODIFIED, script="true"))
    assert run.status == "failed"
    assert house.validations(1, 1)[0].category == "stale"


@pytest.mark.parametrize(
    "script", ["echo new > notes", "touch notes", "rm notes; echo old > notes"]
)
async def test_a_file_that_was_written_again_is_modified(house: House, script: str) -> None:
    house.put("notes", "old")
    assert (await house.play(house.score(_MODIFIED, script=script))).status == "completed"


async def test_a_file_that_is_new_is_modified(house: House) -> None:
    assert (await house.play(house.score(_MODIFIED, script="touch notes"))).status == "completed"


async def test_the_baseline_is_taken_before_every_attempt(house: House) -> None:
    """What the first attempt wrote does not count for the second."""
    score = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 0.02, max_completion_attempts: 0}\n"
        + "validations:\n"
        + "  - {type: file_modified, path: notes, retry_count: 0}\n"
        + "  - {type: command_succeeds, command: 'test -e second', retry_count: 0}\n",
        script="if mkdir once; then echo first > notes; else touch second; fi",
    )
    run = await house.play(score)
    assert run.status == "failed"
    assert [row.passed for row in house.validations(1, 1)] == [True, False]
    assert [row.passed for row in house.validations(1, 2)] == [False, True]


async def test_the_baseline_is_that_of_the_attempt_also_after_a_restart(house: House) -> None:
    """The sheet wrote its file before the conductor ended: the next one must see that it did."""
    house.put("notes", "old")
    score = house.score(
        _MODIFIED, script="echo new > notes; touch wrote; until [ -e go ]; do sleep 0.02; done"
    )
    async with Playing(house, score):
        await house.appears("wrote")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "completed"


async def test_an_untouched_file_is_not_modified_after_a_restart_either(house: House) -> None:
    house.put("notes", "old")
    os.utime(house.workspace / "notes", (1_000_000_000, 1_000_000_000))
    score = house.score(_MODIFIED, script="touch runs; until [ -e go ]; do sleep 0.02; done")
    async with Playing(house, score):
        await house.appears("runs")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "failed"


async def test_what_another_sheet_changed_before_is_not_modified_after_a_restart(
    house: House,
) -> None:
    """The baseline is taken when the attempt starts, however early its intent was written."""
    score = house.score(
        """
        sheet: {size: 1, total_items: 1, fan_out: {1: 2}}
        validations: [{type: file_modified, path: notes, retry_count: 0, sheet: 2}]
        """,
        script="""
        {% if sheet_num == 1 %}
        sleep 0.1; echo new > notes; sleep 0.1
        {% else %}
        touch runs; until [ -e go ]; do sleep 0.02; done
        {% endif %}
        """,
    )
    async with Playing(house, score):
        await house.appears("runs")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
        run = await house.run(conductor)
    assert run.statuses == ["completed", "failed"]


async def test_a_file_put_back_in_time_is_modified_also_after_a_restart(house: House) -> None:
    """Copied with its old time, as `cp -p`, tar and rsync do it."""
    house.put("notes", "old")
    score = house.score(
        _MODIFIED,
        script="echo newer > copy; touch -d '2001-01-01' copy; mv copy notes; touch wrote;"
        " until [ -e go ]; do sleep 0.02; done",
    )
    async with Playing(house, score):
        await house.appears("wrote")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "completed"
