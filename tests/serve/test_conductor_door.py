"""The conductor's own door: shut before and after its time; clearing and sweeping behind it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.model.errors import JobSubmissionError, NoConductorError
from marianne_core.model.output import OutputRequest
from marianne_core.model.requests import SubmitRequest
from marianne_core.remember.home import Home
from tests.serve.raw_client import stage

ASKED: dict[str, Callable[[Conductor], Awaitable[Any]]] = {
    "submit": lambda conductor: conductor.submit(SubmitRequest("x.yaml")),
    "status": lambda conductor: conductor.status("x"),
    "list_jobs": lambda conductor: conductor.list_jobs(),
    "pause": lambda conductor: conductor.pause("x"),
    "resume": lambda conductor: conductor.resume("x"),
    "cancel": lambda conductor: conductor.cancel("x"),
    "retry": lambda conductor: conductor.retry("x"),
    "clear": lambda conductor: conductor.clear(jobs=["x"]),
    "health": lambda conductor: conductor.health(),
    "events": lambda conductor: conductor.events(),
    "output": lambda conductor: conductor.output(OutputRequest("x", 1)),
    "follow_output": lambda conductor: conductor.follow_output(OutputRequest("x", 1)),
    "end_sheets": lambda conductor: conductor.end_sheets(),
}

AT_ONCE: dict[str, Callable[[Conductor], object]] = {
    "drain": lambda conductor: conductor.drain(),
    "stop_dispatch": lambda conductor: conductor.stop_dispatch(),
    "idle": lambda conductor: conductor.idle,
}


def conductor_of(folder: Path) -> Conductor:
    return Conductor(DaemonConfig(), Home(folder / "home"))


async def refuses_everything(conductor: Conductor) -> None:
    for ask in ASKED.values():
        with pytest.raises(NoConductorError):
            await ask(conductor)
    for tell in AT_ONCE.values():
        with pytest.raises(NoConductorError):
            tell(conductor)


async def test_nothing_is_answered_before_and_after(tmp_path: Path) -> None:
    conductor = conductor_of(tmp_path)
    await refuses_everything(conductor)
    async with conductor:
        assert (await conductor.health())["status"] == "ok"
    await refuses_everything(conductor)


async def test_nothing_is_answered_by_one_that_could_not_start(tmp_path: Path) -> None:
    async with conductor_of(tmp_path):
        second = conductor_of(tmp_path)
        with pytest.raises(Exception, match="already works"):
            await second.__aenter__()
        await refuses_everything(second)


def score(folder: Path, name: str, script: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(
        f"name: {name}\ninstrument: cli\nworkspace: {folder / name}\nretry: {{max_retries: 0}}\n"
        f"sheet: {{size: 1, total_items: 1}}\nprompt: {{template: '{script}'}}\n"
    )
    return str(path)


async def over(conductor: Conductor, path: str) -> str:
    """Run a score to its end; its job id."""
    reply = await conductor.submit(SubmitRequest(path))
    assert reply.status == "accepted", reply.message
    await asyncio.wait_for(conductor.idle.wait(), 20)
    return reply.job_id


async def test_clearing_removes_the_files_with_the_rows(tmp_path: Path) -> None:
    async with conductor_of(tmp_path) as conductor:
        await over(conductor, score(tmp_path, "one", "true"))
        await over(conductor, score(tmp_path, "two", "true"))
        assert len(os.listdir(conductor.home.runs)) == 2
        assert await conductor.clear(jobs=["one"]) == 1
        assert len(os.listdir(conductor.home.runs)) == 1
        assert [job["job_id"] for job in await conductor.list_jobs()] == ["two"]


async def test_a_run_is_opened_again_or_cleared_but_not_both(tmp_path: Path) -> None:
    async with conductor_of(tmp_path) as conductor:
        for turn in range(8):
            job = await over(conductor, score(tmp_path, f"job{turn}", "exit 3"))
            commands: list[Awaitable[object]] = [conductor.retry(job), conductor.clear(jobs=[job])]
            if turn % 2:
                commands.reverse()
            answers = await asyncio.gather(*commands, return_exceptions=True)
            (deleted,) = [answer for answer in answers if isinstance(answer, int)]
            refused = any(isinstance(answer, JobSubmissionError) for answer in answers)
            await asyncio.wait_for(conductor.idle.wait(), 20)
            known = [each for each in await conductor.list_jobs() if each["job_id"] == job]
            assert refused == bool(deleted)
            assert [each["status"] for each in known] == ([] if deleted else ["failed"])


async def test_directories_of_no_run_are_swept_at_the_start(tmp_path: Path) -> None:
    conductor = conductor_of(tmp_path)
    async with conductor:
        await over(conductor, score(tmp_path, "one", "true"))
    kept = os.listdir(conductor.home.runs)
    for name in ("77", "78"):
        (conductor.home.runs / name).mkdir()
        (conductor.home.runs / name / "1.1.out").write_text("left over")
    async with conductor_of(tmp_path) as again:
        # The names of runs are free at once, the files go meanwhile.
        assert not (again.home.runs / "77").exists()
        async with asyncio.timeout(20):
            while sorted(os.listdir(again.home.runs)) != kept:  # noqa: ASYNC110, no event tells it
                await asyncio.sleep(0.005)
    assert len(kept) == 1


async def test_a_store_made_anew_owns_no_old_files(tmp_path: Path) -> None:
    """Run ids begin at 1 again when a person deletes the database but not the files."""
    home = Home(tmp_path / "home")
    home.prepare()
    (home.run_dir(1)).mkdir()
    (home.run_dir(1) / "1.1.out").write_text("of another run")
    async with conductor_of(tmp_path) as conductor:
        await over(conductor, score(tmp_path, "one", "echo mine"))
        assert (home.run_dir(1) / "1.1.out").read_text() == "mine\n"


async def test_the_method_job_clear(tmp_path: Path) -> None:
    async with stage(tmp_path) as scene:
        client = await scene.client()
        await client.result("job.submit", {"config_path": scene.score("one", "")})
        await asyncio.sleep(0)
        assert await client.result("job.clear", {"statuses": ["failed"]}) == {"deleted": 0}
        wanted = {"job_ids": ["one"], "statuses": ["completed"], "older_than_seconds": 0}
        assert await client.result("job.clear", wanted) == {"deleted": 1}
        for wrong in (
            {},
            {"statuses": ["gone"]},
            {"older_than_seconds": -1},
            {"job_ids": "one"},
            {"job_ids": ["#"]},
        ):
            answer = await client.ask("job.clear", wrong)
            assert answer["error"]["code"] == -32602, wrong
