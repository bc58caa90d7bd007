"""A client that sends whatever bytes a test wants, beside a server on the fake service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from marianne_core.serve.server import SocketServer
from tests.contract.fake_service import FakeService

SECONDS = 20.0


class RawClient:
    """Bytes out, messages in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._next = 0

    @classmethod
    async def connect(cls, path: Path) -> Self:
        return cls(*await asyncio.open_unix_connection(str(path), limit=64 * 2**20))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> Any:
        """The next message; None when the server has hung up."""
        async with asyncio.timeout(SECONDS):
            line = await self.reader.readline()
        return json.loads(line) if line else None

    async def ask(self, method: str, params: object = None, **more: Any) -> Any:
        """Send a request and return the next message."""
        self._next += 1
        request = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params, **more}
        await self.send(json.dumps(request).encode() + b"\n")
        return await self.receive()

    async def result(self, method: str, params: object = None) -> Any:
        """The result of a request that must succeed."""
        answer = await self.ask(method, params)
        assert "result" in answer, answer
        return answer["result"]

    def hang_up(self) -> None:
        self.writer.transport.abort()


class Stage:
    """A fake service, its server, and raw clients of it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.path = folder / "run" / "mzt.sock"
        self.service = FakeService()
        self.server = SocketServer(self.path, self.service, **options)
        self._clients: list[RawClient] = []

    async def client(self) -> RawClient:
        client = await RawClient.connect(self.path)
        self._clients.append(client)
        return client

    def score(self, name: str, text: str = "") -> str:
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    def hang_up(self) -> None:
        for client in self._clients:
            client.hang_up()


@asynccontextmanager
async def stage(folder: Path, **options: Any) -> AsyncIterator[Stage]:
    """Open the server for a test; nothing may be left of it afterwards."""
    made = Stage(folder, **options)
    await made.server.start()
    try:
        yield made
    finally:
        made.hang_up()
        await made.server.close()
    # The set-up and the end of a fixture are tasks of their own.
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left
    assert made.server.connections == 0


async def eventually(condition: Any) -> None:
    """Give the loop turns until the condition holds; the test's own time limit ends it."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - any condition, not only an event
            await asyncio.sleep(0.001)
