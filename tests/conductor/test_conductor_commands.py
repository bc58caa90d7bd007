"""What a person orders: pause, resume, cancel, retry, replace; and every run is remembered."""

from __future__ import annotations

import asyncio

import pytest

from marianne_core.model.errors import InputError, JobSubmissionError, MztError
from marianne_core.model.requests import SubmitRequest
from tests.conductor.house import House, Playing, settled, submit, watching

_HELD = """
    echo {{ sheet_num }} >> order
    until [ -e go ]; do sleep 0.02; done
    echo {{ sheet_num }} >> ended
    """


# --- pause and resume ----------------------------------------------------------------------------


async def test_a_pause_lets_running_sheets_end_and_starts_no_other(house: House) -> None:
    score = house.score("", sheets=3, script=_HELD)
    async with Playing(house, score) as song:
        await song.events.until("sheet.started")
        receipt = await song.conductor.pause("song")
        assert receipt.status == "pausing"
        assert (await song.now()).status == "pausing"
        house.put("go")
        await song.events.until("job.paused")
        await settled(song.conductor)
        run = await song.now()
        assert run.status == "paused"
        assert run.statuses == ["completed", "pending", "pending"]
        assert "paused" in run.reason
        assert "paused" in run.sheet(2)["reason"]
        receipt = await song.conductor.resume("song")
        assert receipt.status == "running"
        assert (await song.end()).status == "completed"
    assert house.lines("order") == ["1", "2", "3"]


async def test_a_resume_does_not_touch_the_running_sheet(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        before = house.processes()
        await song.conductor.pause("song")
        await song.conductor.resume("song")
        assert set(before) & set(house.processes())
        house.put("go")
        assert (await song.end()).status == "completed"
    assert house.lines("order") == ["1", "2"]
    assert len(house.attempts(1)) == 1


async def test_a_pause_holds_a_retry_back(house: House) -> None:
    score = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 0.3, jitter: false}",
        script="echo try >> tries; [ $(wc -l < tries) = 2 ]",
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.retrying")
        receipt = await song.conductor.pause("song")
        assert receipt.status == "paused"  # nothing runs
        await asyncio.sleep(0.5)  # past the time of the retry
        assert len(house.lines("tries")) == 1
        await song.conductor.resume("song")
        assert (await song.end()).status == "completed"


async def test_a_queued_job_can_be_paused_and_cancelled(house: House) -> None:
    scores = [house.score("", script=_HELD, name=name) for name in ("one", "two", "three")]
    async with house.conductor(max_concurrent_jobs=1) as conductor, watching(conductor) as events:
        for score in scores:
            await submit(conductor, score)
        await events.until("sheet.started")
        assert (await conductor.pause("two")).status == "paused"
        assert (await conductor.cancel("three")).status == "cancelled"
        house.put("go")
        await settled(conductor)
        assert house.row("two").status == "paused"
        await conductor.resume("two")
        await settled(conductor)
    assert [house.row(name).status for name in ("one", "two", "three")] == [
        "completed",
        "completed",
        "cancelled",
    ]
    assert house.attempts(job="three") == []


async def test_a_completed_job_can_be_neither_paused_nor_resumed_nor_cancelled(
    house: House,
) -> None:
    score = house.score("", script="true")
    async with Playing(house, score) as song:
        await song.end()
        for command in (song.conductor.pause, song.conductor.resume, song.conductor.cancel):
            with pytest.raises(JobSubmissionError, match="completed"):
                await command("song")


async def test_an_unknown_job_is_named(house: House) -> None:
    async with house.conductor() as conductor:
        calls = [
            conductor.pause, conductor.resume, conductor.cancel, conductor.retry, conductor.status,
        ]  # fmt: skip
        for command in calls:
            with pytest.raises(MztError, match="nobody"):
                await command("nobody")
            with pytest.raises(InputError):
                await command("song#zero")


# --- cancel --------------------------------------------------------------------------------------


