"""What every client keeps, wherever its conductor lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from marianne_core.model.errors import (
    InputError,
    JobSubmissionError,
    MztError,
    NoConductorError,
)
from marianne_core.model.events import Event
from marianne_core.model.output import OutputRequest
from marianne_core.model.requests import SubmitRequest
from marianne_core.model.states import JobStatus
from marianne_core.serve.client import Client
from marianne_core.serve.local_client import LocalClient
from marianne_core.serve.server import SocketServer
from marianne_core.serve.socket_client import SocketClient
from tests.contract.worlds import WORLDS, World

SECONDS = 20.0


class Door:
    """Makes clients of one kind, and shuts what they come through."""

    def __init__(self, world: World, server: SocketServer | None, path: Path) -> None:
        self._world = world
        self._server = server
        self._path = path
        self._clients: list[Client] = []

    async def client(self) -> Client:
        client: Client
        if self._server is None:
            client = LocalClient(self._world.service)
        else:
            client = await SocketClient.connect(self._path)
        self._clients.append(client)
        return client

    async def leave(self) -> None:
        if self._server is not None:
            await self._server.close()
        await self._world.leave()

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@pytest.fixture(params=sorted(WORLDS))
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with WORLDS[request.param](tmp_path) as world:
        yield world


@pytest.fixture(params=["local", "socket"])
async def door(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> AsyncIterator[Door]:
    path = tmp_path / "run" / "mzt.sock"
    server = SocketServer(path, world.service) if request.param == "socket" else None
    if server is not None:
        await server.start()
    door = Door(world, server, path)
    yield door
    await door.close()
    if server is not None:
        await server.close()


@pytest.fixture
async def client(door: Door) -> Client:
    return await door.client()


async def submitted(client: Client, path: str) -> str:
    reply = await client.submit(SubmitRequest(path))
    assert reply.status == "accepted", reply.message
    return reply.job_id


async def following(events: AsyncIterator[Event]) -> Event:
    """The next event, which must come soon."""
    async with asyncio.timeout(SECONDS):
        return await anext(events)


async def until(client: Client, job: str, *wanted: JobStatus) -> dict[str, Any]:
    """Wait, by events, until the job has one of these states."""
    events = await client.events()
    try:
        while (picture := await client.status(job))["status"] not in wanted:
            await following(events)
        return picture
    finally:
        await events.aclose()


async def test_a_submitted_score_runs_to_its_end(client: Client, world: World) -> None:
    reply = await client.submit(SubmitRequest(world.quick("one")))
    assert (reply.job_id, reply.status, reply.run, reply.exit_code) == ("one", "accepted", 1, 0)
    picture = await until(client, "one", JobStatus.COMPLETED)
    assert picture["sheets_total"] == picture["sheets_completed"] == 1


async def test_status_has_the_promised_keys(client: Client, world: World) -> None:
    await submitted(client, world.quick("one"))
    picture = await until(client, "one", JobStatus.COMPLETED)
    keys = {"job_id", "run", "status", "reason", "sheets_total", "sheets_completed", "sheets"}
    assert keys <= set(picture)
    (sheet,) = picture["sheets"]
    assert sheet["num"] == 1
    assert set(sheet) >= {
        "num",
        "movement",
        "status",
        "attempts",
        "instrument",
        "exit_code",
        "reason",
        "started_at",
        "finished_at",
    }


async def test_every_submit_makes_a_new_run(client: Client, world: World) -> None:
    path = world.quick("one")
    await submitted(client, path)
    await until(client, "one", JobStatus.COMPLETED)
    reply = await client.submit(SubmitRequest(path))
    assert (reply.status, reply.run) == ("accepted", 2)
    assert (await client.status("one"))["run"] == 2
    assert (await client.status("one#1"))["run"] == 1


async def test_a_persons_mistake_is_a_rejection(client: Client, tmp_path: Path) -> None:
    reply = await client.submit(SubmitRequest(str(tmp_path / "nowhere.yaml")))
    assert reply.status == "rejected"
    assert "nowhere.yaml" in reply.message
    assert reply.exit_code == 2
    assert await client.list_jobs() == []


async def test_a_running_job_is_not_run_twice(client: Client, world: World) -> None:
    path = world.held("one")
    await submitted(client, path)
    reply = await client.submit(SubmitRequest(path))
    assert reply.status == "rejected"
    assert reply.exit_code != 0
    assert "mzt resume" in reply.message
    assert "--replace" in reply.message


async def test_relative_paths_count_from_the_persons_directory(
    client: Client, world: World
) -> None:
    path = Path(world.quick("one"))
    reply = await client.submit(SubmitRequest(path.name, client_cwd=str(path.parent)))
    assert reply.status == "accepted"


@pytest.mark.parametrize("command", ["status", "pause", "resume", "cancel", "retry"])
async def test_an_unknown_job_is_refused(client: Client, command: str) -> None:
    with pytest.raises(JobSubmissionError, match="nobody") as refusal:
        await getattr(client, command)("nobody")
    assert refusal.value.exit_code == InputError.exit_code


@pytest.mark.parametrize("command", ["status", "pause", "resume", "cancel", "retry", "events"])
@pytest.mark.parametrize("name", ["", "#3", "one#", "one#zero", "one#0"])
async def test_what_names_no_job_is_wrong_input(client: Client, command: str, name: str) -> None:
    with pytest.raises(InputError):
        await getattr(client, command)(name)


async def test_nothing_is_missed_after_subscribing(client: Client, world: World) -> None:
    events = await client.events()
    await submitted(client, world.quick("one"))
    seen: list[Event] = []
    while not seen or seen[-1].event != "job.completed":
        seen.append(await following(events))
    names = [event.event for event in seen]
    assert "job.started" in names
    assert names.index("job.started") < names.index("sheet.completed")
    assert {event.job_id for event in seen} == {"one"}
    assert {event.run for event in seen} == {1}
    (sheet,) = [event for event in seen if event.event == "sheet.completed"]
    assert sheet.sheet_num == 1
    assert all(event.timestamp > 0 for event in seen)


async def test_events_of_one_job_only(client: Client, world: World) -> None:
    await submitted(client, world.held("mine"))
    events = await client.events("mine")
    await submitted(client, world.quick("other"))
    await until(client, "other", JobStatus.COMPLETED)
    world.release()
    seen = [await following(events)]
    while seen[-1].event != "job.completed":
        seen.append(await following(events))
    assert {event.job_id for event in seen} == {"mine"}


async def test_pause_lets_running_sheets_end_and_resume_goes_on(
    client: Client, world: World
) -> None:
    job = await submitted(client, world.held("one"))
    receipt = await client.pause(job)
    assert (receipt.job_id, receipt.run) == ("one", 1)
    assert receipt.status in (JobStatus.PAUSING, JobStatus.PAUSED)
    world.release()
    # The only sheet is done then, so a conductor may as well call the whole run completed.
    picture = await until(client, job, JobStatus.PAUSED, JobStatus.COMPLETED)
    if picture["status"] == JobStatus.PAUSED:
        assert (await client.resume(job)).run == 1
        await until(client, job, JobStatus.COMPLETED)


async def test_a_finished_job_cannot_be_paused(client: Client, world: World) -> None:
    job = await submitted(client, world.quick("one"))
    await until(client, job, JobStatus.COMPLETED)
    with pytest.raises(JobSubmissionError, match="completed"):
        await client.pause(job)


async def test_cancel_answers_when_the_sheets_are_gone(client: Client, world: World) -> None:
    job = await submitted(client, world.held("one"))
    receipt = await client.cancel(job)
    assert receipt.status is JobStatus.CANCELLED
    picture = await client.status(job)
    assert picture["status"] == "cancelled"
    assert picture["sheets"][0]["status"] == "cancelled"


async def test_retry_runs_a_sheet_again(client: Client, world: World) -> None:
    job = await submitted(client, world.quick("one"))
    before = await until(client, job, JobStatus.COMPLETED)
    receipt = await client.retry(job, 1)
    assert (receipt.job_id, receipt.run) == ("one", 1)
    after = await until(client, job, JobStatus.COMPLETED)
    assert after["sheets"][0]["attempts"] > before["sheets"][0]["attempts"]


@pytest.mark.parametrize("sheet", [-1, 0, 99])
async def test_retry_of_a_sheet_that_is_not_there(client: Client, world: World, sheet: int) -> None:
    job = await submitted(client, world.quick("one"))
    await until(client, job, JobStatus.COMPLETED)
    with pytest.raises(MztError):
        await client.retry(job, sheet)


async def test_the_list_has_the_newest_run_of_each_job_newest_first(
    client: Client, world: World
) -> None:
    for name in ("one", "two", "one"):
        job = await submitted(client, world.quick(name))
        await until(client, job, JobStatus.COMPLETED)
    jobs = await client.list_jobs()
    assert [(job["job_id"], job["run"], job["status"]) for job in jobs] == [
        ("one", 2, "completed"),
        ("two", 1, "completed"),
    ]


async def test_clearing_forgets_runs_that_are_over_and_no_others(
    client: Client, world: World
) -> None:
    for _ in range(2):
        await submitted(client, world.quick("over"))
        await until(client, "over", JobStatus.COMPLETED)
    await submitted(client, world.held("active"))
    assert await client.clear(statuses=[JobStatus.FAILED]) == 0
    assert await client.clear(jobs=["over"], older_than=3600.0) == 0
    assert await client.clear(jobs=["over#1", "active", "nobody"]) == 1
    assert (await client.status("over"))["run"] == 2
    with pytest.raises(JobSubmissionError):
        await client.status("over#1")
    assert await client.clear(statuses=[JobStatus.COMPLETED, JobStatus.RUNNING]) == 1
    assert [job["job_id"] for job in await client.list_jobs()] == ["active"]


async def test_a_cleared_job_begins_anew(client: Client, world: World) -> None:
    job = await submitted(client, world.quick("one"))
    await until(client, job, JobStatus.COMPLETED)
    assert await client.clear(jobs=["one"]) == 1
    with pytest.raises(JobSubmissionError):
        await client.retry("one", 1)
    reply = await client.submit(SubmitRequest(world.quick("one")))
    assert (reply.job_id, reply.run) == ("one", 1)


async def test_clearing_without_a_condition_is_refused(client: Client) -> None:
    with pytest.raises(InputError, match="which"):
        await client.clear()


@pytest.mark.parametrize("name", ["", "#3", "one#"])
async def test_clearing_what_names_no_job_is_wrong_input(client: Client, name: str) -> None:
    with pytest.raises(InputError):
        await client.clear(jobs=[name])


async def test_health(client: Client) -> None:
    health = await client.health()
    assert health["status"] == "ok"
    assert health["pid"] > 0
    assert health["uptime_seconds"] >= 0
    assert health["shutting_down"] is False
    assert health["version"]
    assert health["schema"] >= 1


async def test_many_questions_at_once(client: Client, world: World) -> None:
    job = await submitted(client, world.held("one"))
    answers = await asyncio.gather(*(client.status(job) for _ in range(100)))
    assert {answer["job_id"] for answer in answers} == {"one"}


async def test_a_stream_that_was_given_up_is_at_its_end(client: Client, world: World) -> None:
    events = await client.events()
    await submitted(client, world.quick("one"))
    await events.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_streams_end_when_the_conductor_leaves(
    client: Client, world: World, door: Door
) -> None:
    events = await client.events()
    await submitted(client, world.held("one"))
    await door.leave()
    names = [event.event async for event in events]
    assert "job.started" in names


async def test_commands_fail_when_the_conductor_has_left(client: Client, door: Door) -> None:
    await client.health()
    await door.leave()
    with pytest.raises(NoConductorError) as refusal:
        await client.health()
    assert refusal.value.exit_code == NoConductorError.exit_code


async def test_closing_a_client_leaves_the_conductor_alone(door: Door, world: World) -> None:
    first, second = await door.client(), await door.client()
    await submitted(first, world.held("one"))
    events = await first.events()
    await first.close()
    await first.close()
    assert (await second.status("one"))["status"] == "running"
    with pytest.raises(NoConductorError):
        await first.status("one")
    with pytest.raises(NoConductorError):
        await first.events()
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_a_part_of_the_output(client: Client, world: World) -> None:
    job = await submitted(client, world.quick("one"))
    await until(client, job, JobStatus.COMPLETED)
    page = await client.output(OutputRequest(job, 1, offset=0))
    assert (page.job_id, page.run, page.sheet, page.attempts, page.over) == ("one", 1, 1, 1, True)
    assert (page.piece.attempt, page.piece.text) == (1, "begun\ndone\n")
    assert (page.piece.offset, page.piece.end, page.size) == (0, 11, 11)
    assert (await client.output(OutputRequest("one#1", 1, offset=6))).piece.text == "done\n"


async def test_output_is_followed_to_the_sheets_end(client: Client, world: World) -> None:
    job = await submitted(client, world.held("one"))
    pieces = await client.follow_output(OutputRequest(job, 1))
    async with asyncio.timeout(SECONDS):
        told = (await anext(pieces)).text
        assert told == "begun\n"
        assert not pieces.ended
        assert pieces.outcome is None
        world.release()
        told += "".join([piece.text async for piece in pieces])
    assert told == "begun\ndone\n"
    assert pieces.ended
    assert pieces.outcome is not None
    assert pieces.outcome.status == "completed"


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (OutputRequest("nobody", 1), "nobody"),
        (OutputRequest("one", 2), "no sheet 2"),
        (OutputRequest("one", 1, offset=1, before=2), "name one"),
    ],
)
async def test_output_that_there_is_not(
    client: Client, world: World, request_: OutputRequest, match: str
) -> None:
    await submitted(client, world.quick("one"))
    for ask in (client.output, client.follow_output):
        with pytest.raises(MztError, match=match):
            await ask(request_)


async def test_output_that_was_given_up_is_at_its_end(client: Client, world: World) -> None:
    job = await submitted(client, world.held("one"))
    pieces = await client.follow_output(OutputRequest(job, 1))
    await pieces.aclose()
    await pieces.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)
    assert pieces.outcome is None


async def test_output_ends_when_the_conductor_leaves(
    client: Client, world: World, door: Door
) -> None:
    job = await submitted(client, world.held("one"))
    pieces = await client.follow_output(OutputRequest(job, 1))
    async with asyncio.timeout(SECONDS):
        assert (await anext(pieces)).text == "begun\n"
        await door.leave()
        assert "".join([piece.text async for piece in pieces]) == ""


async def test_a_closed_client_ends_its_output(door: Door, world: World) -> None:
    first, second = await door.client(), await door.client()
    job = await submitted(first, world.held("one"))
    pieces = await first.follow_output(OutputRequest(job, 1))
    await first.close()
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)
    with pytest.raises(NoConductorError):
        await first.output(OutputRequest(job, 1))
    with pytest.raises(NoConductorError):
        await first.follow_output(OutputRequest(job, 1))
    assert (await second.status("one"))["status"] == "running"
