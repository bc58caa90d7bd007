"""The output of one sheet as it is written, over a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from marianne_core.model.output import OutputEnd, OutputPiece, OutputRequest
from marianne_core.serve.message_socket import MessageSocket
from marianne_core.serve.output_wire import end_from_wire, params_of, piece_from_wire
from marianne_core.serve.wire import (
    END_METHOD,
    PIECE_METHOD,
    error_from_wire,
    not_the_protocol,
)


class SocketOutput:
    """An `OutputStream`. For one task at a time.

    Nothing is read ahead: while the reader is slow the conductor waits, and reads no further.
    """

    def __init__(self, messages: MessageSocket) -> None:
        self.outcome: OutputEnd | None = None
        """Why nothing more comes; None: the conductor left, or it was given up."""
        self._messages = messages
        self._ended = False

    @classmethod
    async def open(cls, path: Path, request: OutputRequest) -> Self:
        """Ask for it. Raises NoConductorError, and what the conductor refuses with."""
        params = params_of(request, follow=True)
        return cls(await MessageSocket.subscribe(path, "job.output", params))

    @property
    def ended(self) -> bool:
        """Nothing more comes, for whatever reason."""
        return self._ended

    def __aiter__(self) -> AsyncIterator[OutputPiece]:
        return self

    async def __anext__(self) -> OutputPiece:
        while not self._ended:
            message = await self._messages.receive()
            if message is None:
                break
            params = message.get("params")
            if not isinstance(params, dict):
                continue
            if message.get("method") == PIECE_METHOD:
                return self._piece(params)
            if message.get("method") == END_METHOD:
                await self.aclose()
                self._take_end(params)
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Hang up. Harmless when done twice."""
        self._ended = True
        await self._messages.close()

    def _piece(self, params: dict[str, Any]) -> OutputPiece:
        try:
            return piece_from_wire(params)
        except (KeyError, TypeError, ValueError):
            raise not_the_protocol(self._messages.path) from None

    def _take_end(self, params: dict[str, Any]) -> None:
        """Note how the sheet ended. Raises what kept the stream from going on."""
        if "error" in params:
            raise error_from_wire(params["error"])
        try:
            self.outcome = end_from_wire(params)
        except KeyError:
            raise not_the_protocol(self._messages.path) from None