async def test_cancel_ends_the_trees_before_it_answers(house: House) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 1, fan_out: {1: 4}}\n"
        "parallel: {enabled: true, max_concurrent: 2}",
        script="trap '' TERM; (setsid sleep 98 &); touch up-{{ sheet_num }}; sleep 99; sleep 99",
    )
    async with Playing(house, score) as song:
        await house.appears("up-1")
        await house.appears("up-2")
        receipt = await song.conductor.cancel("song")
        assert receipt.status == "cancelled"
        assert house.processes() == {}
        run = await song.now()
    assert run.status == "cancelled"
    assert run.statuses == ["cancelled"] * 4
    assert run.tries == [1, 1, 0, 0]
    assert house.row().status == "cancelled"


async def test_cancel_of_a_cancelled_job_is_harmless(house: House) -> None:
    async with Playing(house, house.score("", script=_HELD)) as song:
        await house.appears("order")
        await asyncio.gather(song.conductor.cancel("song"), song.conductor.cancel("song"))
        assert (await song.conductor.cancel("song")).status == "cancelled"


async def test_a_paused_job_can_be_cancelled(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        await song.conductor.pause("song")
        house.put("go")
        await song.events.until("job.paused")
        assert (await song.conductor.cancel("song")).status == "cancelled"
        assert (await song.now()).statuses == ["completed", "cancelled"]


async def test_a_cancelled_job_can_be_resumed(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        await song.conductor.cancel("song")
        house.put("go")
        await song.conductor.resume("song")
        run = await song.end()
    assert run.status == "completed"
    assert house.lines("ended") == ["1", "2"]


# --- retry ---------------------------------------------------------------------------------------

_BROKEN = """
    echo {{ sheet_num }} >> order
    if [ {{ sheet_num }} = 2 ]; then test -e mended; fi
    """


async def test_retry_runs_what_failed_and_what_it_blocked(house: House) -> None:
    score = house.score("", sheets=4, script=_BROKEN)
    async with Playing(house, score) as song:
        run = await song.end()
        assert run.statuses == ["completed", "failed", "skipped", "skipped"]
        house.put("mended")
        await song.conductor.retry("song")
        run = await song.end()
        assert run.status == "completed"
        assert run.tries == [1, 2, 1, 1]
    assert house.lines("order") == ["1", "2", "2", "3", "4"]
    assert run.reason == ""


async def test_retry_gives_the_sheet_all_its_retries_again(house: House) -> None:
    score = house.score("retry: {max_retries: 1, base_delay_seconds: 0.02}", script="exit 1")
    async with Playing(house, score) as song:
        assert (await song.end()).tries == [2]
        await song.conductor.retry("song", 1)
        assert (await song.end()).tries == [4]
    assert [row.attempt for row in house.attempts(1)] == [1, 2, 3, 4]


async def test_retry_of_a_sheet_runs_it_and_all_downstream(house: House) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 4, dependencies: {2: [1], 3: [2]}}",
        script="echo {{ sheet_num }} >> order",
    )
    async with Playing(house, score) as song:
        assert (await song.end()).status == "completed"
        await song.conductor.retry("song", 2)
        run = await song.end()
    assert run.status == "completed"
    assert run.tries == [1, 2, 2, 1]
    assert sorted(house.lines("order")[4:]) == ["2", "3"]


async def test_retry_after_a_restart(house: House) -> None:
    score = house.score("", sheets=3, script=_BROKEN)
    assert (await house.play(score)).status == "failed"
    house.put("mended")
    async with house.conductor() as conductor:
        await conductor.retry("song")
        await settled(conductor)
        run = await house.run(conductor)
    assert run.status == "completed"
    assert run.tries == [1, 2, 1]


async def test_resume_of_a_failed_job_tries_its_failed_sheets_again(house: House) -> None:
    score = house.score("", sheets=3, script=_BROKEN)
    async with Playing(house, score) as song:
        await song.end()
        house.put("mended")
        await song.conductor.resume("song")
        assert (await song.end()).status == "completed"


async def test_retry_of_a_sheet_that_is_not_there_is_refused(house: House) -> None:
    async with Playing(house, house.score("", script="true")) as song:
        await song.end()
        for number in (0, 2, -1):
            with pytest.raises(InputError, match=str(number)):
                await song.conductor.retry("song", number)
        with pytest.raises(JobSubmissionError):
            await song.conductor.retry("song")


