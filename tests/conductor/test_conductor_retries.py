"""Retries: how many, after which delays, and what they do not repeat."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.conductor.house import House, Playing, Run, settled

_THIRD_TIME = """
    echo try >> tries
    test "$(wc -l < tries)" -ge 3
    """


def _pauses(house: House, sheet: int = 1) -> list[float]:
    """Seconds between the end of an attempt and the start of the next."""
    rows = house.attempts(sheet)
    return [
        (later.started_at or 0.0) - (earlier.finished_at or 0.0)
        for earlier, later in itertools.pairwise(rows)
    ]


def _announced(house: House) -> list[float]:
    """Seconds of every delay before a retry, as the events say."""
    return [
        event.data["until"] - event.time
        for event in house.journal()
        if event.kind == "sheet.retrying"
    ]


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_max_retries_counts_the_tries_after_the_first(house: House, retries: int) -> None:
    score = house.score(
        f"retry: {{max_retries: {retries}, base_delay_seconds: 0.02, jitter: false}}",
        script="echo try >> tries; exit 3",
    )
    run = await house.play(score)
    assert run.status == "failed"
    assert run.sheet(1)["status"] == "failed"
    assert run.sheet(1)["attempts"] == retries + 1
    assert run.sheet(1)["exit_code"] == 3
    assert len(house.lines("tries")) == retries + 1
    assert len(house.attempts(1)) == retries + 1
    assert "3" in run.sheet(1)["reason"]


async def test_the_third_try_can_succeed(house: House) -> None:
    score = house.score("retry: {max_retries: 2, base_delay_seconds: 0.02}", script=_THIRD_TIME)
    run = await house.play(score)
    assert run.status == "completed"
    assert run.sheet(1)["attempts"] == 3
    assert run.sheet(1)["exit_code"] == 0
    assert [row.ended for row in house.attempts(1)] == ["failed", "failed", "ok"]
    assert house.kinds(1).count("sheet.retrying") == 2


async def test_delays_grow_by_the_base_and_stop_at_the_maximum(house: House) -> None:
    score = house.score(
        """
        retry: {max_retries: 4, base_delay_seconds: 0.05, exponential_base: 3,
                max_delay_seconds: 0.3, jitter: false}
        """,
        script="exit 1",
    )
    await house.play(score)
    expected = [0.05, 0.15, 0.3, 0.3]
    assert _announced(house) == pytest.approx(expected, abs=0.01)
    for waited, wanted in zip(_pauses(house), expected, strict=True):
        assert wanted - 0.01 <= waited < wanted + 1.0


async def test_jitter_takes_half_to_the_whole_of_a_delay_from_the_seed(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 3, base_delay_seconds: 0.4, exponential_base: 1.01}", script="exit 1"
    )
    # What is told may be some milliseconds less than what was decided, on a busy machine more.
    slack = 0.03
    seen = []
    for seed in (1, 1, 2):
        async with house.conductor(seed=seed) as conductor:
            run = await house.play(score, conductor=conductor)
        delays = [
            e.data["until"] - e.time for e in house.journal(run.job) if e.kind == "sheet.retrying"
        ]
        assert all(0.2 - slack <= delay <= 0.41 for delay in delays)
        seen.append(delays)
    assert seen[0] == pytest.approx(seen[1], abs=slack)
    assert seen[0] != pytest.approx(seen[2], abs=slack)
    assert max(seen[0]) - min(seen[0]) > slack


async def test_jitter_never_goes_over_the_maximum(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 4, base_delay_seconds: 0.1, max_delay_seconds: 0.1}", script="exit 1"
    )
    await house.play(score)
    assert all(0.045 <= delay <= 0.105 for delay in _announced(house))


async def test_what_waits_for_a_retry_says_so(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 30, jitter: false}", script="exit 7"
    )
    async with Playing(house, score) as song:
        event = await song.events.until("sheet.retrying", sheet=1)
        run = await song.now()
        assert run.sheet(1)["status"] == "retry_scheduled"
        # What changes comes first, and what failed is told once.
        told = run.sheet(1)["reason"]
        assert re.match(r"retry in \d+ s after exit status 7", told), told
        assert told.count("exit status 7") == 1
        assert event.data["until"] - event.timestamp == pytest.approx(30, abs=0.5)
        assert "7" in event.data["reason"]
        await song.conductor.cancel("song")
    assert house.row().status == "cancelled"


async def test_what_cannot_help_is_not_tried_again(house: House) -> None:
    house.instrument("cli: {command: {executable: /no/such/program}, output: {}}", name="ghost")
    score = house.score(
        "instrument: ghost\nretry: {max_retries: 3, base_delay_seconds: 0.02}", script="work"
    )
    run = await house.play(score)
    assert run.statuses == ["failed"]
    assert run.tries == [1]


async def test_a_sheet_that_fails_its_validations_is_tried_again(house: House) -> None:
    score = house.score(
        """
        retry: {max_retries: 2, base_delay_seconds: 0.02, max_completion_attempts: 5}
        validations:
          - {type: command_succeeds, command: 'test "$(wc -l < tries)" -ge 3', retry_count: 0}
        """,
        script="echo try >> tries",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert run.tries == [3]
    assert [row.mode for row in house.attempts(1)] == ["normal"] * 3
    assert [row.pass_rate for row in house.attempts(1)] == [0.0, 0.0, 100.0]


async def test_each_sheet_has_retries_of_its_own(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 0.02}",
        sheets=2,
        script="echo try >> tries-{{ sheet_num }}; test $(wc -l < tries-{{ sheet_num }}) -eq 2",
    )
    run = await house.play(score)
    assert run.statuses == ["completed", "completed"]
    assert run.tries == [2, 2]


async def test_other_sheets_go_on_while_one_waits_for_its_retry(house: House) -> None:
    score = house.score(
        """
        sheet: {size: 1, total_items: 1, fan_out: {1: 2}}
        retry: {max_retries: 1, base_delay_seconds: 0.5, jitter: false}
        """,
        script="""
        if [ {{ sheet_num }} = 1 ] && mkdir once; then exit 1; fi
        echo {{ sheet_num }} >> order
        """,
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert house.lines("order") == ["2", "1"]


def _spent(run: Run) -> list[tuple[str, int]]:
    return list(zip(run.statuses, run.tries, strict=True))


async def test_retries_are_counted_over_a_restart(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 2, base_delay_seconds: 0.4, exponential_base: 1.01, jitter: false}",
        script="echo try >> tries; exit 1",
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.retrying", times=2)
    async with house.conductor() as conductor:
        await settled(conductor)
        run = await house.run(conductor)
    assert _spent(run) == [("failed", 3)]
    assert len(house.lines("tries")) == 3
