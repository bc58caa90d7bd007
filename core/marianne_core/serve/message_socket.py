"""A client's end of one connection: requests out, messages in."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Self

from pydantic_core import from_json

from marianne_core.model.errors import InputError
from marianne_core.serve.lines import LineReader, TooLong
from marianne_core.serve.protocol import Request, encode_request
from marianne_core.serve.wire import MAX_MESSAGE, error_from_wire, no_conductor, not_the_protocol

CONNECT_SECONDS = 5.0
"""For a connection to be made, and for the first answer on it."""


class MessageSocket:
    """One connection to the conductor at `path`, for one reading task and any number of senders."""

    def __init__(
        self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.path = path
        self._lines = LineReader(reader)
        self._writer = writer

    @classmethod
    async def open(cls, path: Path, seconds: float = CONNECT_SECONDS) -> Self:
        """Connect within that time. Raises NoConductorError when nobody listens there."""
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_unix_connection(str(path))
        except OSError as error:
            raise no_conductor(path, error) from error
        return cls(path, reader, writer)

    @classmethod
    async def subscribe(cls, path: Path, method: str, params: dict[str, Any]) -> Self:
        """Connect, and ask for a stream; what comes after the answer is to be received.

        Raises NoConductorError, and what the conductor refuses with.
        """
        messages = await cls.open(path)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await messages.send(1, method, params)
                answer = await messages.receive()
            if answer is None:
                raise no_conductor(path, "it hung up")
            if "error" in answer:
                raise error_from_wire(answer["error"])
        except TimeoutError as error:
            await messages.close()
            raise no_conductor(path, error) from error
        except BaseException:
            await messages.close()
            raise
        return messages

    async def send(self, number: int, method: str, params: dict[str, Any]) -> None:
        """Send a request with this id.

        Raises InputError for a request beyond the message limit, and NoConductorError.
        """
        line = encode_request(Request(method, params, number))
        if len(line) > MAX_MESSAGE:
            raise InputError(f"the parameters of {method} are longer than one message may be")
        try:
            self._writer.write(line)
            await self._writer.drain()
        except OSError as error:
            raise no_conductor(self.path, error) from error

    async def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the conductor has hung up.

        Cancelling it loses nothing. Raises MztError when what comes is not the protocol.
        """
        try:
            line = await self._lines.read()
        except OSError:
            return None
        except TooLong:
            raise not_the_protocol(self.path) from None
        if line is None:
            return None
        try:
            message = from_json(line)
        except ValueError:
            raise not_the_protocol(self.path) from None
        if not isinstance(message, dict):
            raise not_the_protocol(self.path)
        return message

    async def close(self) -> None:
        """Hang up at once. Harmless when done twice."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            # Shielded: a caller that is cancelled here would cancel what the next one waits for.
            await asyncio.shield(self._writer.wait_closed())
