"""What a person orders: pause, resume, cancel, retry, replace; and every run is remembered."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from typing import Any

import pytest

from marianne_core.model.errors import InputError, JobSubmissionError, MztError, StateError
from marianne_core.model.requests import SubmitRequest
from marianne_core.remember.journal import Journal
from marianne_core.run.revival import Revival
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
        with contextlib.suppress(JobSubmissionError):  # to refuse it would be as good
            await song.conductor.retry("song", 1)
        assert len(house.shims()) <= 1
        house.put("go")
        run = await song.end()
    assert run.status == "completed"
    assert house.lines("ended").count("1") in (1, 2)
    assert len(house.attempts(1)) == run.tries[0]


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


async def test_a_cancel_ends_the_command_that_decides_about_skipping(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 1
          skip_when_command: {1: {command: "touch asking; sleep 55", timeout_seconds: 60}}
        """,
        script="touch ran",
    )
    async with Playing(house, score) as song:
        await house.appears("asking")
        await song.conductor.cancel("song")
        assert house.processes() == {}
        assert (await song.now()).statuses == ["cancelled"]
    assert not house.wrote("ran")


async def test_a_restart_asks_the_command_that_decides_about_skipping_again(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 1
          skip_when_command: {1: {command: "echo x >> asked; test -e go || sleep 55", timeout_seconds: 60}}
        """,
        script="touch ran",
    )
    async with Playing(house, score):
        await house.appears("asked")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
        run = await house.run(conductor)
    assert run.statuses == ["skipped"]
    assert run.status == "completed"
    assert house.processes() == {}


async def test_a_cancelled_job_can_be_resumed_after_a_restart(house: House) -> None:
    score = house.score("", sheets=3, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        await song.conductor.cancel("song")
    house.put("go")
    async with house.conductor() as conductor:
        await conductor.resume("song")
        await settled(conductor)
        run = await house.run(conductor)
    assert run.status == "completed"
    assert house.lines("ended") == ["1", "2", "3"]


async def test_an_older_run_is_not_started_beside_a_newer_one(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        await song.conductor.cancel("song")
        await submit(song.conductor, score)
        for command in (song.conductor.resume, song.conductor.retry):
            with pytest.raises(JobSubmissionError, match="run 2 of job song is running"):
                await command("song#1")
        house.put("go")
        await song.end()
        await song.conductor.resume("song#1")
        await song.end()
    assert [str(row.status) for row in house.rows()] == ["completed", "completed"]


async def test_a_conductor_that_drains_starts_nothing_again(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        song.conductor.drain()
        for command in (song.conductor.resume, song.conductor.retry):
            with pytest.raises(JobSubmissionError):
                await command("song")
        assert (await song.conductor.submit(SubmitRequest(str(score)))).status == "rejected"
        house.put("go")
        assert (await song.end()).statuses == ["completed", "pending"]


async def test_a_run_that_is_accepted_while_draining_begins_is_paused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = house.score("", script="touch ran")
    async with house.conductor() as conductor:
        store = Journal.submit

        async def slowly(journal: Journal, *what: Any) -> Any:
            key = await store(journal, *what)
            conductor.drain()
            return key

        monkeypatch.setattr(Journal, "submit", slowly)
        await submit(conductor, score)
        await settled(conductor)
        assert (await house.run(conductor)).status == "paused"
    assert not house.wrote("ran")


async def test_a_cancel_that_comes_too_late_finds_the_run_as_it_ended(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = house.score("", script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        load = Revival.load

        async def late(revival: Revival, run_id: int) -> Any:
            house.put("go")
            await song.end()
            return await load(revival, run_id)

        monkeypatch.setattr(Revival, "load", late)
        receipt = await song.conductor.cancel("song")
        assert receipt.status == "completed"
        assert (await song.now()).status == "completed"


async def test_a_run_whose_directory_cannot_be_made_is_refused_and_over(house: House) -> None:
    score = house.score("", script="true")
    async with house.conductor() as conductor:
        house.home.runs.mkdir(exist_ok=True)
        (house.home.runs / "1").write_text("in the way")
        with pytest.raises(StateError, match="directory of run 1 of song could not be made"):
            await conductor.submit(SubmitRequest(str(score)))
        await conductor.list_jobs()
        assert house.row().status == "cancelled"
        assert "could not be made" in house.row().reason
        await submit(conductor, score)
        await settled(conductor)
    assert house.row().status == "completed"


async def test_a_workspace_that_may_not_be_emptied_leaves_the_running_job_alone(
    house: House,
) -> None:
    score = house.score("", script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        (house.workspace / ".git").mkdir()
        request = SubmitRequest(str(score), fresh=True, replace=True)
        reply = await song.conductor.submit(request)
        assert reply.status == "rejected"
        assert "git checkout" in reply.message
        assert (await song.now()).status == "running"
        house.put("go")
        await song.end()


async def test_a_workspace_that_cannot_be_emptied_is_a_clear_refusal(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", "/there/kept")

    monkeypatch.setattr("marianne_core.run.commands.make_fresh", refuse)
    house.put("kept")
    async with house.conductor() as conductor:
        request = SubmitRequest(str(house.score("", script="true")), fresh=True)
        reply = await conductor.submit(request)
    assert (reply.status, reply.exit_code) == ("rejected", 2)
    assert "/there/kept" in reply.message
    assert house.rows() == []


@pytest.mark.parametrize(("there", "words"), [(False, "made"), (True, "written")])
async def test_a_workspace_that_cannot_be_made_is_refused_before_anything_is_done(
    there: bool, words: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    score = house.score("", script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        other = SubmitRequest(str(score), workspace=str(house.root / "other"), replace=True)
        if there:
            (house.root / "other").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.TemporaryFile" if there else "pathlib.Path.mkdir", refuse)
            reply = await song.conductor.submit(other)
        assert (reply.status, reply.exit_code) == ("rejected", 2)
        assert f"the workspace cannot be {words}: Read-only file system" in reply.message
        assert (await song.now()).status == "running"
        house.put("go")
        await song.end()


async def test_a_full_disk_is_no_reason_to_refuse_a_workspace(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    async with house.conductor() as conductor:
        reply = await conductor.submit(SubmitRequest(str(house.score("", script="true"))))
        await settled(conductor)
    assert reply.status == "accepted"
    assert house.row().status == "completed"
