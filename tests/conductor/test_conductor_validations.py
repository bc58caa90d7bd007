"""What sheets must have made: judged by the five types, in stages, and remembered."""

from __future__ import annotations

import itertools

import pytest

from tests.conductor.house import House, Playing, settled


async def test_every_result_is_stored_with_what_was_expected_and_what_was_found(
    house: House,
) -> None:
    score = house.score(
        """
        validations:
          - {type: file_exists, path: made.txt, description: it is made}
          - {type: file_exists, path: missing.txt, retry_count: 0, description: it is missing}
          - {type: content_contains, path: made.txt, pattern: melody, retry_count: 0}
          - {type: content_regex, path: made.txt, pattern: '^ton[aeiou]$'}
          - {type: command_succeeds, command: "echo said it; exit 6", retry_count: 0}
        """,
        script="echo tone > made.txt",
    )
    run = await house.play(score)
    assert run.status == "failed"
    results = house.validations(1, 1)
    assert [row.rule_type for row in results] == [
        "file_exists",
        "file_exists",
        "content_contains",
        "content_regex",
        "command_succeeds",
    ]
    assert [row.passed for row in results] == [True, False, False, True, False]
    assert results[0].description == "it is made"
    for row in results:
        assert row.expected
        assert row.actual
        assert row.duration >= 0
        if not row.passed:
            assert row.reason
            assert row.suggested_fix
            assert row.category
    assert results[1].category == "missing"
    assert str(house.workspace / "missing.txt") in f"{results[1].path}"
    assert "melody" in results[2].expected
    assert "6" in results[4].actual + results[4].reason
    assert "said it" in results[4].actual + results[4].reason
    assert house.attempts(1)[0].pass_rate == pytest.approx(40)
    assert house.attempts(1)[0].exit_code == 0
    assert "it is missing" in run.sheet(1)["reason"] or "3 of 5" in run.sheet(1)["reason"]


async def test_results_of_every_attempt_are_kept(house: House) -> None:
    score = house.score(
        """
        retry: {max_retries: 1, base_delay_seconds: 0.02}
        validations: [{type: file_exists, path: late, retry_count: 0}]
        """,
        script="mkdir once || touch late",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert [row.passed for row in house.validations(1, 1)] == [False]
    assert [row.passed for row in house.validations(1, 2)] == [True]


async def test_paths_are_relative_to_the_workspace(house: House) -> None:
    (house.root / "outside").write_text("")
    score = house.score(
        """
        validations:
          - {type: file_exists, path: sub/inside}
          - {type: file_exists, path: "{workspace}/sub/inside"}
        """,
        script="mkdir sub; touch sub/inside",
    )
    run = await house.play(score)
    assert run.status == "completed"
    score = house.score(
        "validations: [{type: file_exists, path: outside, retry_count: 0}]",
        script="true",
        name="other",
    )
    assert (await house.play(score)).status == "failed"


async def test_a_folder_is_no_file(house: House) -> None:
    score = house.score(
        "validations: [{type: file_exists, path: made, retry_count: 0}]", script="mkdir made"
    )
    assert (await house.play(score)).status == "failed"


async def test_rules_apply_to_their_sheets(house: House) -> None:
    score = house.score(
        """
        sheet: {size: 1, total_items: 2, fan_out: {2: 2}}
        validations:
          - {type: file_exists, path: one, sheet: 1}
          - {type: file_exists, path: "voice-{voice}", condition: "movement == 2 and voice >= 1"}
          - {type: file_exists, path: last, condition: "sheet_num == 3 or sheet_num > 7"}
        """,
        script="""
        {% if sheet_num == 1 %}touch one{% else %}touch voice-{{ voice }}{% endif %}
        {% if sheet_num == 3 %}touch last{% endif %}
        """,
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert [len(house.validations(num, 1)) for num in (1, 2, 3)] == [1, 1, 2]


# --- stages --------------------------------------------------------------------------------------


async def test_the_first_failing_stage_stops_the_later_ones(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: command_succeeds, command: touch third, stage: 3}
          - {type: command_succeeds, command: touch first, stage: 1}
          - {type: file_exists, path: never, stage: 2, retry_count: 0}
          - {type: command_succeeds, command: touch second, stage: 2}
        """,
        script="true",
    )
    run = await house.play(score)
    assert run.status == "failed"
    assert house.wrote("first")
    assert house.wrote("second")  # all rules of a stage run
    assert not house.wrote("third")
    results = {row.rule: row for row in house.validations(1, 1)}
    assert [results[n].passed for n in range(4)] == [False, True, False, True]
    assert results[0].category == "skipped"
    assert "2" in results[0].reason
    assert house.attempts(1)[0].pass_rate == pytest.approx(50)


async def test_stages_that_pass_are_followed_by_the_next(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: command_succeeds, command: "echo 2 >> order", stage: 2}
          - {type: command_succeeds, command: "echo 1 >> order", stage: 1}
          - {type: command_succeeds, command: "echo 5 >> order", stage: 5}
        """,
        script="true",
    )
    assert (await house.play(score)).status == "completed"
    assert house.lines("order") == ["1", "2", "5"]


# --- retries of a rule ---------------------------------------------------------------------------


async def test_a_rule_is_looked_at_again(house: House) -> None:
    """The command of the rule succeeds at its third look."""
    score = house.score(
        """
        validations:
          - type: command_succeeds
            command: "echo look >> looks; test $(wc -l < looks) -ge 3"
            retry_count: 4
            retry_delay_ms: 20
        """,
        script="true",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert run.tries == [1]
    assert len(house.lines("looks")) == 3
    assert house.validations(1, 1)[0].tries == 3


async def test_a_rule_gives_up_after_its_retries(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: command_succeeds, command: "echo look >> looks; false", retry_count: 2, retry_delay_ms: 1}
        """,
        script="true",
    )
    assert (await house.play(score)).status == "failed"
    assert len(house.lines("looks")) == 3


async def test_the_delay_between_two_looks_is_kept(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: command_succeeds, command: "date +%s%N >> looks; false", retry_count: 2, retry_delay_ms: 200}
        """,
        script="true",
    )
    await house.play(score)
    looks = [int(line) / 1e9 for line in house.lines("looks")]
    assert all(b - a > 0.18 for a, b in itertools.pairwise(looks))


async def test_nothing_is_validated_when_the_instrument_failed(house: House) -> None:
    score = house.score(
        "validations: [{type: command_succeeds, command: touch looked}]", script="exit 1"
    )
    await house.play(score)
    assert not house.wrote("looked")
    assert house.validations(1, 1) == []


# --- commands ------------------------------------------------------------------------------------


async def test_a_command_runs_in_the_workspace_or_where_it_says(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: command_succeeds, command: 'test "$PWD" = {workspace}'}
          - {type: command_succeeds, command: "test -e here", working_directory: "{workspace}/sub"}
          - {type: command_succeeds, command: "test -e here", working_directory: sub}
        """,
        script="mkdir sub; touch sub/here",
    )
    run = await house.play(score)
    assert run.status == "completed", house.validations(1, 1)


async def test_values_in_a_command_are_quoted(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: command_succeeds, command: "test {title} = 'a; touch hacked'"}
        """,
        script="true",
    )
    score.write_text(
        score.read_text().replace("prompt:\n", "prompt:\n  variables: {title: 'a; touch hacked'}\n")
    )
    run = await house.play(score)
    assert run.status == "completed", house.validations(1, 1)
    assert not house.wrote("hacked")


