"""Runs of one job: which are accepted, what they are called, and that none is overwritten."""

from __future__ import annotations

import asyncio

import pytest

from marianne_core.model.requests import SubmitRequest
from tests.conductor.house import House, Playing, settled, submit, watching

_HELD = """
    echo {{ sheet_num }} >> order
    until [ -e go ]; do sleep 0.02; done
    echo {{ sheet_num }} >> ended
    """


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


async def test_what_an_event_told_holds_for_the_next_order(house: House) -> None:
    """Who sees that the job is completed, or paused, may act on it at once."""
    score = house.score("", sheets=2, script="true")
    async with house.conductor() as conductor, watching(conductor) as events:
        for number in range(1, 6):
            await submit(conductor, score)
            await events.until("job.completed", times=number)


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


async def test_an_older_run_can_be_named(house: House) -> None:
    score = house.score("", sheets=2, script="test -e mended")
    async with house.conductor() as conductor:
        await house.play(score, conductor=conductor)
        await house.play(score, conductor=conductor)
        house.put("mended")
        receipt = await conductor.retry("song#1")
        assert (receipt.job_id, receipt.run) == ("song", 1)
        await settled(conductor)
        assert (await house.run(conductor, "song#1")).status == "completed"
        assert (await house.run(conductor, "song#2")).status == "failed"
