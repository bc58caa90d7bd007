"""Services that answer oddly: in good time, in plain words, and never a traceback."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pytest

from marianne_core.read.dialects import formatter_of
from tests.ask.service import Request, Service, chunks, said
from tests.ask.turns import Turn, play, profile_of


def sings(call: Request) -> None:
    """A whole answer."""
    call.head()
    call.events(*chunks("La ", "la."))


def trickling(call: Request, sent: list[int]) -> None:
    """Words without end, as those do that keep a connection alive."""
    while len(sent) < 60 and not call.server.service.enough.wait(0.1):
        call.wfile.write(b": still here\n\n")
        sent.append(1)


def test_a_whole_answer_is_not_held_up_by_what_follows_it(tmp_path: Path) -> None:
    sent: list[int] = []

    def answer(call: Request) -> None:
        sings(call)
        trickling(call, sent)

    with Service(answer) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path, timeout=1)
        assert len(sent) < 40
    assert turn.result.text == "La la."


def test_a_limit_is_not_held_up_by_its_words(tmp_path: Path) -> None:
    sent: list[int] = []

    def answer(call: Request) -> None:
        call.head(429, kind="text/plain", retry_after="7")
        trickling(call, sent)

    with Service(answer) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path, timeout=1)
        assert len(sent) < 40
    assert turn.outcome.code == "E102"
    assert turn.last["retry_after"] == 7


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_what_is_no_address(status: int, tmp_path: Path) -> None:
    with Service(lambda call: call.whole(status, {}, location="http://[::1")) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path)
    assert turn.outcome.code == "E503"
    assert "the service redirects to nowhere" in turn.outcome.reason


def test_a_redirect_with_other_letters(tmp_path: Path) -> None:
    def answer(call: Request) -> None:
        if call.path.startswith("/ne"):
            return sings(call)
        return call.whole(308, {}, location="/neü chat?a=ü".encode().decode("latin-1"))

    with Service(answer) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path)
    assert turn.result.text == "La la."
    assert service.requests[-1].path == "/ne%C3%BC%20chat?a=%C3%BC"


@pytest.mark.parametrize("proxy", ["http://[::1", "http://.x:80", "http://me:se/cret@proxy:80"])
def test_a_proxy_that_is_no_address(proxy: str, tmp_path: Path) -> None:
    profile = profile_of("http://models.example", "openai")
    turn = play(profile, tmp_path, environ={"HTTP_PROXY": proxy}, process=True)
    assert turn.outcome.code == "E901"
    assert turn.outcome.reason.endswith("cannot reach the proxy: its address cannot be read")
    assert turn.err == ""


@pytest.mark.parametrize("begin", [b"\xef\xbb\xbf", b"\n\n"])
def test_how_a_stream_may_begin(begin: bytes, tmp_path: Path) -> None:
    def answer(call: Request) -> None:
        call.head()
        call.wfile.write(begin)
        call.events(*chunks("La ", "la."))

    with Service(answer) as service:
        turn = play(profile_of(service.url, "openai"), tmp_path)
    assert turn.result.text == "La la."


def test_an_answer_that_comes_compressed(tmp_path: Path) -> None:
    stream = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks("La ", "la."))
    limited = json.dumps({"error": {"message": "Slow down"}})

    def asked(status: int, data: bytes, encoding: str) -> Turn:
        with Service(
            lambda call: call.whole(
                status, data, kind="text/event-stream", content_encoding=encoding
            )
        ) as service:
            return play(profile_of(service.url, "openai"), tmp_path)

    for pack, encoding in ((gzip.compress, "gzip"), (zlib.compress, "deflate")):
        assert asked(200, pack(stream.encode()), encoding).result.text == "La la."
        refused = asked(429, pack(limited.encode()), encoding)
        assert (refused.outcome.code, refused.last["error"]) == ("E102", "HTTP 429: Slow down")
    for encoding, words in (("br", "is compressed (br)"), ("gzip", "is compressed (gzip) and is")):
        refused = asked(200, stream.encode(), encoding)
        assert refused.outcome.code == "E503"
        assert words in refused.outcome.reason
        assert asked(429, limited.encode(), encoding).outcome.code == "E102"


def test_an_answer_that_fills_the_context_is_said_to_be_cut(tmp_path: Path) -> None:
    def answer(call: Request) -> None:
        call.head()
        call.events(*said("La ", "la.", why="model_context_window_exceeded"))

    with Service(answer) as service:
        turn = play(profile_of(service.url, "anthropic"), tmp_path)
    assert turn.result.text == "La la."
    assert turn.err.startswith("the answer is as long as it may be")
    assert "the answer is cut at its longest" in formatter_of("http").feed(turn.out.encode())