async def test_a_command_that_takes_too_long_is_ended_with_its_tree(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: command_succeeds, command: "(trap '' TERM; sleep 99) & sleep 99", timeout_seconds: 0.3, retry_count: 0}
        """,
        script="true",
    )
    run = await house.play(score)
    assert run.status == "failed"
    assert house.processes() == {}
    row = house.validations(1, 1)[0]
    assert "0.3" in row.actual + row.reason


async def test_a_cancel_ends_the_command_of_a_rule(house: House) -> None:
    score = house.score(
        """
        validations: [{type: command_succeeds, command: "touch looking; sleep 99"}]
        """,
        script="true",
    )
    async with Playing(house, score) as song:
        await house.appears("looking")
        await song.conductor.cancel("song")
        run = await song.now()
    assert run.status == "cancelled"
    assert run.statuses == ["cancelled"]
    assert house.processes() == {}


async def test_a_command_that_runs_over_a_restart_is_asked_again(house: House) -> None:
    """The sheet itself has ended, so it does not run twice."""
    score = house.score(
        """
        validations:
          - {type: command_succeeds, command: "echo look >> looks; until [ -e go ]; do sleep 0.02; done"}
        """,
        script="echo play >> plays",
    )
    async with Playing(house, score):
        await house.appears("looks")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "completed"
    assert house.lines("plays") == ["play"]
    assert len(house.lines("looks")) == 2


# --- large and evil files ------------------------------------------------------------------------


async def test_a_pattern_that_blows_up_ends_at_its_time_limit(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: content_regex, path: aaa, pattern: '^(a+)+$', retry_count: 0, timeout_seconds: 0.5}
        """,
        script="head -c 5000 /dev/zero | tr '\\0' a > aaa; echo b >> aaa",
    )
    async with Playing(house, score) as song:
        run = await song.end()
    assert run.status == "failed"
    assert house.validations(1, 1)[0].duration < 5


async def test_text_at_the_end_of_a_large_file_is_found(house: House) -> None:
    score = house.score(
        """
        validations: [{type: content_contains, path: large, pattern: the needle}]
        """,
        script="truncate -s 100M large; echo the needle >> large",
    )
    assert (await house.play(score)).status == "completed"


async def test_a_pipe_in_the_place_of_a_file_does_not_hang(house: House) -> None:
    score = house.score(
        """
        validations:
          - {type: content_contains, path: pipe, pattern: x, retry_count: 0}
          - {type: content_regex, path: pipe, pattern: x, retry_count: 0}
          - {type: file_modified, path: pipe, retry_count: 0}
        """,
        script="mkfifo pipe",
    )
    run = await house.play(score)
    assert run.status == "failed"
    assert not any(row.passed for row in house.validations(1, 1)[:2])
