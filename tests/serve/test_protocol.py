"""Requests out of bytes, answers into bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.model.errors import (
    InputError,
    JobSubmissionError,
    MztError,
    NoConductorError,
    StateError,
)
from marianne_core.model.events import Event
from marianne_core.serve.protocol import (
    MAX_VALUES,
    Request,
    RpcError,
    decode_request,
    encode,
    encode_error,
    encode_event,
    encode_request,
    encode_result,
    event_from_wire,
)
from marianne_core.serve.wire import MAX_MESSAGE, Code, error_from_wire

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_raise_anything_else_than_a_refusal(line: bytes) -> None:
    with pytest.raises(RpcError) as refusal:
        decode_request(line)
    answer = json.loads(encode_error(refusal.value))
    assert answer["error"]["code"] in {Code.PARSE, Code.INVALID_REQUEST}


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1), st.dictionaries(st.text(), JSON), st.text() | st.integers())
def test_a_request_comes_back_as_it_was_sent(
    method: str, params: dict[str, Any], number: str | int
) -> None:
    request = Request(method, params, number)
    line = encode_request(request)
    assert line.count(b"\n") == 1
    assert decode_request(line[:-1]) == request


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", Code.PARSE),
        (b"{", Code.PARSE),
        (b'{"jsonrpc": "2.0", "method": "m\xff", "id": 1}', Code.PARSE),
        (b'{"id": NaN}', Code.PARSE),
        (b"[" * 100_000, Code.PARSE),
        (b"1" * 100_000, Code.PARSE),
        (b"[]", Code.INVALID_REQUEST),
        (b'"text"', Code.INVALID_REQUEST),
        (b"null", Code.INVALID_REQUEST),
        (b'{"method": "m", "id": 1}', Code.INVALID_REQUEST),
        (b'{"jsonrpc": "1.0", "method": "m", "id": 1}', Code.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1}', Code.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "method": 3, "id": 1}', Code.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "method": "m", "id": {}}', Code.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "method": "m", "id": true}', Code.INVALID_REQUEST),
        (b"[" + b"0," * MAX_VALUES + b"0]", Code.INVALID_REQUEST),
    ],
)
def test_what_is_wrong_has_its_number(line: bytes, code: Code) -> None:
    with pytest.raises(RpcError) as refusal:
        decode_request(line)
    assert refusal.value.code is code


def test_a_refusal_names_the_request_it_could_read() -> None:
    with pytest.raises(RpcError) as refusal:
        decode_request(b'{"jsonrpc": "2.0", "id": "seven"}')
    assert json.loads(encode_error(refusal.value))["id"] == "seven"


def test_notifications_want_no_reply() -> None:
    assert not decode_request(b'{"jsonrpc": "2.0", "method": "m"}').wants_reply
    assert decode_request(b'{"jsonrpc": "2.0", "method": "m", "id": null}').wants_reply


def test_everything_can_be_encoded() -> None:
    odd = {"path": Path("/x"), "lone": "\udcff", "nan": math.nan, "object": object(), "tuple": (1,)}
    line = encode(odd)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    read = json.loads(line)
    assert (read["path"], read["lone"], read["nan"], read["tuple"]) == ("/x", "?", None, [1])


def test_an_answer_that_is_too_long_is_an_error() -> None:
    answer = json.loads(encode_result(4, "x" * MAX_MESSAGE))
    assert (answer["id"], answer["error"]["code"]) == (4, Code.EXHAUSTED)
    assert "16 MiB" in answer["error"]["message"]


def test_an_event_comes_back_as_it_was_sent() -> None:
    event = Event("sheet.completed", "job", 3, 7, 12.5, {"reason": "zum Glück"})
    message = json.loads(encode_event(event))
    assert message["method"] == "monitor.event"
    assert "id" not in message
    assert event_from_wire(message["params"]) == event


def test_an_event_that_is_too_long_loses_its_details_only() -> None:
    event = Event("sheet.completed", "job", 3, 7, 12.5, {"text": "x" * MAX_MESSAGE})
    read = event_from_wire(json.loads(encode_event(event))["params"])
    assert (read.event, read.sheet_num) == ("sheet.completed", 7)
    assert "too long" in read.data["reason"]


@settings(deadline=None, max_examples=40)
@given(JSON)
def test_any_params_make_an_event(params: Any) -> None:
    assert isinstance(event_from_wire(params), Event)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobSubmissionError("no such job", hint="mzt list"), Code.JOB),
        (InputError("bad name", where="JOB"), Code.INVALID_PARAMS),
        (StateError("disk full", hint="make room"), Code.EXHAUSTED),
        (NoConductorError("leaving"), Code.LEAVING),
        (MztError("something else"), Code.JOB),
    ],
)
def test_errors_of_ours_arrive_with_their_words_and_exit_code(error: MztError, code: Code) -> None:
    answer = json.loads(encode_error(RpcError.of(error)))["error"]
    assert answer["code"] == code
    assert set(answer["data"]) == {"what", "where", "hint", "exit_code"}
    again = error_from_wire(answer)
    assert isinstance(again, type(error))
    assert (again.what, again.where, again.hint) == (error.what, error.where, error.hint)
    assert again.exit_code == error.exit_code


@settings(deadline=None, max_examples=40)
@given(JSON)
def test_any_error_member_makes_an_error(member: Any) -> None:
    assert str(error_from_wire(member))


def test_a_method_that_is_missing_there_names_the_remedy() -> None:
    error = error_from_wire({"code": Code.METHOD_NOT_FOUND, "message": "there is no method"})
    assert "mzt resume" in error.hint
