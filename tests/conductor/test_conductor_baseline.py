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


_SERIES = """
retry: {{max_retries: {retries}, base_delay_seconds: 0.02, jitter: false,
        max_completion_attempts: {completions}, completion_delay_seconds: {delay}}}
validations:
  - {{type: file_modified, path: notes, retry_count: 0}}
  - {{type: file_exists, path: rest, retry_count: 0}}
"""


async def test_completion_counts_what_the_series_changed(house: House) -> None:
    """The first attempt changes one file; those after it make the other and leave that one alone."""
    house.put("notes", "old")
    score = house.score(
        _SERIES.format(retries=0, completions=3, delay=0.02),
        script="if mkdir one; then echo new > notes; elif mkdir two; then true; else touch rest; fi",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert [row.mode for row in house.attempts(1)] == ["normal", "completion", "completion"]
    assert [row.passed for row in house.validations(1, 2)] == [True, False]


async def test_a_new_try_after_a_series_is_measured_anew(house: House) -> None:
    """When completion did not help, the sheet begins again, and must change the file again."""
    house.put("notes", "old")
    score = house.score(
        _SERIES.format(retries=1, completions=1, delay=0.02),
        script="if mkdir one; then echo new > notes; elif mkdir two; then true; else touch rest; fi",
    )
    run = await house.play(score)
    assert run.status == "failed"
    assert [row.mode for row in house.attempts(1)] == ["normal", "completion", "normal"]
    assert [row.passed for row in house.validations(1, 3)] == [False, True]


async def test_a_series_goes_on_after_a_restart(house: House) -> None:
    """The conductor ends before the completion attempt, and once more in the middle of it."""
    house.put("notes", "old")
    score = house.score(
        _SERIES.format(retries=0, completions=1, delay=0.3),
        script="if mkdir one; then echo new > notes; exit; fi;"
        " touch runs; until [ -e go ]; do sleep 0.02; done; touch rest",
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.retrying")
    async with house.conductor():
        await house.appears("runs")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "completed"
    assert [row.mode for row in house.attempts(1)] == ["normal", "completion"]


async def test_a_series_passes_over_attempts_that_stored_nothing(house: House) -> None:
    """The attempt between never ran, or its disk was full: the one before it knows."""
    house.put("notes", "old")
    score = house.score(
        _SERIES.format(retries=0, completions=2, delay=0.3),
        script="if mkdir one; then echo new > notes; elif mkdir two; then true; else touch rest; fi",
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.retrying", times=2)
        (stored,) = house.home.root.rglob("1.2.base")
        stored.write_text("{")
        run = await song.end()
    assert run.status == "completed"
