"""What depends on what: blocked, skipped, started in the middle, and what a job is called then."""

from __future__ import annotations

import pytest

from tests.conductor.house import House, Playing, settled

_TELLS = "echo {{ sheet_num }} >> order\n"


async def test_a_failure_blocks_its_dependents_and_nothing_else(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 6
          dependencies: {2: [1], 3: [2], 4: [3], 5: [1]}
        """,
        script=_TELLS + "[ {{ sheet_num }} != 2 ]",
    )
    run = await house.play(score)
    assert run.status == "failed"
    expected = ["completed", "failed", "skipped", "skipped", "completed", "completed"]
    assert run.statuses == expected
    assert "blocked by sheet 2" in run.sheet(3)["reason"]
    assert "blocked by sheet" in run.sheet(4)["reason"]
    assert run.tries == [1, 1, 0, 0, 1, 1]
    assert sorted(house.lines("order")) == ["1", "2", "5", "6"]
    assert "2" in run.reason
    assert house.kinds(3)[-1] == "sheet.skipped"


async def test_all_of_several_prerequisites_must_succeed(house: House) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 4, dependencies: {4: [1, 2, 3]}}",
        script=_TELLS + "[ {{ sheet_num }} != 3 ]",
    )
    run = await house.play(score)
    assert run.statuses == ["completed", "completed", "failed", "skipped"]
    assert "blocked by sheet 3" in run.sheet(4)["reason"]


async def test_without_dependencies_a_failure_blocks_the_rest_of_the_chain(house: House) -> None:
    run = await house.play(house.score("", sheets=3, script=_TELLS + "[ {{ sheet_num }} != 1 ]"))
    assert run.statuses == ["failed", "skipped", "skipped"]
    assert house.lines("order") == ["1"]


async def test_a_sheet_starts_only_after_its_prerequisites(house: House) -> None:
    score = house.score(
        """
        sheet: {size: 1, total_items: 3, fan_out: {1: 3, 2: 3}, dependencies: {2: [1], 3: [2]}}
        parallel: {enabled: true, max_concurrent: 7}
        """,
        script="""
        {% for before in needs[sheet_num] %}
        test -e done-{{ before }} || exit 9
        {% endfor %}
        sleep 0.0{{ 8 - sheet_num }}
        touch done-{{ sheet_num }}
        """,
    )
    text = score.read_text().replace(
        "prompt:\n",
        "prompt:\n  variables: {needs: {1: [], 2: [], 3: [], 4: [1], 5: [2], 6: [3], 7: [4, 5, 6]}}\n",
    )
    score.write_text(text)
    run = await house.play(score)
    assert run.statuses == ["completed"] * 7
    assert run.tries == [1] * 7


async def test_what_waits_for_a_sheet_names_it(house: House) -> None:
    score = house.score("", sheets=2, script="until [ -e go ]; do sleep 0.02; done")
    async with Playing(house, score) as song:
        await song.events.until("sheet.started", sheet=1)
        waiting = (await song.now()).sheet(2)
        assert waiting["status"] == "pending"
        assert "sheet 1" in waiting["reason"]
        house.put("go")
        assert (await song.end()).status == "completed"


# --- started in the middle -----------------------------------------------------------------------


async def test_a_run_started_in_the_middle_ends_completed(house: House) -> None:
    score = house.score("", sheets=4, script=_TELLS)
    run = await house.play(score, start_sheet=3)
    assert run.status == "completed"
    assert run.statuses == ["skipped", "skipped", "completed", "completed"]
    assert house.lines("order") == ["3", "4"]
    assert "3" in run.sheet(1)["reason"]


async def test_a_failure_after_the_start_sheet_still_fails_the_run(house: House) -> None:
    score = house.score("", sheets=3, script=_TELLS + "[ {{ sheet_num }} != 3 ]")
    run = await house.play(score, start_sheet=2)
    assert run.status == "failed"
    assert run.statuses == ["skipped", "completed", "failed"]


async def test_the_start_sheet_holds_over_a_restart(house: House) -> None:
    score = house.score("", sheets=3, script=_TELLS + "until [ -e go ]; do sleep 0.02; done")
    async with Playing(house, score, request={"start_sheet": 2}) as song:
        await song.events.until("sheet.started", sheet=2)
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "completed"
    assert house.lines("order") == ["2", "3"]


@pytest.mark.parametrize("number", [0, -1, 5])
async def test_a_start_sheet_that_does_not_exist_is_refused(house: House, number: int) -> None:
    from marianne_core.model.requests import SubmitRequest

    score = house.score("", sheets=4, script=_TELLS)
    async with house.conductor() as conductor:
        reply = await conductor.submit(SubmitRequest(str(score), start_sheet=number))
    assert (reply.status, reply.exit_code) == ("rejected", 2)
    assert str(number) in reply.message
    assert house.rows() == []


# --- skip_when -----------------------------------------------------------------------------------


async def test_skip_when_skips_and_the_dependents_run(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 3
          skip_when: {2: "sheets[1].status == 'completed'"}
        """,
        script=_TELLS,
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert run.statuses == ["completed", "skipped", "completed"]
    assert house.lines("order") == ["1", "3"]
    assert "skip_when" in run.sheet(2)["reason"]
    assert run.tries[1] <= 1


async def test_skip_when_that_is_not_true_lets_the_sheet_run(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 2
          skip_when: {2: "sheets[1].status == 'failed' or job.total_sheets > 7"}
        """,
        script=_TELLS,
    )
    run = await house.play(score)
    assert run.statuses == ["completed", "completed"], run.picture


async def test_skip_when_about_an_output_that_is_gone_fails_in_words(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 3
          dependencies: {2: [1], 3: [2]}
          skip_when: {3: "'done' in sheets[1].output"}
        """,
        script=f"find {house.home.root} -name 1.1.out -delete; echo done",
    )
    run = await house.play(score)
    assert run.statuses == ["completed", "completed", "failed"]
    reason = run.sheet(3)["reason"]
    assert "skip_when cannot be worked out: the output of sheet 1 cannot be read" in reason
    assert "'done' in sheets[1].output" in reason


async def test_skip_when_is_asked_when_its_turn_comes(house: House) -> None:
    """The condition is about the attempts of a sheet that has not run when the job starts."""
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 2
          skip_when: {2: "sheets[1].attempts >= 2"}
        retry: {max_retries: 1, base_delay_seconds: 0.02}
        """,
        script=_TELLS + "{% if sheet_num == 1 %}mkdir once && exit 1 || true{% endif %}",
    )
    run = await house.play(score)
    assert run.statuses == ["completed", "skipped"], run.picture


@pytest.mark.parametrize(("status", "expected"), [(0, "skipped"), (1, "completed")])
async def test_skip_when_command_skips_with_status_0(
    house: House, status: int, expected: str
) -> None:
    score = house.score(
        f"""
        sheet:
          size: 1
          total_items: 2
          skip_when_command:
            2: {{command: "test -e {{workspace}}/made-1 && exit {status}", description: it is done}}
        """,
        script="touch made-{{ sheet_num }}",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert run.statuses == ["completed", expected]
    if expected == "skipped":
        assert "it is done" in run.sheet(2)["reason"]


async def test_a_skip_command_that_takes_too_long_is_ended_and_the_sheet_runs(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 1
          skip_when_command: {1: {command: "sleep 77", timeout_seconds: 0.3}}
        """,
        script=_TELLS,
    )
    run = await house.play(score)
    assert run.statuses == ["completed"]
    assert house.processes() == {}
    assert any(event.kind == "sheet.warning" for event in house.journal())  # nothing is silent


