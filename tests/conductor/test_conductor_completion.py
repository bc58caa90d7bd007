"""Completion mode: when work is half done, it is finished instead of started anew."""

from __future__ import annotations

import itertools

import pytest

from tests.conductor.house import House, Playing, settled

_AGENT = """
cli:
  command: {executable: "{program}", prompt_via_stdin: true}
  output: {format: text}
"""

_KEEPS_PROMPTS = """
    n=$(( $(cat count 2>/dev/null || echo 0) + 1 ))
    echo $n > count
    cat > prompt-$n
    """

_RULES = """
validations:
  - {type: file_exists, path: one, retry_count: 0, description: the first part is there}
  - {type: file_exists, path: two, retry_count: 0, description: the second part is there}
"""


async def test_half_done_work_is_completed_and_costs_no_retry(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 0, max_completion_attempts: 1, completion_delay_seconds: 0.02}"
        + _RULES,
        script="echo go >> tries; if [ -e one ]; then touch two; fi; touch one",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert run.tries == [2]
    first, second = house.attempts(1)
    assert (first.mode, first.pass_rate) == ("normal", 50.0)
    assert (second.mode, second.pass_rate) == ("completion", 100.0)
    assert len(house.lines("tries")) == 2


@pytest.mark.parametrize(("threshold", "mode"), [(50, "completion"), (51, "normal")])
async def test_the_pass_rate_must_reach_the_threshold(
    house: House, threshold: int, mode: str
) -> None:
    score = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 0.02, completion_delay_seconds: 0.02, "
        f"completion_threshold_percent: {threshold}}}" + _RULES,
        script="if [ -e one ]; then touch two; fi; touch one",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert [row.mode for row in house.attempts(1)] == ["normal", mode]


async def test_completion_ends_at_its_maximum(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 0, max_completion_attempts: 2, completion_delay_seconds: 0.02}"
        + _RULES,
        script="echo go >> tries; touch one",
    )
    run = await house.play(score)
    assert run.statuses == ["failed"]
    assert [row.mode for row in house.attempts(1)] == ["normal", "completion", "completion"]
    assert (
        "the second part is there" in run.sheet(1)["reason"] or "1 of 2" in run.sheet(1)["reason"]
    )


async def test_no_completion_attempts_means_plain_retries(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 0.02, max_completion_attempts: 0}" + _RULES,
        script="touch one",
    )
    run = await house.play(score)
    assert run.tries == [2]
    assert [row.mode for row in house.attempts(1)] == ["normal", "normal"]


async def test_completion_waits_its_own_delay(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 0, base_delay_seconds: 5, jitter: false, "
        "max_completion_attempts: 2, completion_delay_seconds: 0.2}" + _RULES,
        script="touch one",
    )
    await house.play(score)
    rows = house.attempts(1)
    assert len(rows) == 3
    for earlier, later in itertools.pairwise(rows):
        assert 0.19 <= (later.started_at or 0.0) - (earlier.finished_at or 0) < 1.5


async def test_a_failed_instrument_is_never_completed(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 0.02, completion_delay_seconds: 0.02}"
        + _RULES,
        script="touch one; exit 4",
    )
    run = await house.play(score)
    assert run.statuses == ["failed"]
    assert [row.mode for row in house.attempts(1)] == ["normal", "normal"]


async def test_an_agent_is_told_what_passed_and_what_did_not(house: House) -> None:
    house.instrument(
        _AGENT, name="agent", program=_KEEPS_PROMPTS + "touch one; [ $n = 1 ] || touch two"
    )
    score = house.score(
        "instrument: agent\n"
        "retry: {max_retries: 0, max_completion_attempts: 1, completion_delay_seconds: 0.02}"
        + _RULES,
        script="Write both parts.",
    )
    run = await house.play(score)
    assert run.status == "completed"
    first = (house.workspace / "prompt-1").read_text()
    second = (house.workspace / "prompt-2").read_text()
    assert "Write both parts." in first
    assert "Write both parts." in second
    added = second.split("Write both parts.", 1)[1].replace(
        first.split("Write both parts.", 1)[1], ""
    )
    assert "the first part is there" in added
    assert "the second part is there" in added
    assert "1" in added  # how many passed
    assert "50" in added  # percent


async def test_an_agent_that_only_tries_again_gets_no_such_words(house: House) -> None:
    house.instrument(_AGENT, name="agent", program=_KEEPS_PROMPTS + "[ $n = 2 ]")
    score = house.score(
        "instrument: agent\nretry: {max_retries: 1, base_delay_seconds: 0.02}",
        script="Do it.",
    )
    run = await house.play(score)
    assert run.status == "completed"
    first = (house.workspace / "prompt-1").read_text().splitlines()
    second = (house.workspace / "prompt-2").read_text().splitlines()
    assert "RETRY #1" in "\n".join(second)
    assert "RETRY" not in "\n".join(first)
    assert first[-1] == second[-1] == "Do it."


async def test_a_raw_instrument_plays_the_template_alone(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 0, max_completion_attempts: 1, completion_delay_seconds: 0.02}"
        + _RULES,
        script="if [ -e one ]; then touch two; fi; touch one",
    )
    await house.play(score)
    first, second = house.attempts(1)
    assert second.mode == "completion"
    assert first.prompt_hash == second.prompt_hash
    assert first.argv_digest == second.argv_digest


async def test_completion_survives_a_restart(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 0, max_completion_attempts: 1, completion_delay_seconds: 0.4}"
        + _RULES,
        script="if [ -e one ]; then touch two; fi; touch one",
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.retrying")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "completed"
    assert [row.mode for row in house.attempts(1)] == ["normal", "completion"]
