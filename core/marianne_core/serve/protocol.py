"""JSON-RPC 2.0, one object a line: bytes into requests, answers into bytes.

Facts of the protocol: field reference, section 7. Requests without an id are notifications and
get no answer; batches are not part of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from marianne_core.model.errors import MztError
from marianne_core.model.events import Event
from marianne_core.serve.wire import (
    EVENT_METHOD,
    MAX_MESSAGE,
    Code,
    error_code,
    error_data,
)

MAX_VALUES = 100_000
"""JSON values in one request, at most: it bounds the time that one message can hold the loop.
(The parser itself ends at 200 levels of nesting and 4,300 digits.)"""

RequestId = str | int | float | None


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a method."""

    method: str
    params: object = None
    """As it was sent: an object by name, or None for none; the method's model checks it."""
    id: RequestId = None
    wants_reply: bool = True
    """False for a notification."""


class RpcError(Exception):
    """A refusal that is answered with a number of the protocol."""

    def __init__(
        self, code: Code, message: str, *, data: object = None, request_id: RequestId = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        """More for programs; None leaves it out."""
        self.request_id = request_id
        """Id of the faulty request as far as it could be read."""

    @classmethod
    def of(cls, error: MztError) -> RpcError:
        """The refusal for an error of ours, with its parts as data."""
        return cls(error_code(error), error.what, data=error_data(error))


def decode_request(line: bytes) -> Request:
    """Read one line as a request. Raises RpcError with the number of what is wrong."""
    # An upper bound, counted in the bytes: building millions of values would hold the loop.
    if line.count(b",") + line.count(b"[") + line.count(b"{") > MAX_VALUES:
        raise RpcError(Code.INVALID_REQUEST, f"more than {MAX_VALUES} values in one message")
    try:
        message = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise RpcError(Code.PARSE, f"not a line of JSON: {error}") from None
    if isinstance(message, list):
        raise RpcError(Code.INVALID_REQUEST, "batches are not supported: send one object a line")
    if not isinstance(message, dict):
        raise RpcError(Code.INVALID_REQUEST, "a request is a JSON object")
    request_id = message.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | float | None):
        raise RpcError(Code.INVALID_REQUEST, "`id` must be a string, a number or null")
    if message.get("jsonrpc") != "2.0":
        raise RpcError(Code.INVALID_REQUEST, '`jsonrpc` must be "2.0"', request_id=request_id)
    method = message.get("method")
    if not isinstance(method, str):
        raise RpcError(Code.INVALID_REQUEST, "`method` must be a string", request_id=request_id)
    return Request(method, message.get("params"), request_id, "id" in message)


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line, its newline included; anything JSON does not know becomes text."""
    return encode_value(message) + b"\n"


def encode_value(value: object) -> bytes:
    """A value as JSON; anything JSON does not know becomes text."""
    try:
        return to_json(value, inf_nan_mode="null", serialize_unknown=True)
    except PydanticSerializationError:
        # File names that are not UTF-8 come as lone surrogates, which JSON cannot carry.
        text = json.dumps(value, ensure_ascii=False, default=str)
        return to_json(from_json(text.encode("utf-8", "replace")), inf_nan_mode="null")


def encode_result(request_id: RequestId, result: object) -> bytes:
    """The answer to a request; a result beyond the message limit becomes an error that says so."""
    line = encode({"jsonrpc": "2.0", "id": request_id, "result": result})
    if len(line) > MAX_MESSAGE:
        what = f"the answer is longer than {MAX_MESSAGE // 2**20} MiB"
        return encode_error(RpcError(Code.EXHAUSTED, what, request_id=request_id))
    return line


def encode_error(error: RpcError) -> bytes:
    """The answer that refuses."""
    body: dict[str, Any] = {"code": int(error.code), "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return encode({"jsonrpc": "2.0", "id": error.request_id, "error": body})


def encode_event(event: Event) -> bytes:
    """The notification that carries one event of a stream; details beyond the limit are left out."""
    params = event.to_dict()
    line = encode({"jsonrpc": "2.0", "method": EVENT_METHOD, "params": params})
    if len(line) > MAX_MESSAGE:
        params["data"] = {"reason": "the details of this event are too long for one message"}
        line = encode({"jsonrpc": "2.0", "method": EVENT_METHOD, "params": params})
    return line


def encode_request(request: Request) -> bytes:
    """A request as a client sends it."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": request.method, "params": request.params}
    if request.wants_reply:
        message["id"] = request.id
    return encode(message)


def event_from_wire(params: object) -> Event:
    """The event in a notification's `params`; unknown and missing keys are tolerated."""
    fields = params if isinstance(params, dict) else {}
    data = fields.get("data")
    return Event(
        event=str(fields.get("event", "")),
        job_id=str(fields.get("job_id") or ""),
        run=_whole(fields.get("run")),
        sheet_num=_whole(fields.get("sheet_num")),
        timestamp=_number(fields.get("timestamp")),
        data=data if isinstance(data, dict) else {},
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