async def test_a_skip_command_that_cannot_run_lets_the_sheet_run(house: House) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 1, skip_when_command: {1: {command: no-such-program-here}}}",
        script=_TELLS,
    )
    run = await house.play(score)
    assert run.statuses == ["completed"]


async def test_a_clean_skip_is_not_announced_as_started(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 3
          dependencies: {2: [1], 3: [2]}
          skip_when: {2: "sheets[1].status == 'completed'"}
          skip_when_command: {1: {command: "false"}, 3: {command: "true"}}
        """,
        script=_TELLS,
    )
    run = await house.play(score)
    assert run.statuses == ["completed", "skipped", "skipped"]
    assert house.kinds(1) == ["sheet.started", "sheet.completed"]
    assert house.kinds(2) == house.kinds(3) == ["sheet.skipped"]
    times = [run.sheet(num)["started_at"] is not None for num in (1, 2, 3)]
    assert times == [True, False, False]


async def test_a_sheet_that_is_asked_about_is_announced_when_it_starts(house: House) -> None:
    """Also by the conductor after the one that asked, and once only when that one had announced it."""
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 1
          skip_when_command: {1: {command: "echo x >> asked; test ! -e go"}}
        """,
        script="touch runs; until [ -e end ]; do sleep 0.02; done",
    )
    house.put("go")
    async with Playing(house, score) as song:
        await song.events.until("sheet.started")
        assert house.lines("asked") == ["x"]
        await house.appears("runs")
    house.put("end")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.kinds(1) == ["sheet.started", "sheet.recovered", "sheet.completed"]


async def test_a_skip_command_sees_a_quoted_workspace(house: House) -> None:
    house.workspace = house.root / "it's a workspace"
    score = house.score(
        'sheet: {size: 1, total_items: 1, skip_when_command: {1: {command: "test -d {workspace}"}}}',
        script=_TELLS,
    )
    house.workspace.mkdir()
    run = await house.play(score)
    assert run.statuses == ["skipped"]


async def test_skipped_stages_of_a_fan_out_are_skipped_in_all_voices(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 3
          fan_out: {2: 2}
          dependencies: {2: [1], 3: [2]}
          skip_when_command: {2: {command: "true"}}
        """,
        script=_TELLS,
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert run.statuses == ["completed", "skipped", "skipped", "completed"]
