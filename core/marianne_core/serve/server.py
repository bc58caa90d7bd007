"""The socket server: accepts, checks who is there, and lets connections speak."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from marianne_core.serve.connection import Connection, refuse
from marianne_core.serve.gate import Gate
from marianne_core.serve.protocol import RpcError
from marianne_core.serve.service import Service
from marianne_core.serve.socket_file import SocketFile, peer_uid
from marianne_core.serve.wire import Code

MAX_CONNECTIONS = 256
"""Connections at once; one more gets an answer that says so."""

_FLUSH_SECONDS = 0.2
"""For clients to take the last answers when the server closes."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


class SocketServer:
    """Serves a conductor at a Unix socket: `async with SocketServer(path, conductor): ...`.

    Only the user who runs the conductor, and root, get an answer. No client can slow another
    down: answers wait in bounded buffers of their own connection.
    """

    def __init__(
        self, path: Path, service: Service, *, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self._file = SocketFile(path)
        self._service = service
        self._max_connections = max_connections
        self._gate = Gate()
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._refusals: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    async def start(self) -> None:
        """Open the socket. Raises StateError when its path cannot be used."""
        listener = self._file.listen()
        self._server = await asyncio.start_unix_server(self._connected, sock=listener)
        _log.info("server.listening", extra={"socket": str(self._file.path)})

    async def quiesce(self) -> None:
        """Refuse commands that change something, and wait until those under way are done."""
        await self._gate.close()

    def reopen(self) -> None:
        """Take commands again after `quiesce`."""
        self._gate.open()

    async def close(self, grace: float = 0.5) -> None:
        """Stop accepting, end all streams, let commands finish for `grace` seconds, hang up.

        The socket is removed first. A command that is not done by then is answered with
        "shutting down"; what it had set going is the conductor's to finish.
        """
        if self._server is None:
            return
        self._file.remove()
        self._server.close()
        self._server = None
        speaking = dict(self._connections)
        for connection in speaking:
            connection.leave(grace)
        if speaking:
            await asyncio.wait(speaking.values(), timeout=grace + _FLUSH_SECONDS)
        left = {*speaking.values(), *self._refusals}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        _log.info("server.closed", extra={"connections": len(speaking)})

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called by asyncio for every connection that was accepted."""
        refusal = self._refusal(writer)
        loop = asyncio.get_running_loop()
        if refusal is not None:
            task = loop.create_task(refuse(reader, writer, refusal), name="mzt-refusal")
            self._refusals.add(task)
            task.add_done_callback(self._refusals.discard)
            return
        connection = Connection(reader, writer, self._service, self._gate)
        task = loop.create_task(connection.serve(), name="mzt-connection")
        self._connections[connection] = task
        task.add_done_callback(lambda done: self._disconnected(connection, done))

    def _disconnected(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self._connections.pop(connection, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("server.connection_failed", exc_info=error)

    def _refusal(self, writer: asyncio.StreamWriter) -> RpcError | None:
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid is None or uid not in (os.geteuid(), 0):
            _log.warning("server.stranger_refused", extra={"uid": uid})
            return RpcError(Code.INVALID_REQUEST, "this conductor belongs to another user")
        if self._server is None:
            return RpcError(Code.LEAVING, "the conductor is leaving")
        if len(self._connections) >= self._max_connections:
            _log.warning("server.too_many_connections", extra={"limit": self._max_connections})
            what = f"more than {self._max_connections} connections at once"
            return RpcError(Code.EXHAUSTED, what)
        return None
