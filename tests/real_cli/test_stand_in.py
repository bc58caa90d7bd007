"""The stand-in for the services, without any program: each protocol answers what the script says."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.real_cli.stand_in import StandIn
from tests.real_cli.turns import LIMIT, READ, WRITTEN, Say, Stream, Turn, WriteFile

_FIELDS = {"properties": {"file_path": {"type": "string"}, "content": {"type": "string"}}}
_SHELL = {"properties": {"command": {"type": "array"}, "why": {}}, "required": ["command", "why"]}
_NAMED = {"name": "write_it", "parameters": _FIELDS}

PROTOCOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic": ("/v1/messages", {"tools": [{"name": "Write", "input_schema": _FIELDS}]}),
    "responses": ("/v1/responses", {"tools": [{"type": "function", **_NAMED}]}),
    "chat": ("/v1/chat/completions", {"tools": [{"type": "function", "function": _NAMED}]}),
    "gemini": ("/v1beta/models/m:generateContent", {"tools": [{"functionDeclarations": [_NAMED]}]}),
}


def ask(service: StandIn, path: str, body: dict[str, Any]) -> str:
    """What the service answers."""
    request = urllib.request.Request(service.url + path, json.dumps(body).encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_turn_that_writes_and_one_that_speaks(protocol: str, streamed: bool) -> None:
    path, body = PROTOCOLS[protocol]
    if streamed:
        path, body = path.replace(":gen", ":streamGen"), {**body, "stream": True}
    with StandIn(WriteFile("a.txt", "words"), Say("It is written.")) as service:
        first, second = ask(service, path, body), ask(service, path, body)
        assert service.faults == []
    assert "a.txt" in first
    assert "It is written." in second
    for answer in (first, second):
        assert str(WRITTEN) in answer
        assert str(READ) in answer or str(READ - 200) in answer
    assert second.startswith("data:" if protocol in ("chat", "gemini") else "event:") == streamed


def test_calls_without_tools_stand_outside_the_script() -> None:
    path, body = PROTOCOLS["chat"]
    with StandIn(Say("main")) as service:
        aside = json.loads(ask(service, path, {}))
        assert "main" in ask(service, path, body)
        assert service.played == 1
    assert aside["usage"]["total_tokens"] == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_refusal_has_its_status_its_words_and_its_headers(protocol: str) -> None:
    path, body = PROTOCOLS[protocol]
    with StandIn(LIMIT) as service, pytest.raises(urllib.error.HTTPError) as refused:
        ask(service, path, body)
    with refused.value as answer:
        assert answer.code == 429
        assert answer.headers["retry-after"] == "1"
        assert "rate limit" in answer.read().decode()


def test_a_slow_turn_ends_when_the_test_says_so() -> None:
    path, body = PROTOCOLS["chat"]
    slow = Stream(pause=0.0)
    with StandIn(slow) as service:
        request = urllib.request.Request(
            service.url + path, json.dumps({**body, "stream": True}).encode()
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            assert b"line 1 " in answer.readline()
            slow.enough.set()
            assert b"[DONE]" in answer.read()


def test_a_shell_does_where_no_tool_writes() -> None:
    tool = {"type": "function", "function": {"name": "shell", "parameters": _SHELL}}
    turn: Turn = WriteFile("a b.txt", "it's")
    with StandIn(turn) as service:
        answer = json.loads(ask(service, "/v1/chat/completions", {"tools": [tool]}))
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    arguments = json.loads(call["function"]["arguments"])
    assert arguments["command"] == ["bash", "-c", "printf %s 'it'\"'\"'s' > 'a b.txt'"]
    assert arguments["why"]
