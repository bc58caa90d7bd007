"""The small client of fast commands: one call or one stream over the socket, nothing asynchronous.

Standard library only, and neither asyncio nor pydantic, so that a command starts in a moment.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from marianne_core.model.errors import InputError
from marianne_core.serve.wire import (
    EVENT_METHOD,
    MAX_MESSAGE,
    PART_METHOD,
    Parts,
    error_from_wire,
    no_conductor,
    not_the_protocol,
)

_CHUNK = 64 * 1024


def call(
    path: Path, method: str, params: dict[str, Any] | None = None, timeout: float = 5.0
) -> Any:
    """Ask the conductor at `path` and return the result of the method.

    `timeout` is in seconds, for the whole call; in a long answer that was asked for in `parts`, for
    each of them. Raises NoConductorError when nobody answers in
    that time, and what the conductor refuses with: JobSubmissionError, InputError, StateError or
    another MztError, each with the conductor's words and exit status.
    """
    with closing(_Line(path, timeout)) as line:
        line.send(method, params)
        return line.reply()


def stream(path: Path, params: dict[str, Any] | None = None, timeout: float = 5.0) -> EventLines:
    """Subscribe to the events of the conductor at `path` (`params`: {"job_id": ...} for one job).

    When this returns, no later event is missed. `timeout` is for subscribing; then the stream
    waits for as long as the conductor is there. Raises like `call`.
    """
    line = _Line(path, timeout)
    try:
        line.send("daemon.monitor.stream", params)
        line.reply()
    except BaseException:
        line.close()
        raise
    return EventLines(line)


class EventLines:
    """Events as dicts, one by one, until the conductor leaves; `close` it, or use `with`."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (event := self._line.event()) is not None:
            yield event

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Line:
    """One connection to the conductor."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise no_conductor(path, error) from error

    def send(self, method: str, params: dict[str, Any] | None) -> None:
        """Send one request, with the id 1."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        try:
            line = json.dumps(request, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise InputError(f"the parameters of {method} cannot be sent: {error}") from None
        if len(line) > MAX_MESSAGE:
            raise InputError(f"the parameters of {method} are longer than one message may be")
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(line)
        except OSError as error:
            raise no_conductor(self._path, error) from error

    def reply(self) -> Any:
        """The result of the request. Raises what the conductor refused with."""
        parts = Parts()
        while (message := self._reply_message()).get("method") == PART_METHOD:
            try:
                parts.add(message["params"])
            except (KeyError, TypeError, AttributeError, ValueError):
                raise not_the_protocol(self._path) from None
            self._deadline = time.monotonic() + self._timeout
        if "error" in message:
            raise error_from_wire(message["error"])
        if "result" not in message:
            raise not_the_protocol(self._path)
        return parts.complete(message["result"])

    def event(self) -> dict[str, Any] | None:
        """The next event, waiting for it; None when the conductor has hung up."""
        while True:
            message = self._message(waiting=True)
            if message is None:
                return None
            params = message.get("params")
            if message.get("method") == EVENT_METHOD and isinstance(params, dict):
                return params

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _reply_message(self) -> dict[str, Any]:
        message = self._message(waiting=False)
        if message is None:
            raise no_conductor(self._path, "it hung up")
        return message

    def _message(self, *, waiting: bool) -> dict[str, Any] | None:
        line = self._read_line(waiting=waiting)
        if line is None:
            return None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise not_the_protocol(self._path) from None
        if not isinstance(message, dict):
            raise not_the_protocol(self._path)
        return message

    def _read_line(self, *, waiting: bool) -> bytes | None:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_MESSAGE:
                raise not_the_protocol(self._path)
            try:
                self._socket.settimeout(None if waiting else self._left())
                chunk = self._socket.recv(_CHUNK)
            except ConnectionError:
                return None
            except OSError as error:
                raise no_conductor(self._path, error) from error
            if not chunk:
                return None
            self._buffer += chunk
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        return line

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left
