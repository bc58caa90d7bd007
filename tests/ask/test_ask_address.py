"""Which address is asked: the profile's, the score's, or that of the service's own variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from marianne_core.ask.address import address_of, ollama_host
from marianne_core.ask.trouble import Trouble
from marianne_core.config.http_program import address_variable, where_it_is
from marianne_core.config.instrument import HttpProfile
from tests.ask.service import Service
from tests.ask.test_ask_turn import STREAMS
from tests.ask.turns import play, profile_of

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


@pytest.mark.parametrize(
    ("profile", "endpoint", "expected"),
    [
        ("https://api.openai.com", CHAT, "https://api.openai.com/v1/chat/completions"),
        ("https://openrouter.ai/api", CHAT, "https://openrouter.ai/api/v1/chat/completions"),
        ("https://openrouter.ai/api/v1/", CHAT, "https://openrouter.ai/api/v1/chat/completions"),
        ("http://box:8000/", "/chat", "http://box:8000/chat"),
        ("http://[::1]:80", "chat", "http://[::1]/chat"),
        ("https://host:443/über", "/x", "https://host/%C3%BCber/x"),
    ],
)
def test_the_profile_s_address(profile: str, endpoint: str, expected: str) -> None:
    assert str(address_of(profile, endpoint)) == expected


@pytest.mark.parametrize(
    ("given", "endpoint", "expected"),
    [
        ("https://gate/v1", CHAT, "https://gate/v1/chat/completions"),
        ("https://gate", CHAT, "https://gate/v1/chat/completions"),
        ("https://gate/v1beta/openai/", CHAT, "https://gate/v1beta/openai/chat/completions"),
        ("https://gate/anthropic", MESSAGES, "https://gate/anthropic/v1/messages"),
        ("https://gate/v1", MESSAGES, "https://gate/v1/messages"),
        (" http://127.0.0.1:9 ", MESSAGES, "http://127.0.0.1:9/v1/messages"),
    ],
)
def test_another_one_that_a_person_gave(given: str, endpoint: str, expected: str) -> None:
    """As the services' own programs read their variables."""
    assert str(address_of("https://own", endpoint, variable=given)) == expected
    assert str(address_of("https://own", endpoint, score=given, variable="http://x")) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("box", "http://box:11434"),
        ("box:80", "http://box:80"),
        (":9", "http://127.0.0.1:9"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ('"0.0.0.0:9"', "http://127.0.0.1:9"),
        ("[::]:9", "http://[::1]:9"),
        ("::1", "http://[::1]:11434"),
        ("http://box", "http://box:80"),
        ("https://box/ollama", "https://box:443/ollama"),
    ],
)
def test_ollama_s_own_variable(value: str, expected: str) -> None:
    assert ollama_host(value) == expected


@pytest.mark.parametrize(
    "given",
    [
        "localhost:8000",
        "ftp://x",
        "https://",
        "http://x:port",
        "http://a b",
        "http://a..b",
        "http://u:secret@x",
        "http://u:secret/2@x",
    ],
)
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(Trouble, match="the address of the service") as refused:
        address_of(given, CHAT)
    assert "secret" not in refused.value.words


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://api.anthropic.com", "ANTHROPIC_BASE_URL"),
        ("https://api.openai.com/v1", "OPENAI_BASE_URL"),
        ("http://localhost:11434", "OLLAMA_HOST"),
        ("http://localhost:8000", None),
        ("https://openrouter.ai/api", None),
    ],
)
def test_a_variable_moves_its_own_service_alone(url: str, variable: str | None) -> None:
    """The key of another service is for that service."""
    http = HttpProfile(base_url=url, schema_family="openai")
    assert address_variable(http) == variable
    moved = where_it_is(http, {"OPENAI_BASE_URL": "http://o", "OLLAMA_HOST": "http://o"})
    assert (moved == "http://o/v1/chat/completions") is (
        variable in ("OPENAI_BASE_URL", "OLLAMA_HOST")
    )


@pytest.mark.parametrize(
    ("home", "family", "variable"),
    [
        ("https://api.anthropic.com", "anthropic", "ANTHROPIC_BASE_URL"),
        ("https://api.openai.com", "openai", "OPENAI_BASE_URL"),
        ("http://localhost:11434", "ollama", "OLLAMA_HOST"),
    ],
)
def test_the_variable_reaches_the_program(
    home: str, family: str, variable: str, tmp_path: Path
) -> None:
    with Service(STREAMS[family]) as service:
        turn = play(profile_of(home, family), tmp_path, environ={variable: service.url})
        assert turn.result.text == "La la.", turn.outcome.reason
        config = {"base_url": service.url}
        turn = play(profile_of(home, family), tmp_path, environ={variable: "no"}, config=config)
        assert turn.result.text == "La la.", turn.outcome.reason
