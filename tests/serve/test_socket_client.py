"""The asynchronous client when the other end is not what it should be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from marianne_core.model.errors import InputError, MztError, NoConductorError
from marianne_core.model.requests import SubmitRequest
from marianne_core.serve.socket_client import SocketClient
from marianne_core.serve.wire import MAX_MESSAGE
from tests.contract.fake_service import HELD
from tests.serve.raw_client import eventually, stage

Answer = Callable[[dict[str, object]], bytes]


@pytest.fixture
async def odd(tmp_path: Path) -> AsyncIterator[Callable[[Answer], Awaitable[Path]]]:
    """Makes servers that answer each request with the bytes of a function; b"" is no answer."""
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []
    path = tmp_path / "odd.sock"

    async def make(answer: Answer) -> Path:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            while line := await reader.readline():
                writer.write(answer(json.loads(line)))
            writer.close()

        servers.append(await asyncio.start_unix_server(speak, str(path)))
        return path

    yield make
    for writer in writers:
        writer.transport.abort()
    for server in servers:
        server.close()
    await asyncio.sleep(0)


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(NoConductorError, match="no socket"):
        await SocketClient.connect(tmp_path / "mzt.sock")


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400\r\n", b"7\n", b"\xff\n", b"x" * (MAX_MESSAGE + 70_000) + b"\n"],
    ids=["http", "number", "bytes", "long"],
)
async def test_something_else_answers(
    odd: Callable[[Answer], Awaitable[Path]], answer: bytes
) -> None:
    client = await SocketClient.connect(await odd(lambda _: answer))
    with pytest.raises(MztError, match="does not speak"):
        await client.health()
    with pytest.raises(MztError, match="does not speak"):
        await client.list_jobs()
    await client.close()


@pytest.mark.parametrize("result", [None, 7, "text", [], {}, [[1]], {"sheets": 3}])
async def test_answers_of_another_shape(
    odd: Callable[[Answer], Awaitable[Path]], result: object
) -> None:
    def answer(request: dict[str, object]) -> bytes:
        reply = {"jsonrpc": "2.0", "id": request["id"], "result": result}
        return json.dumps(reply).encode() + b"\n"

    client = await SocketClient.connect(await odd(answer))
    for asking in (client.pause("one"), client.submit(SubmitRequest("x")), client.status("one")):
        with pytest.raises(MztError, match="does not speak"):
            await asking
    await client.close()


async def test_answers_to_nobody_are_passed_over(
    odd: Callable[[Answer], Awaitable[Path]],
) -> None:
    def answer(request: dict[str, object]) -> bytes:
        lines = [
            {"jsonrpc": "2.0", "id": 4711, "result": {}},
            {"jsonrpc": "2.0", "id": "x", "error": {"code": 1, "message": "m"}},
            {"jsonrpc": "2.0", "method": "news", "params": {}},
            {"jsonrpc": "2.0", "id": request["id"], "result": {"status": "ok"}},
        ]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    client = await SocketClient.connect(await odd(answer))
    assert await client.health() == {"status": "ok"}
    await client.close()


async def test_a_conductor_that_hangs_is_given_up(
    odd: Callable[[Answer], Awaitable[Path]],
) -> None:
    client = await SocketClient.connect(await odd(lambda _: b""), patience=0.02)
    with pytest.raises(NoConductorError, match="does not react"):
        await client.cancel("one")
    with pytest.raises(NoConductorError):
        await client.health()
    await client.close()


async def test_a_long_command_is_waited_for_while_the_conductor_lives(tmp_path: Path) -> None:
    async with stage(tmp_path) as scene:
        client = await SocketClient.connect(scene.path, patience=0.01)
        await client.submit(SubmitRequest(scene.score("one", HELD)))
        scene.service.slow_cancel = asyncio.Event()
        cancelling = asyncio.create_task(client.cancel("one"))
        await eventually(lambda: "cancel asked" in scene.service.log)
        await asyncio.sleep(0.1)
        assert not cancelling.done()
        scene.service.slow_cancel.set()
        assert (await cancelling).status == "cancelled"
        await client.close()


async def test_closing_ends_calls_under_way(tmp_path: Path) -> None:
    async with stage(tmp_path) as scene:
        client = await SocketClient.connect(scene.path)
        await client.submit(SubmitRequest(scene.score("one", HELD)))
        scene.service.slow_cancel = asyncio.Event()
        cancelling = asyncio.create_task(client.cancel("one"))
        await eventually(lambda: "cancel asked" in scene.service.log)
        await client.close()
        with pytest.raises(NoConductorError, match="closed"):
            await cancelling
        scene.service.slow_cancel.set()


async def test_closing_again_after_a_close_that_was_cancelled(tmp_path: Path) -> None:
    async with stage(tmp_path) as scene:
        client = await SocketClient.connect(scene.path)
        events = await client.events()
        closing = asyncio.create_task(events.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await client.close()


async def test_a_cancelled_call_leaves_the_client_usable(tmp_path: Path) -> None:
    async with stage(tmp_path) as scene:
        client = await SocketClient.connect(scene.path)
        await client.submit(SubmitRequest(scene.score("one", HELD)))
        scene.service.slow_cancel = asyncio.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.cancel("one")
        assert (await client.health())["status"] == "ok"
        scene.service.slow_cancel.set()
        await eventually(lambda: "cancel done" in scene.service.log)
        await client.close()


async def test_a_request_that_is_too_long_is_not_sent(scene_client: SocketClient) -> None:
    with pytest.raises(InputError, match="longer than one message"):
        await scene_client.submit(SubmitRequest("x", variables={"text": "x" * MAX_MESSAGE}))
    assert (await scene_client.health())["status"] == "ok"


@pytest.fixture
async def scene_client(tmp_path: Path) -> AsyncIterator[SocketClient]:
    async with stage(tmp_path) as scene:
        client = await SocketClient.connect(scene.path)
        yield client
        await client.close()
