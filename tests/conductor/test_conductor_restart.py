"""The conductor is killed, or leaves, and another one goes on: nothing lost, nothing twice.

Every test here runs with the ways in which the conductor waits for its sheets: with pidfds, and
with the fallback for systems without them.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from marianne_core.model.errors import StateError
from marianne_core.model.requests import SubmitRequest
from tests.conductor.host import Host
from tests.conductor.house import House, Playing, settled, submit, until

_HELD = """
    echo {{ sheet_num }} >> order
    until [ -e go ]; do sleep 0.02; done
    echo {{ sheet_num }} >> ended
    """


@pytest.fixture(params=["pidfd", "lock"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How the conductor learns of the end of a sheet."""
    if request.param == "lock":
        monkeypatch.setenv("MARIANNE_NO_PIDFD", "1")
    return request.param  # type: ignore[no-any-return]


async def _lines(house: House, name: str, count: int) -> None:
    await until(lambda: len(house.lines(name)) == count, f"{name} has {count} lines")


async def _ended(house: House, job: str = "song") -> str:
    """Let a new conductor take the job up; its status when nothing is active any more."""
    async with house.conductor() as conductor:
        await settled(conductor)
    return str(house.row(job).status)


async def test_a_running_sheet_is_taken_over(house: House, way: str) -> None:
    score = house.score("", sheets=2, script=_HELD)
    with Host(house, score):
        await house.appears("order")
    assert house.processes() != {}
    async with house.conductor() as conductor:
        run = await house.run(conductor)
        assert run.status == "running"
        assert run.sheet(1)["status"] == "in_progress"
        house.put("go")
        await settled(conductor)
        run = await house.run(conductor)
    assert run.status == "completed"
    assert run.tries == [1, 1]
    assert house.lines("order") == ["1", "2"]
    recovered = [event for event in house.journal() if event.kind == "sheet.recovered"]
    assert [event.sheet for event in recovered] == [1]
    assert recovered[0].data["reason"]


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (3, "failed")])
async def test_a_sheet_that_ended_while_nobody_was_there_counts(
    house: House, way: str, code: int, status: str
) -> None:
    score = house.score(
        "validations: [{type: file_exists, path: ended}]", script=_HELD + f"exit {code}"
    )
    with Host(house, score):
        await house.appears("order")
    house.put("go")
    await until(lambda: not house.processes(), "the sheet ends")
    assert await _ended(house) == status
    assert house.lines("order") == ["1"]
    attempt = house.attempts(1)[0]
    assert (attempt.attempt, attempt.exit_code) == (1, code)


async def test_a_killed_shim_is_lost_and_its_sheet_runs_again_for_nothing(
    house: House, way: str
) -> None:
    """Neither the retries nor the next conductor pay for it, and the orphan does not run beside."""
    score = house.score("", script="echo {{ sheet_num }} >> order; echo $$ >> pids; sleep 60")
    with Host(house, score):
        await house.appears("pids")
    shims = [pid for pid, command in house.processes().items() if " mzt-" in command]
    assert len(shims) == 1
    os.kill(shims[0], signal.SIGKILL)
    orphan = int(house.lines("pids")[0])
    assert orphan in house.processes()
    async with house.conductor() as conductor:
        await until(lambda: len(house.lines("pids")) == 2, "the sheet runs again")
        assert orphan not in house.processes()
        assert (await house.run(conductor)).status == "running"
        await conductor.cancel("song")
    assert [row.ended for row in house.attempts(1)] == ["lost", "cancelled"]


async def test_a_sheet_that_is_lost_three_times_is_parked_with_the_reason(
    house: House, way: str
) -> None:
    score = house.score("", script="echo $$ >> pids; sleep 60")
    for number in (1, 2, 3):
        with Host(house, score if number == 1 else None):
            await _lines(house, "pids", number)
        for pid in house.processes():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not house.processes(), "they are gone")
    async with house.conductor() as conductor:
        await settled(conductor)
        run = await house.run(conductor)
        assert run.status == "paused"
        assert "sheet 1" in run.reason
        assert "lost" in run.reason
        assert "lost" in run.sheet(1)["reason"]
        assert len(house.lines("pids")) == 3
        assert [row.ended for row in house.attempts(1)] == ["lost"] * 3
        await conductor.resume("song")  # a person may say that it is worth another try
        await _lines(house, "pids", 4)
        await conductor.cancel("song")


