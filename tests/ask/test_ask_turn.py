"""Turns of the program against a service of the test: what is sent, what comes of the answer."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marianne_core.model.outcome import Ended
from marianne_core.read.dialects import formatter_of
from tests.ask.service import CERTIFICATE, Request, Service, chunks, lines, said
from tests.ask.turns import KEY, called, play, profile_of

STREAMS: dict[str, Callable[[Request], None]] = {
    "anthropic": lambda call: (call.head(), call.events(*said("La ", "la.")))[-1],
    "openai": lambda call: (call.head(), call.events(*chunks("La ", "la.")))[-1],
    "ollama": lambda call: (
        call.head(kind="application/x-ndjson"),
        call.lines(*lines("La ", "la.")),
    )[-1],
}


@pytest.mark.parametrize("family", STREAMS)
def test_a_plain_turn(family: str, tmp_path: Path) -> None:
    with Service(STREAMS[family]) as service:
        turn = play(
            profile_of(service.url, family), tmp_path, "Sing \x00\x1b[31m\u2028é😀.", process=True
        )
    assert turn.outcome.ended is Ended.OK, turn.outcome.reason
    assert turn.result.text == "La la."
    assert (turn.outcome.input_tokens, turn.outcome.output_tokens) == (100, 7)
    assert turn.outcome.cost_usd is None
    assert turn.err == ""
    assert [event["text"] for event in turn.events if event["type"] == "text"] == ["La ", "la."]
    assert (turn.last["model"], turn.last["http_status"]) == ("m-1", 200)
    (request,) = service.requests
    assert request.json["messages"] == [{"role": "user", "content": "Sing \x00\x1b[31m\u2028é😀."}]
    assert (request.json["model"], request.json["stream"]) == ("m", True)
    assert formatter_of("http").feed(turn.out.encode()).splitlines()[1:] == [
        "La la.",
        "done: 100 tokens in, 7 out",
    ]


def test_how_each_service_is_asked(tmp_path: Path) -> None:
    config = {
        "model": "big",
        "max_tokens": 90,
        "temperature": 0.5,
        "system_prompt": "Be kind.",
        "num_ctx": 4096,
        "keep_alive": "9m",
    }
    sent = {}
    for family, answer in STREAMS.items():
        with Service(answer) as service:
            play(profile_of(service.url, family), tmp_path, config=config)
        (sent[family],) = service.requests
    head = {name: request.headers for name, request in sent.items()}
    assert (head["anthropic"]["x-api-key"], head["anthropic"]["authorization"]) == (KEY, None)
    assert head["anthropic"]["anthropic-version"] == "2023-06-01"
    assert head["openai"]["authorization"] == f"Bearer {KEY}"
    assert head["ollama"]["authorization"] is None
    assert {name: request.path for name, request in sent.items()} == {
        "anthropic": "/v1/messages",
        "openai": "/v1/chat/completions",
        "ollama": "/api/chat",
    }
    said = {"role": "user", "content": "Sing."}
    told = {"role": "system", "content": "Be kind."}
    assert sent["anthropic"].json == {
        "model": "big",
        "max_tokens": 90,
        "temperature": 0.5,
        "system": "Be kind.",
        "stream": True,
        "messages": [said],
    }
    assert sent["openai"].json == {
        "model": "big",
        "max_tokens": 90,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [told, said],
    }
    assert sent["ollama"].json == {
        "model": "big",
        "stream": True,
        "messages": [told, said],
        "options": {"num_ctx": 4096, "num_predict": 90, "temperature": 0.5},
        "keep_alive": "9m",
    }


@pytest.mark.parametrize("family", ["anthropic", "openai"])
def test_an_answer_is_shown_while_it_comes(family: str, tmp_path: Path) -> None:
    def slowly(call: Request) -> None:
        events = said("La ", "la.") if family == "anthropic" else chunks("La ", "la.")
        call.chunked()
        for event in events:
            if "la." in json.dumps(event):
                assert call.server.service.enough.wait(20)
            data = event if isinstance(event, str) else json.dumps(event)
            call.chunk(f"event: x\r\ndata: {data}\r\n\r\n".encode())
        call.chunk(b"")

    with Service(slowly) as service:
        invocation = called(profile_of(service.url, family), "Sing.", tmp_path)
        with subprocess.Popen(
            invocation.argv,
            env=dict(invocation.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(invocation.stdin or b"")
            process.stdin.close()
            shown = formatter_of("http")
            seen = ""
            while "La" not in seen:
                seen += shown.feed(process.stdout.readline())
            assert process.poll() is None
            assert seen.endswith("La ")
            service.enough.set()
            seen += shown.feed(process.stdout.read())
    assert process.returncode == 0
    assert seen.splitlines()[1:] == ["La la.", "done: 100 tokens in, 7 out"]


def test_only_its_own_key_reaches_the_program(tmp_path: Path) -> None:
    environ = {"ANTHROPIC_API_KEY": "a", "HTTPS_PROXY": "http://proxy"}
    profile = profile_of("http://x", "openai")
    env = called(profile, "", tmp_path, environ=environ).env
    assert set(env) == {"PATH", "THE_KEY", "HTTPS_PROXY", "GIT_TERMINAL_PROMPT"}


def test_a_very_large_prompt(tmp_path: Path) -> None:
    prompt = "la \x00\n" * 120_000
    with Service(STREAMS["anthropic"]) as service:
        turn = play(profile_of(service.url, "anthropic"), tmp_path, prompt, process=True)
    assert turn.outcome.ended is Ended.OK
    assert len(prompt) == 600_000
    assert service.requests[0].json["messages"][0]["content"] == prompt


def refusing(status: int, body: Any, **headers: str) -> Callable[[Request], None]:
    return lambda call: call.whole(status, body, **headers)


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def cut(*events: Any, then: bytes = b"") -> Callable[[Request], None]:
    """The connection ends, in chunks that are not over."""

    def answer(call: Request) -> None:
        call.chunked()
        for event in events:
            call.chunk(f"data: {json.dumps(event)}\n\n".encode())
        call.wfile.write(then)

    return answer


def streaming(*events: Any, then: bytes = b"") -> Callable[[Request], None]:
    """A whole stream, or what its end is not known of."""

    def answer(call: Request) -> None:
        call.head()
        call.events(*events)
        call.wfile.write(then)

    return answer


def silent(call: Request) -> None:
    call.close_connection = True


HALF = said("La ", "la.")[:4]
LIMITED = anthropic_error("rate_limit_error", "Too fast.")
FAILURES = [
    ("anthropic", refusing(429, LIMITED, retry_after="29.2"), "E102", "Too fast."),
    (
        "openai",
        refusing(429, {"error": {"message": "Slow", "code": "rate"}}),
        "E102",
        "Slow (rate)",
    ),
    ("anthropic", refusing(529, anthropic_error("overloaded_error", "Busy.")), "E103", "Busy."),
    ("openai", refusing(503, b"<h1>Busy</h1>", kind="text/html"), "E103", "HTTP 503: <h1>Busy"),
    ("openai", refusing(502, b""), "E103", "HTTP 502: without a word"),
    ("anthropic", refusing(401, anthropic_error("authentication_error", "Who?")), "E502", "Who?"),
    ("openai", refusing(403, {"error": f"not {KEY}"}), "E502", "not [REDACTED]"),
    ("ollama", refusing(404, {"error": "model 'm' not found"}), "E009", "model 'm' not found"),
    ("openai", refusing(504, [{"error": {"message": "Late"}}]), "E504", "Late"),
    ("anthropic", cut(*HALF), "E503", "the answer was cut"),
    ("anthropic", cut(*HALF, then=b"40\r\ndata: {"), "E503", "the answer was cut"),
    (
        "openai",
        streaming(*chunks("La")[:1], then=b'data: {"id": "ch'),
        "E503",
        "after 2 characters",
    ),
    ("ollama", streaming(), "E503", "before its first word"),
    ("anthropic", silent, "E901", "lost the connection"),
    ("anthropic", streaming(*HALF, anthropic_error("overloaded_error", "B")), "E103", "B (overl"),
    ("openai", streaming({"error": {"message": "Q", "code": "insufficient_quota"}}), "E102", "Q"),
    ("anthropic", streaming(*HALF, anthropic_error("api_error", "Oh")), "E103", "(HTTP 500): Oh"),
    ("openai", streaming({"error": {"message": "O", "code": "server_error"}}), "E103", "O (server"),
    ("openai", streaming(*chunks("L")[:1], {"error": {"message": "M", "code": 502}}), "E103", "M"),
    ("openai", streaming({"error": {"message": "Too fast", "code": 429}}), "E102", "Too fast"),
    ("openai", streaming({"error": {"message": "Gone", "code": 404}}), "E503", "(HTTP 404): Gone"),
    ("openai", streaming({"error": {"message": "Odd", "code": True}}), "E503", "error: Odd"),
    ("openai", streaming(then=b'{"error": {"message": "No model"}}'), "E503", "error: No model"),
    (
        "openai",
        refusing(200, b"<html>Log in", kind="text/html"),
        "E503",
        "no JSON (text/html): <ht",
    ),
    ("anthropic", streaming("la la"), "E503", "the answer is no JSON: la la"),
    ("openai", refusing(200, b"[1, 2]"), "E503", "the answer is no JSON"),
    ("openai", refusing(200, {}), "E503", "the answer was cut"),
    (
        "openai",
        streaming({"choices": [{"delta": {"refusal": "I will not."}}]}, *chunks()),
        "E503",
        "refused by the service (refusal)",
    ),
    ("openai", streaming(*chunks("I", why="content_filter")), "E503", "refused by the service"),
    ("anthropic", streaming(*said(why="max_tokens")), "E503", "has no text (it ended with: max_t"),
]


@pytest.mark.parametrize(("family", "answer", "code", "words"), FAILURES)
def test_a_turn_that_fails(
    family: str, answer: Callable[[Request], None], code: str, words: str, tmp_path: Path
) -> None:
    with Service(answer) as service:
        turn = play(profile_of(service.url, family), tmp_path)
    assert turn.outcome.ended is Ended.FAILED
    assert turn.outcome.code == code, turn.outcome.reason
    assert words in turn.outcome.reason
    assert (turn.err, len(service.requests)) == ("", 1)
    shown = formatter_of("http").feed(turn.out.encode())
    assert shown.splitlines()[-1].startswith("failed")


def test_what_a_cut_answer_used_counts(tmp_path: Path) -> None:
    with Service(cut(*HALF)) as service:
        turn = play(profile_of(service.url, "anthropic"), tmp_path)
    assert (turn.outcome.input_tokens, turn.outcome.output_tokens) == (100, 1)


def test_the_wait_that_a_limit_names(tmp_path: Path) -> None:
    with Service(refusing(429, LIMITED, retry_after="29.2")) as service:
        turn = play(profile_of(service.url, "anthropic"), tmp_path)
    assert turn.outcome.reason.endswith("HTTP 429: Too fast. (rate_limit_error) (retry after 30 s)")
    assert turn.last["retry_after"] == 30
    assert turn.result.reset is not None
    said_at = (tmp_path / "out").stat().st_mtime
    assert turn.result.reset.at == pytest.approx(said_at + 30)


def test_nobody_is_there(tmp_path: Path) -> None:
    with socket.socket() as nobody:  # bound and not listening: every connection is refused
        nobody.bind(("127.0.0.1", 0))
        turn = play(profile_of(f"http://127.0.0.1:{nobody.getsockname()[1]}", "openai"), tmp_path)
    assert turn.outcome.code == "E901"
    assert "Connection refused" in turn.outcome.reason


def test_a_service_that_says_nothing(tmp_path: Path) -> None:
    with Service(lambda call: service.enough.wait(20) and None) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path, timeout=1)
    assert turn.outcome.code == "E504"
    assert "no answer within 1 s" in turn.outcome.reason


@pytest.mark.parametrize("value", ["", "with a\nline", "schlüssel"])
def test_no_key_or_none_that_can_be_sent(value: str, tmp_path: Path) -> None:
    with Service(STREAMS["openai"]) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path, environ={"THE_KEY": value})
    assert turn.outcome.code == "E502"
    assert "THE_KEY" in turn.outcome.reason
    assert not value or value not in turn.out
    assert service.requests == []


def test_a_redirect_to_another_host_gets_neither_key_nor_prompt(tmp_path: Path) -> None:
    with Service(STREAMS["openai"]) as other:
        answer = lambda call: call.whole(307, {}, location=f"{other.url}/v1")  # noqa: E731
        with Service(answer) as service:
            turn = play(profile_of(service.url, "openai"), tmp_path)
    assert turn.outcome.code == "E503"
    assert "the service redirects to http://127.0.0.1, which is not asked" in turn.outcome.reason
    assert other.requests == []


def test_a_redirect_within_the_service_is_followed(tmp_path: Path) -> None:
    def answer(call: Request) -> None:
        if call.path.startswith("/new"):
            return STREAMS["openai"](call)
        return call.whole(308, {}, location="/new/chat?a=b")

    with Service(answer) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path)
    assert turn.result.text == "La la."
    assert [request.path for request in service.requests][-1] == "/new/chat?a=b"
    with Service(refusing(307, {}, location="/again")) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path)
    assert "again and again" in turn.outcome.reason
    assert len(service.requests) == 4


def test_through_a_proxy(tmp_path: Path) -> None:
    with Service(STREAMS["openai"]) as proxy:
        environ = {"http_proxy": f"http://me:secret@127.0.0.1:{proxy.port}"}
        profile = profile_of("http://models.example:81", "openai")
        turn = play(profile, tmp_path, environ=environ, process=True)
        assert turn.result.text == "La la."
        (request,) = proxy.requests
        assert request.path == "http://models.example:81/v1/chat/completions"
        assert request.headers["host"] == "models.example:81"
        assert request.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        closed = {"NO_PROXY": "models.example", **environ}
        turn = play(
            profile_of("http://models.example:1", "openai"), tmp_path, environ=closed, process=True
        )
    assert turn.outcome.code == "E901"
    assert len(proxy.requests) == 1


def test_a_secure_service_behind_a_proxy(tmp_path: Path) -> None:
    trusted = {"SSL_CERT_FILE": str(CERTIFICATE)}
    with Service(STREAMS["anthropic"]) as proxy:
        environ = {"HTTPS_PROXY": proxy.url, **trusted}
        turn = play(
            profile_of("https://models.example", "anthropic"),
            tmp_path,
            environ=environ,
            process=True,
        )
    assert turn.result.text == "La la.", turn.outcome.reason
    (tunnel,) = proxy.tunnels
    assert tunnel["path"] == "models.example:443"
    assert KEY not in str(tunnel)
    assert proxy.requests[0].headers["x-api-key"] == KEY


def test_a_certificate_has_to_be_trusted(tmp_path: Path) -> None:
    with Service(STREAMS["openai"], tls=True) as service:
        profile = profile_of(service.url, "openai")
        turn = play(profile, tmp_path)
        assert turn.outcome.code == "E901"
        assert "its certificate is not trusted" in turn.outcome.reason
        assert service.requests == []
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            turn = play(profile, tmp_path, environ={name: str(CERTIFICATE)}, process=True)
            assert turn.result.text == "La la."


def test_a_service_that_does_not_stream(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.25}
    choice = {"message": {"content": "La la."}, "finish_reason": "length"}
    with Service(refusing(200, {"choices": [choice], "usage": usage})) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path)
    assert turn.result.text == "La la."
    assert (turn.outcome.input_tokens, turn.outcome.cost_usd) == (9, 0.25)
    assert "as long as it may be" in turn.err
    shown = formatter_of("http").feed(turn.out.encode())
    assert "done: 9 tokens in, 2 out, $0.2500; the answer is cut at its longest" in shown


def test_an_argument_that_it_does_not_take(tmp_path: Path) -> None:
    turn = play(profile_of("http://x", "openai"), tmp_path, config={"cli_extra_args": ["--fast"]})
    assert "takes no argument '--fast'" in turn.outcome.reason


def test_the_interpreter_needs_nothing_but_itself(tmp_path: Path) -> None:
    """A file of the workspace cannot take the place of a module."""
    (tmp_path / "json.py").write_text("raise SystemExit('taken')")
    environ = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "json.py")}
    with Service(STREAMS["openai"]) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path, environ=environ, process=True)
    assert turn.result.text == "La la.", turn.err
