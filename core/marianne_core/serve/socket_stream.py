"""The events of one subscription, over a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from marianne_core.model.events import Event
from marianne_core.serve.message_socket import MessageSocket
from marianne_core.serve.protocol import event_from_wire
from marianne_core.serve.wire import EVENT_METHOD


class SocketStream:
    """`async for event in stream`, until the conductor leaves or `aclose`. For one task at a time.

    Nothing is read ahead: when the reader is slow, the conductor's queue fills and tells the gap.
    """

    def __init__(self, messages: MessageSocket) -> None:
        self._messages = messages
        self._ended = False

    @classmethod
    async def open(cls, path: Path, job: str | None) -> Self:
        """Subscribe; no event from the return on is missed.

        Raises NoConductorError, and what the conductor refuses with.
        """
        params = {} if job is None else {"job_id": job}
        return cls(await MessageSocket.subscribe(path, "daemon.monitor.stream", params))

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._ended:
            message = await self._messages.receive()
            if message is None:
                break
            if message.get("method") == EVENT_METHOD:
                return event_from_wire(message.get("params"))
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Hang up. Harmless when done twice."""
        self._ended = True
        await self._messages.close()