async def test_a_paused_job_stays_paused(house: House, way: str) -> None:
    score = house.score("", sheets=2, script=_HELD)
    with Host(house, score) as host:
        await house.appears("order")
        assert host.order("pause song") == "pausing"
    async with house.conductor() as conductor:
        house.put("go")
        await settled(conductor)
        run = await house.run(conductor)
        assert run.status == "paused"
        assert run.statuses == ["completed", "pending"]
        assert "a person" in run.reason
    async with house.conductor() as conductor:  # and over one more restart
        await settled(conductor)
        assert (await house.run(conductor)).status == "paused"
        await conductor.resume("song")
        await settled(conductor)
        assert (await house.run(conductor)).status == "completed"
    assert house.lines("order") == ["1", "2"]


async def test_a_resumed_job_is_not_paused_again(house: House, way: str) -> None:
    score = house.score("", sheets=2, script=_HELD)
    with Host(house, score) as host:
        await house.appears("order")
        host.order("pause song")
        assert host.order("resume song") == "running"
    house.put("go")
    assert await _ended(house) == "completed"


async def test_a_cancel_is_finished_by_the_next_conductor(house: House, way: str) -> None:
    """Killed right after the cancel was ordered, maybe before the processes were gone."""
    score = house.score("", sheets=2, script="trap '' TERM; touch up; sleep 60; sleep 61")
    with Host(house, score) as host:
        await house.appears("up")
        host.begin("cancel song")
        await until(lambda: house.row().status in ("cancelling", "cancelled"), "it is written down")
    assert await _ended(house) == "cancelled"
    assert house.processes() == {}


async def test_a_cancel_after_a_restart_ends_the_tree(house: House, way: str) -> None:
    score = house.score(
        "", script="trap '' TERM; (setsid sleep 98 &); touch up; sleep 60; sleep 61"
    )
    with Host(house, score):
        await house.appears("up")
    async with house.conductor() as conductor:
        assert (await conductor.cancel("song")).status == "cancelled"
        assert house.processes() == {}


async def test_a_finished_job_is_left_alone(house: House, way: str) -> None:
    score = house.score("", sheets=2, script="echo {{ sheet_num }} >> order")
    with Host(house, score) as host:
        assert host.order("idle") == "idle"
    before = house.journal()
    assert await _ended(house) == "completed"
    assert house.lines("order") == ["1", "2"]
    assert house.journal() == before


async def test_an_acknowledged_job_is_not_lost(house: House, way: str) -> None:
    """Killed as soon as the submission was answered."""
    score = house.score("", sheets=3, script="echo {{ sheet_num }} >> order")
    with Host(house, score) as host:
        host.kill()
    assert await _ended(house) == "completed"
    assert house.lines("order") == ["1", "2", "3"]


async def test_a_killed_conductor_is_followed_while_sheets_wait_for_a_retry(
    house: House, way: str
) -> None:
    score = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 0.5, jitter: false}",
        script="echo try >> tries; [ $(wc -l < tries) = 2 ]",
    )
    with Host(house, score):
        await until(lambda: "sheet.retrying" in house.kinds(1), "the retry is scheduled")
    assert await _ended(house) == "completed"
    first, second = house.attempts(1)
    assert (second.started_at or 0) - (first.finished_at or 0) >= 0.45


@pytest.mark.parametrize(
    ("text", "seen", "words"),
    [
        ("pause_between_sheets_seconds: 60", "sheet.completed", "pause between sheets"),
        (
            "parallel: {enabled: true, max_concurrent: 2, stagger_delay_ms: 5000}",
            "sheet.started",
            "staggered start",
        ),
    ],
)
async def test_sheets_are_kept_apart_over_a_restart(
    house: House, text: str, seen: str, words: str
) -> None:
    fan_out = "\nsheet: {size: 1, total_items: 1, fan_out: {1: 2}}"
    score = house.score(text + fan_out, script="echo >> runs")
    with Host(house, score):
        await until(lambda: seen in house.kinds(1), seen)
        await until(lambda: any(row.started_at for row in house.attempts(1)), "it is stored")
    async with house.conductor() as conductor:
        run = await house.run(conductor)
        assert run.sheet(2)["status"] == "pending"
        assert words in run.sheet(2)["reason"]
        await conductor.cancel("song")
    assert house.lines("runs") == [""]


async def test_a_question_whether_to_skip_is_no_try(house: House) -> None:
    """Killed while it is asked, its conductor has started nothing of the sheet."""
    text = "echo >> asked; until [ -e go ]; do sleep 0.02; done"
    score = house.score(
        f"sheet: {{size: 1, total_items: 1, skip_when_command: {{1: {{command: '{text}'}}}}}}",
        script="true",
    )
    with Host(house, score):
        await house.appears("asked")
    async with house.conductor() as conductor:
        await _lines(house, "asked", 2)
        house.put("go")
        await settled(conductor)
        run = await house.run(conductor)
    assert run.statuses == ["skipped"]
    assert run.tries == [0]
    assert not [event for event in house.journal() if event.kind == "sheet.started"]