async def test_retry_while_the_sheet_runs_does_not_run_it_twice(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        try:
            await song.conductor.retry("song", 1)
        except JobSubmissionError as error:
            assert "1" in error.what
        house.put("go")
        run = await song.end()
    assert run.status == "completed"
    assert house.lines("ended").count("1") in (1, 2)
    assert len(house.attempts(1)) == run.tries[0]


# --- runs of one job -----------------------------------------------------------------------------


async def test_a_job_that_runs_already_is_refused_with_the_way_out(house: House) -> None:
    score = house.score("", script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        reply = await song.conductor.submit(SubmitRequest(str(score)))
        assert reply.status == "rejected"
        assert reply.exit_code == 2
        assert "--replace" in reply.message
        assert "mzt resume song" in reply.message
        house.put("go")
        assert (await song.end()).status == "completed"
    assert len(house.rows()) == 1


async def test_a_paused_job_is_refused_too(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        await song.conductor.pause("song")
        house.put("go")
        await song.events.until("job.paused")
        reply = await song.conductor.submit(SubmitRequest(str(score)))
        assert reply.status == "rejected"
        assert "paused" in reply.message
        await song.conductor.cancel("song")


async def test_two_submissions_at_once_make_one_run(house: House) -> None:
    score = house.score("", script=_HELD)
    async with house.conductor() as conductor:
        replies = await asyncio.gather(
            *(conductor.submit(SubmitRequest(str(score))) for _ in range(4))
        )
        assert sorted(reply.status for reply in replies) == ["accepted", *["rejected"] * 3]
        await house.appears("order")
        house.put("go")
        await settled(conductor)
    assert len(house.rows()) == 1
    assert house.lines("order") == ["1"]


async def test_replace_cancels_the_old_run_and_starts_a_new_one(house: House) -> None:
    score = house.score("", script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        old = house.processes()
        reply = await submit(song.conductor, score, replace=True)
        assert reply.run == 2
        assert not set(old) & set(house.processes())
        assert house.row("song#1").status == "cancelled"
        house.put("go")
        await settled(song.conductor)
    assert house.row("song#2").status == "completed"
    assert "replace" in house.row("song#1").reason
    assert house.lines("ended") == ["1"]


async def test_history_is_never_overwritten(house: House) -> None:
    score = house.score("", sheets=2, script="echo {{ sheet_num }} >> order; test -e mended")
    async with house.conductor() as conductor:
        first = await house.play(score, conductor=conductor)
        house.put("mended")
        second = await house.play(score, conductor=conductor)
        assert (first.job, second.job) == ("song#1", "song#2")
        assert (await house.run(conductor, "song#1")).statuses == ["failed", "skipped"]
        assert (await house.run(conductor, "song#2")).statuses == ["completed", "completed"]
        assert (await house.run(conductor, "song")).job == "song#2"
        listed = await conductor.list_jobs()
        assert [(job["job_id"], job["run"]) for job in listed] == [("song", 2)]
    assert len(house.attempts(job="song#1")) == 1
    assert len(house.attempts(job="song#2")) == 2
    assert [event.kind for event in house.journal("song#1")][-1] == "job.failed"


async def test_two_files_of_one_name_are_two_jobs(house: House) -> None:
    score = house.score("", script="true")
    (house.root / "other").mkdir()
    twin = house.root / "other" / "song.yaml"
    twin.write_text(score.read_text())
    async with house.conductor() as conductor:
        assert (await submit(conductor, score)).job_id == "song"
        assert (await submit(conductor, twin)).job_id == "song-2"
        await settled(conductor)
        assert (await submit(conductor, twin)).job_id == "song-2"
        await settled(conductor)
    assert {(row.job_id, row.run) for row in house.rows()} == {
        ("song", 1), ("song-2", 1), ("song-2", 2),
    }  # fmt: skip


async def test_variables_of_the_command_line_win_and_are_kept(house: House) -> None:
    score = house.score(
        "", sheets=2, script="echo {{ who }} >> names; until [ -e go ]; do sleep 0.02; done"
    )
    text = score.read_text().replace("prompt:\n", "prompt:\n  variables: {who: nobody}\n")
    score.write_text(text)
    async with Playing(house, score, request={"variables": {"who": "Ada"}}):
        await house.appears("names")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.lines("names") == ["Ada", "Ada"]


async def test_a_run_goes_on_with_the_score_it_was_submitted_with(house: House) -> None:
    """Somebody edits the file while the job runs, and the conductor starts anew."""
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score):
        await house.appears("order")
    score.write_text("this: is not a score\n")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
    assert house.row().status == "completed"


async def test_a_missing_score_is_refused(house: House) -> None:
    async with house.conductor() as conductor:
        reply = await conductor.submit(SubmitRequest(str(house.root / "nothing.yaml")))
    assert (reply.status, reply.exit_code, reply.job_id) == ("rejected", 2, "")
    assert "nothing.yaml" in reply.message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("sheet: {size: 1, total_items: 2, dependencies: {1: [2], 2: [1]}}", "1 → 2 → 1"),
        ("sheet: {size: 1, total_items: 2, dependencies: {2: [2]}}", "itself"),
        ("sheet: {size: 1, total_items: 2, dependencies: {2: [7]}}", "7"),
        ("instrument: no-such-instrument", "no-such-instrument"),
        ("colour: red", "colour"),
    ],
)
async def test_nothing_starts_of_a_score_with_errors(house: House, text: str, word: str) -> None:
    score = house.score(text, script="touch started")
    async with house.conductor() as conductor:
        reply = await conductor.submit(SubmitRequest(str(score)))
    assert (reply.status, reply.exit_code) == ("rejected", 2)
    assert word in reply.message
    assert house.rows() == []
    assert not house.wrote("started")


async def test_an_undefined_variable_is_refused_before_anything_starts(house: House) -> None:
    score = house.score("", sheets=2, script="touch started; echo {{ nobody_knows }}")
    async with house.conductor() as conductor:
        reply = await conductor.submit(SubmitRequest(str(score)))
    assert (reply.status, reply.exit_code) == ("rejected", 2)
    assert "nobody_knows" in reply.message
    assert house.rows() == []


async def test_fresh_empties_the_workspace(house: House) -> None:
    house.put("old")
    run = await house.play(house.score("", script="test ! -e old"), fresh=True)
    assert run.status == "completed"


async def test_fresh_archives_the_workspace_where_the_score_says_so(house: House) -> None:
    house.put("old")
    score = house.score("workspace_lifecycle: {archive_on_fresh: true}", script="test ! -e old")
    run = await house.play(score, fresh=True)
    assert run.status == "completed"
    assert [path.name for path in (house.workspace / "archive").rglob("old")] == ["old"]


async def test_fresh_starts_anew_also_over_a_paused_run(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        await song.conductor.pause("song")
        house.put("go")
        await song.events.until("job.paused")
        reply = await submit(song.conductor, score, fresh=True)
        assert reply.run == 2
        await house.appears("order")
        house.put("go")
        await settled(song.conductor)
    assert house.row("song#2").status == "completed"
    assert house.row("song#1").status == "cancelled"


# --- the conductor leaves ------------------------------------------------------------------------


async def test_a_drain_lets_running_sheets_end_and_pauses_their_jobs(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        song.conductor.drain()
        reply = await song.conductor.submit(SubmitRequest(str(house.score("", name="late"))))
        assert reply.status == "rejected"
        house.put("go")
        run = await song.end()
        assert run.status == "paused"
        assert run.statuses == ["completed", "pending"]
    async with house.conductor() as conductor:
        await conductor.resume("song")
        await settled(conductor)
    assert house.row().status == "completed"


async def test_ending_all_sheets_leaves_no_process(house: House) -> None:
    score = house.score("", sheets=2, script="trap '' TERM; touch up; sleep 99; sleep 98")
    async with Playing(house, score) as song:
        await house.appears("up")
        await song.conductor.end_sheets()
        assert house.processes() == {}
        run = await song.now()
    assert not run.status.active
    assert run.reason
