"""How a model behind HTTP is played: as a program of ours, which every room below takes for a CLI."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from marianne_core.ask import OPTIONS, PROGRAM, trouble
from marianne_core.ask.address import address_of
from marianne_core.ask.key import key_in
from marianne_core.config.instrument import (
    CliCommand,
    CliErrorConfig,
    CliOutputConfig,
    CliProfile,
    HttpProfile,
)


class Service(NamedTuple):
    """A service that has an address of its own, and a variable that puts another in its place."""

    host: str
    port: int | None
    variable: str


SERVICES: Final = (
    Service("api.anthropic.com", None, "ANTHROPIC_BASE_URL"),
    Service("api.openai.com", None, "OPENAI_BASE_URL"),
    Service("localhost", 11434, "OLLAMA_HOST"),
    Service("127.0.0.1", 11434, "OLLAMA_HOST"),
)
"""A profile of any other service is not led elsewhere by these variables, and neither is its key."""

_FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "base_url": "--base-url",
        "api_key_env": "--key-variable",
        "max_tokens": "--max-tokens",
        "temperature": "--temperature",
    }
)
_FLAGS_OF_OLLAMA: Final[Mapping[str, str]] = MappingProxyType(
    {**_FLAGS, "num_ctx": "--num-ctx", "keep_alive": "--keep-alive"}
)


def family_of(http: HttpProfile) -> Literal["openai", "anthropic", "gemini", "ollama"]:
    """The format that is spoken: profiles of Ollama's own chat say `openai` and its path."""
    if http.schema_family == "openai" and http.endpoint.rstrip("/").endswith("/api/chat"):
        return "ollama"
    return http.schema_family


def address_variable(http: HttpProfile) -> str | None:
    """The variable that puts another address in the place of this one, if there is one."""
    try:
        parts = urlsplit(http.base_url)
        place = parts.hostname, parts.port
    except ValueError:
        return None
    return next((each.variable for each in SERVICES if (each.host, each.port) == place), None)


def what_is_missing(http: HttpProfile, environ: Mapping[str, str]) -> str:
    """Why the service cannot be asked from this environment, in words; "" when it can."""
    variable = http.auth_env_var
    if not variable:
        return ""
    if not environ.get(variable, "").strip():
        return f"its key is missing: {variable} is not set"
    try:
        key_in(variable, environ)
    except trouble.Trouble as error:
        return error.words
    return ""


def where_it_is(http: HttpProfile, environ: Mapping[str, str]) -> str:
    """The address that is asked from this environment. Raises Trouble when it is none."""
    name = address_variable(http) or ""
    variable = environ.get(name, "")
    ollama = family_of(http) == "ollama"
    try:
        return str(address_of(http.base_url, http.endpoint, variable=variable, ollama=ollama))
    except trouble.Trouble as error:
        place = name if variable else "the profile's base_url"
        raise trouble.Trouble(f"{place}: {error.words}") from error


def http_program(http: HttpProfile) -> CliProfile:
    """The program that asks this service, with its flags, its output and its failures."""
    family = family_of(http)
    variable = address_variable(http)
    words = [*OPTIONS, PROGRAM, "--family", family, "--profile-url", http.base_url]
    words += ["--endpoint", http.endpoint]
    if variable:
        words += ["--url-variable", variable]
    if variable == "OPENAI_BASE_URL":
        words += ["--official", "api.openai.com"]
    if http.auth_env_var:
        words += ["--key-variable", http.auth_env_var]
    return CliProfile(
        command=CliCommand(
            executable=sys.executable or "python3",
            subcommand=shlex.join(words),
            model_flag="--model",
            timeout_flag="--timeout",
            system_prompt_flag="--system",
            max_output_flag="--max-output",
            setting_flags=dict(_FLAGS_OF_OLLAMA if family == "ollama" else _FLAGS),
            required_env=[name for name in (http.auth_env_var, variable) if name],
        ),
        output=_OUTPUT,
        errors=_ERRORS,
    )


_OUTPUT = CliOutputConfig(
    format="jsonl",
    dialect="http",
    completion_event_type="result",
    result_path="result",
    error_path="error",
    input_tokens_path="usage.input_tokens",
    output_tokens_path="usage.output_tokens",
    cost_path="cost_usd",
    usage_of_last_event=True,
)

_ERRORS = CliErrorConfig(
    success_event_type="result",
    success_event_filter={"is_error": False},
    status_path="http_status",
    rate_limit_event_type="result",
    rate_limit_event_filter={"http_status": 429},
    auth_error_patterns=[rf"\A{trouble.NO_KEY}"],
    connection_patterns=[rf"\A({trouble.UNREACHABLE}|{trouble.LOST})"],
    timeout_patterns=[rf"\A{trouble.LATE}"],
    capacity_patterns=[rf"\A({trouble.ANSWER_FAILED} \()?{trouble.STATUS}50[02]\b"],
    answer_patterns=[rf"\A({trouble.ANSWER}|{trouble.STATUS}3\d\d)"],
)