async def test_completions_are_counted_over_a_restart(house: House) -> None:
    score = house.score(
        """
        retry: {max_retries: 0, max_completion_attempts: 2, completion_delay_seconds: 0.02}
        validations:
          - {type: file_exists, path: "{workspace}/made", retry_count: 0}
          - {type: file_exists, path: "{workspace}/never", retry_count: 0}
        """,
        script="echo >> tries; touch made; [ $(wc -l < tries) != 2 ] || until [ -e go ]; do sleep 0.02; done",
    )
    with Host(house, score):
        await _lines(house, "tries", 2)
        await until(lambda: sum(1 for a in house.attempts(1) if a.started_at) == 2, "it is stored")
    house.put("go")
    assert await _ended(house) == "failed"
    assert len(house.lines("tries")) == 3


async def test_blocked_sheets_stay_blocked(house: House, way: str) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 3, dependencies: {2: [1]}}\n"
        "parallel: {enabled: true, max_concurrent: 2, fail_fast: false}",
        script="{% if sheet_num == 1 %}exit 1{% else %}" + _HELD.strip() + "{% endif %}",
    )
    with Host(house, score):
        await until(lambda: "sheet.skipped" in house.kinds(2), "sheet 2 is blocked")
        await house.appears("order")
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
        run = await house.run(conductor)
    assert run.statuses == ["failed", "skipped", "completed"]
    assert "blocked by sheet 1" in run.sheet(2)["reason"]


async def test_leaving_in_an_orderly_way_is_quick_and_leaves_the_sheets(
    house: House, way: str
) -> None:
    score = house.score("", script=_HELD)
    async with Playing(house, score) as song:
        await house.appears("order")
        shims = {pid for pid, command in house.processes().items() if " mzt-" in command}
        before = asyncio.get_running_loop().time()
        await song.conductor.__aexit__(None, None, None)
        assert asyncio.get_running_loop().time() - before < 1.5
        assert shims
        assert shims <= set(house.processes())
    house.put("go")
    assert await _ended(house) == "completed"
    assert house.lines("order") == ["1"]


async def test_several_jobs_are_taken_up(house: House, way: str) -> None:
    names = ["one", "two", "three"]
    scores = [house.score("", sheets=2, script=_HELD, name=name) for name in names]
    async with house.conductor() as conductor:
        for score in scores:
            await submit(conductor, score)
        await until(lambda: len(house.lines("order")) == 3, "all run")
    house.put("go")
    assert await _ended(house, "one") == "completed"
    assert {str(house.row(name).status) for name in names} == {"completed"}
    assert len(house.lines("order")) == 6


async def test_two_conductors_on_one_home_name_each_other(house: House) -> None:
    score = house.score("", script=_HELD)
    with Host(house, score) as host:
        await house.appears("order")
        with pytest.raises(StateError, match=str(host.pid)):
            await house.conductor().__aenter__()
        house.put("go")
        assert host.order("idle") == "idle"
        assert house.row().status == "completed"
    async with house.conductor() as conductor:
        with pytest.raises(StateError, match=str(os.getpid())):
            await house.conductor().__aenter__()
        assert (await house.run(conductor)).status == "completed"


async def test_a_conductor_that_could_not_start_leaves_the_lock_to_others(house: House) -> None:
    house.home.prepare()
    house.home.database.write_bytes(b"this is not a database of ours, but it is long enough" * 40)
    with pytest.raises(StateError):
        await house.conductor().__aenter__()
    assert house.home.database.read_bytes().startswith(b"this is not")  # untouched
    house.home.database.unlink()
    assert (await house.play(house.score("", script="true"))).status == "completed"


async def test_a_conductor_without_dispatch_starts_nothing_and_can_cancel(house: House) -> None:
    score = house.score("", sheets=2, script=_HELD)
    with Host(house, score):
        await house.appears("order")
    async with house.conductor(dispatch=False) as conductor:
        house.put("go")
        await until(lambda: house.lines("ended") == ["1"], "sheet 1 ends")
        await until(lambda: house.row().completed == 1, "sheet 1 is completed")
        run = await house.run(conductor)
        assert run.sheet(2)["reason"] == "the conductor is draining"
        reply = await conductor.submit(SubmitRequest(str(score)))
        assert reply.status == "rejected"
        assert (await conductor.cancel("song")).status == "cancelled"
    assert house.lines("order") == ["1"]
