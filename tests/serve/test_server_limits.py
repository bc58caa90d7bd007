"""Clients that do not read, do not send, come in crowds, or are there when the server closes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from marianne_core.model.events import Event
from marianne_core.serve.connection import MAX_REQUESTS, MAX_STREAMS
from marianne_core.serve.wire import Code
from marianne_core.watch.bus import GAP
from tests.contract.fake_service import HELD
from tests.serve.raw_client import RawClient, Stage, eventually, stage


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def subscribed(scene: Stage) -> RawClient:
    client = await scene.client()
    assert await client.result("daemon.monitor.stream") == {"subscribed": True}
    return client


async def test_a_stream_and_questions_on_one_connection(scene: Stage) -> None:
    client = await subscribed(scene)
    scene.service.bus.publish(Event("hello", "job", 2, 3, 4.0, {"a": 1}))
    assert await client.receive() == {
        "jsonrpc": "2.0",
        "method": "monitor.event",
        "params": {
            "job_id": "job",
            "run": 2,
            "sheet_num": 3,
            "event": "hello",
            "data": {"a": 1},
            "timestamp": 4.0,
        },
    }
    assert (await client.result("daemon.health"))["status"] == "ok"


async def test_a_hang_up_ends_only_its_own_stream(scene: Stage) -> None:
    gone, staying = await subscribed(scene), await subscribed(scene)
    assert scene.service.bus.subscribers == 2
    gone.hang_up()
    await eventually(lambda: scene.service.bus.subscribers == 1)
    scene.service.bus.publish(Event("still"))
    assert (await staying.receive())["params"]["event"] == "still"


async def test_a_half_closed_client_gets_its_answers_and_loses_its_stream(scene: Stage) -> None:
    client = await subscribed(scene)
    await client.result("job.submit", {"config_path": scene.score("one", HELD)})
    assert (await client.receive())["params"]["event"] == "job.started"
    scene.service.slow_cancel = asyncio.Event()
    line = {"jsonrpc": "2.0", "id": "last", "method": "job.cancel", "params": {"job_id": "one"}}
    await client.send(json.dumps(line).encode() + b"\n")
    await eventually(lambda: "cancel asked" in scene.service.log)
    client.writer.write_eof()
    await eventually(lambda: scene.service.bus.subscribers == 0)
    scene.service.slow_cancel.set()
    assert (await client.receive())["id"] == "last"
    assert await client.receive() is None


async def test_a_stream_that_nobody_reads_blocks_nothing_and_tells_its_gap(scene: Stage) -> None:
    idle = await subscribed(scene)
    idle.writer.transport.pause_reading()  # type: ignore[attr-defined]
    other = await scene.client()
    sent = 6000
    for number in range(sent):
        scene.service.bus.publish(Event("tick", data={"number": number, "text": "x" * 1000}))
        if number % 100 == 0:
            await asyncio.sleep(0)
    assert (await other.result("daemon.health"))["status"] == "ok"
    idle.writer.transport.resume_reading()  # type: ignore[attr-defined]
    numbers: list[int] = []
    dropped = 0
    while not numbers or numbers[-1] != sent - 1:
        event = (await idle.receive())["params"]
        if event["event"] == GAP:
            dropped += event["data"]["dropped"]
        else:
            numbers.append(event["data"]["number"])
    assert dropped > 0
    assert numbers == sorted(numbers)
    assert len(numbers) + dropped == sent


async def test_answers_that_nobody_reads_are_bounded(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def large() -> list[dict[str, str]]:
        nonlocal asked
        asked += 1
        return [{"job_id": "x" * 500_000}]

    monkeypatch.setattr(scene.service, "list_jobs", large)
    idle, other = await scene.client(), await scene.client()
    idle.writer.transport.pause_reading()  # type: ignore[attr-defined]
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "job.list"}).encode() + b"\n"
    await idle.send(line * 200)
    await eventually(lambda: asked >= MAX_REQUESTS)
    for _ in range(20):
        assert (await other.result("daemon.health"))["status"] == "ok"
    assert asked <= MAX_REQUESTS + 2
    idle.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(200):
        assert "result" in await idle.receive()


async def test_a_silent_client_and_half_a_line_harm_nobody(scene: Stage) -> None:
    await scene.client()
    half = await scene.client()
    await half.send(b'{"jsonrpc": "2.0", "id": 1, "met')
    other = await scene.client()
    assert (await other.result("daemon.health"))["status"] == "ok"
    await half.send(b'hod": "daemon.health"}\n')
    assert (await half.receive())["result"]["status"] == "ok"


async def test_two_hundred_connections_are_served(scene: Stage) -> None:
    clients = [await scene.client() for _ in range(200)]
    answers = await asyncio.gather(*(client.result("daemon.health") for client in clients))
    assert all(answer["status"] == "ok" for answer in answers)


async def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async with stage(tmp_path, max_connections=2) as scene:
        first = await scene.client()
        second = await scene.client()
        await asyncio.gather(first.result("daemon.health"), second.result("daemon.health"))
        third = await scene.client()
        assert (await third.receive())["error"]["code"] == Code.EXHAUSTED
        assert await third.receive() is None
        first.hang_up()
        await eventually(lambda: scene.server.connections == 1)
        fourth = await scene.client()
        assert (await fourth.result("daemon.health"))["status"] == "ok"


async def test_streams_of_one_connection_are_bounded(scene: Stage) -> None:
    client = await scene.client()
    for _ in range(MAX_STREAMS):
        await client.result("daemon.monitor.stream")
    error = (await client.ask("daemon.monitor.stream"))["error"]
    assert error["code"] == Code.EXHAUSTED
    assert scene.service.bus.subscribers == MAX_STREAMS


async def test_closing_delivers_what_was_published_and_removes_the_socket(scene: Stage) -> None:
    client = await subscribed(scene)
    for number in range(50):
        scene.service.bus.publish(Event(f"e{number}"))
    await scene.server.close()
    names = []
    while (message := await client.receive()) is not None:
        names.append(message["params"]["event"])
    assert names == [f"e{number}" for number in range(50)]
    assert not scene.path.exists()
    with pytest.raises(FileNotFoundError):
        await RawClient.connect(scene.path)
    await scene.server.close()


async def test_a_command_under_way_may_finish_when_the_server_closes(scene: Stage) -> None:
    client = await scene.client()
    await client.result("job.submit", {"config_path": scene.score("one", HELD)})
    scene.service.slow_cancel = asyncio.Event()
    asking = asyncio.create_task(client.ask("job.cancel", {"job_id": "one"}))
    await eventually(lambda: "cancel asked" in scene.service.log)
    closing = asyncio.create_task(scene.server.close(grace=10))
    await asyncio.sleep(0)
    scene.service.slow_cancel.set()
    assert (await asking)["result"]["cancelled"] is True
    await closing


async def test_a_command_that_takes_too_long_then_is_told_why(scene: Stage) -> None:
    client = await scene.client()
    await client.result("job.submit", {"config_path": scene.score("one", HELD)})
    scene.service.slow_cancel = asyncio.Event()
    asking = asyncio.create_task(client.ask("job.cancel", {"job_id": "one"}))
    await eventually(lambda: "cancel asked" in scene.service.log)
    await scene.server.close(grace=0.05)
    assert (await asking)["error"]["code"] == Code.LEAVING


async def test_closing_does_not_wait_for_clients_that_do_not_read(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def large() -> list[dict[str, str]]:
        return [{"job_id": "x" * 5_000_000}]

    monkeypatch.setattr(scene.service, "list_jobs", large)
    for _ in range(3):
        idle = await scene.client()
        idle.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await idle.send(b'{"jsonrpc": "2.0", "id": 1, "method": "job.list"}\n')
    await eventually(lambda: scene.server.connections == 3)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await scene.server.close()
    assert loop.time() - before < 1.5
    assert scene.server.connections == 0


async def test_quiesce_refuses_changes_answers_questions_and_waits(scene: Stage) -> None:
    client = await scene.client()
    path = scene.score("one", HELD)
    await client.result("job.submit", {"config_path": path})
    scene.service.slow_cancel = asyncio.Event()
    await client.send(
        b'{"jsonrpc": "2.0", "id": 77, "method": "job.cancel", "params": {"job_id": "one"}}\n'
    )
    await eventually(lambda: "cancel asked" in scene.service.log)
    quiet = asyncio.create_task(scene.server.quiesce())
    await asyncio.sleep(0)
    assert not quiet.done()
    refusal = await client.ask("job.submit", {"config_path": path})
    assert refusal["error"]["code"] == Code.LEAVING
    assert (await client.result("daemon.health"))["status"] == "ok"
    scene.service.slow_cancel.set()
    await quiet
    assert (await client.receive())["id"] == 77
    scene.server.reopen()
    assert (await client.result("job.submit", {"config_path": path}))["status"] == "accepted"
