"""Calls over one connection: many at once, each answer to the caller it belongs to."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from marianne_core.model.errors import NoConductorError
from marianne_core.serve.message_socket import MessageSocket
from marianne_core.serve.wire import (
    PART_METHOD,
    Parts,
    error_from_wire,
    no_conductor,
    not_the_protocol,
)

PATIENCE_SECONDS = 15.0
"""A command may take long (a cancel waits for process trees). After this time without an answer
the conductor is asked for its health, and given up only when that is not answered either."""


class Calls:
    """Owns a connection and the task that reads its answers. Once broken it stays so."""

    def __init__(self, messages: MessageSocket, patience: float = PATIENCE_SECONDS) -> None:
        self._messages = messages
        self._patience = patience
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._parts: dict[int, Parts] = {}
        self._broken: Exception | None = None
        self._reading = asyncio.create_task(self._read(), name="mzt-client")

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """The result of a method.

        Raises what the conductor refuses with, and NoConductorError when it is gone or stuck.
        """
        answer = await self._ask(method, params)
        while not await self._within_patience(answer):
            if not await self._within_patience(await self._ask("daemon.health", {})):
                self._break(no_conductor(self._messages.path, "it does not react"))
        return answer.result()

    def check(self) -> None:
        """Raise what broke the connection, if anything did."""
        if self._broken is not None:
            raise self._broken

    async def close(self) -> None:
        """Hang up; calls under way end with NoConductorError."""
        self._break(NoConductorError("this client was closed"))
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._messages.close()

    async def _ask(self, method: str, params: dict[str, Any]) -> asyncio.Future[Any]:
        self.check()
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        answer.add_done_callback(lambda _: self._done(number))
        try:
            async with asyncio.timeout(self._patience):
                await self._messages.send(number, method, params)
        except TimeoutError:
            self._break(no_conductor(self._messages.path, "it does not react"))
        except NoConductorError as error:
            self._break(error)
        except BaseException:
            answer.cancel()
            raise
        return answer

    async def _within_patience(self, answer: asyncio.Future[Any]) -> bool:
        done, _ = await asyncio.wait({answer}, timeout=self._patience)
        return bool(done)

    async def _read(self) -> None:
        try:
            while (message := await self._messages.receive()) is not None:
                self._deliver(message)
        except Exception as error:
            self._break(error)
        self._break(no_conductor(self._messages.path, "it hung up"))

    def _done(self, number: int) -> None:
        self._waiting.pop(number, None)
        self._parts.pop(number, None)

    def _take_part(self, params: object) -> None:
        number = params.get("id") if isinstance(params, dict) else None
        if not isinstance(params, dict) or not isinstance(number, int):
            raise not_the_protocol(self._messages.path)
        if number not in self._waiting:
            return  # whoever asked was cancelled meanwhile
        try:
            self._parts.setdefault(number, Parts()).add(params)
        except ValueError:
            raise not_the_protocol(self._messages.path) from None

    def _deliver(self, message: dict[str, Any]) -> None:
        if message.get("method") == PART_METHOD:
            self._take_part(message.get("params"))
            return
        number = message.get("id")
        if number is None and "error" in message:
            # An answer to no request: the whole connection is refused.
            self._break(error_from_wire(message["error"]))
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if not isinstance(number, int) or answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(error_from_wire(message["error"]))
        else:
            parts = self._parts.get(number, Parts())
            answer.set_result(parts.complete(message.get("result")))

    def _break(self, error: Exception) -> None:
        """The first reason counts; everyone who waits gets it."""
        if self._broken is None:
            self._broken = error
        for answer in tuple(self._waiting.values()):
            if not answer.done():
                answer.set_exception(self._broken)
                answer.exception()  # a caller that was cancelled never asks for it
