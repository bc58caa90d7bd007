"""How the built-in agents are called: the whole command line, input and environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from marianne_core.config.load import score_from_text
from marianne_core.config.profiles import load_profiles
from marianne_core.model.clock import SystemClock
from marianne_core.model.outcome import Ended
from marianne_core.plan.build import build_plan
from marianne_core.run.active import Playing
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.instrument.command_line import (
    ARGUMENT_LIMIT,
    InstrumentError,
    Invocation,
    build_invocation,
)
from tests.run.band import Band

PROFILES = load_profiles()
PROMPT = "Play this.\nAnd that."
SYSTEM = "be kind"

BASE = {
    "PATH": "/usr/bin",
    "HOME": "/home/player",
    "HTTPS_PROXY": "http://proxy",
    "NO_PROXY": "localhost",
    "SSL_CERT_FILE": "/ca.pem",
    "ANTHROPIC_BASE_URL": "http://gateway",
    "OPENAI_BASE_URL": "http://gateway",
    "ANTHROPIC_API_KEY": "a",
    "ANTHROPIC_AUTH_TOKEN": "a",
    "CLAUDE_CODE_OAUTH_TOKEN": "a",
    "CLAUDE_CONFIG_DIR": "/c",
    "IS_SANDBOX": "1",
    "OPENAI_API_KEY": "o",
    "CODEX_API_KEY": "o",
    "CODEX_HOME": "/x",
    "GEMINI_API_KEY": "g",
    "GOOGLE_API_KEY": "g",
    "OPENROUTER_API_KEY": "r",
    "CLAUDECODE": "1",
    "SECRET": "s",
}
"""What a conductor may have been started with."""

EVERYWHERE = {
    *("PATH", "HOME", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"),
    *("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GIT_TERMINAL_PROMPT"),
}
"""What each instrument gets."""


def called(
    instrument: str, folder: Path, settings: Mapping[str, Any], prompt: str = PROMPT
) -> Invocation:
    """The call of the first sheet of a score with these `instrument_config` settings."""
    score = {
        "name": "song",
        "workspace": str(folder),
        "instrument": instrument,
        "instrument_config": dict(settings),
        "sheet": {"size": 1, "total_items": 1},
        "prompt": {"template": "x"},
    }
    plan = build_plan(score_from_text(yaml.safe_dump(score), folder / "song.yaml"), PROFILES)
    sheet = plan.sheets[0]
    ensemble = Ensemble(PROFILES, BASE, SystemClock())
    return build_invocation(
        ensemble.profile(sheet.instrument),
        prompt,
        environment=ensemble.environment(sheet.instrument),
        workspace=folder,
        timeout=sheet.timeout,
        model=sheet.model,
        config=sheet.config,
        base=folder,
    )


class Agent(NamedTuple):
    """An agent and how it is called."""

    instrument: str
    full: tuple[str, ...]
    """With a model, a system prompt, allowed tools and permissions skipped; W is the workspace."""
    bare: tuple[str, ...]
    """With nothing set and permissions not skipped."""
    variables: set[str] | None
    """What of `BASE` it gets beside `EVERYWHERE`; None: all."""
    added: Mapping[str, str] = {}
    by_argument: bool = False
    """The prompt is an argument; else it comes through stdin."""


NO_MCP = ("--strict-mcp-config", "--mcp-config", '{"mcpServers":{}}')
AIDER = (
    *("--no-stream", "--no-pretty", "--no-auto-commits", "--no-check-update"),
    *("--no-show-release-notes", "--no-show-model-warnings", "--no-detect-urls"),
    "--analytics-disable",
)
AGENTS = [
    Agent(
        "claude-code",
        (
            *("claude", "--dangerously-skip-permissions", "--output-format", "stream-json"),
            *("--model", "m", "--append-system-prompt", SYSTEM, "--tools", "Read,Grep"),
            *NO_MCP,
            *("--print", "--verbose"),
        ),
        ("claude", "--output-format", "stream-json", *NO_MCP, "--print", "--verbose"),
        {
            *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
            *("CLAUDE_CONFIG_DIR", "IS_SANDBOX", "GOOGLE_API_KEY"),
        },
    ),
    Agent(
        "codex-cli",
        (
            *("codex", "exec", "--dangerously-bypass-approvals-and-sandbox", "--json"),
            *("--model", "m", "-c", "mcp_servers={}", "--skip-git-repo-check"),
        ),
        ("codex", "exec", "--json", "-c", "mcp_servers={}", "--skip-git-repo-check"),
        {"OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_HOME"},
    ),
    Agent(
        "opencode",
        (
            *("opencode", "run", "--auto", "--format", "json", "--model", "m"),
            *("--print-logs", "--log-level", "WARN"),
        ),
        ("opencode", "run", "--format", "json", "--print-logs", "--log-level", "WARN"),
        None,
        {"OPENCODE_DISABLE_AUTOUPDATE": "1"},
    ),
    Agent(
        "gemini-cli",
        ("gemini", "--yolo", "-o", "stream-json", "-m", "m", "--skip-trust"),
        ("gemini", "-o", "stream-json", "-m", "gemini-3.1-pro-preview", "--skip-trust"),
        {"GEMINI_API_KEY", "GOOGLE_API_KEY"},
        {"GEMINI_CLI_NO_RELAUNCH": "1"},
    ),
    Agent(
        "aider",
        ("aider", "--yes-always", "--model", "m", "--message-file", "/dev/stdin", *AIDER),
        ("aider", "--message-file", "/dev/stdin", *AIDER),
        None,
    ),
    Agent(
        "cline-cli",
        (
            *("cline", "--auto-approve", "true", "--json", "-m", "m", "-t", "1800", "-c", "W"),
            *("-s", SYSTEM, PROMPT),
        ),
        ("cline", "--json", "-t", "1800", "-c", "W", PROMPT),
        None,
        {"CLINE_SESSION_BACKEND_MODE": "local", "CLINE_NO_AUTO_UPDATE": "1"},
        by_argument=True,
    ),
    Agent(
        "goose",
        (
            *("goose", "run", "--output-format", "json", "--model", "m", "-i", "-"),
            *("--no-session", "--quiet"),
        ),
        ("goose", "run", "--output-format", "json", "-i", "-", "--no-session", "--quiet"),
        None,
    ),
    Agent(
        "crush",
        ("crush", "run", "--yolo", "--model", "m", "--cwd", "W", "--quiet"),
        ("crush", "run", "--model", "google/gemma-4-31b-it:free", "--cwd", "W", "--quiet"),
        None,
    ),
]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.instrument)
def test_the_whole_call(agent: Agent, tmp_path: Path) -> None:
    settings = {"model": "m", "system_prompt": SYSTEM, "allowed_tools": ["Read", "Grep"]}
    built = called(agent.instrument, tmp_path, settings)
    assert built.argv == tuple(str(tmp_path) if word == "W" else word for word in agent.full)
    assert built.stdin == (None if agent.by_argument else PROMPT.encode())
    assert built.cwd == tmp_path
    names = set(BASE) if agent.variables is None else agent.variables
    expected = {name: BASE[name] for name in (EVERYWHERE | names) & set(BASE)}
    assert built.env == {**expected, **agent.added, "GIT_TERMINAL_PROMPT": "0"}


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.instrument)
def test_the_barest_call(agent: Agent, tmp_path: Path) -> None:
    built = called(agent.instrument, tmp_path, {"skip_permissions": False})
    assert built.argv == tuple(str(tmp_path) if word == "W" else word for word in agent.bare)


def test_every_built_in_agent_is_here() -> None:
    programs = {name for name, each in PROFILES.by_name.items() if each.kind == "cli"}
    assert {agent.instrument for agent in AGENTS} | {"cli"} == programs


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.instrument)
def test_a_long_prompt(agent: Agent, tmp_path: Path) -> None:
    long = "a word " * (ARGUMENT_LIMIT // 7 + 1)
    if agent.by_argument:
        with pytest.raises(InstrumentError, match="at most 131071") as refused:
            called(agent.instrument, tmp_path, {}, long)
        assert refused.value.code == "E602"
    else:
        assert called(agent.instrument, tmp_path, {}, long).stdin == long.encode()


def test_the_alias_is_called_like_claude(tmp_path: Path) -> None:
    assert called("claude_cli", tmp_path, {}).argv == called("claude-code", tmp_path, {}).argv


def test_mcp_servers_and_more_arguments(tmp_path: Path) -> None:
    settings = {"disable_mcp": False, "cli_extra_args": ["--max-turns", "3"]}
    argv = called("claude-code", tmp_path, settings).argv
    assert "--mcp-config" not in argv
    assert argv[-4:] == ("--print", "--verbose", "--max-turns", "3")


async def test_a_program_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    band = Band(tmp_path)
    try:
        outcome = await band.musician.play(band.attempt("hello", instrument="claude-code"))
    finally:
        await band.close()
    assert (outcome.ended, outcome.code, outcome.retriable) == (Ended.FAILED, "E505", False)
    assert "claude" in outcome.reason
    assert "PATH" in outcome.reason


def answer(attempt: Playing) -> str:
    """What is kept of an attempt for other sheets."""
    return Path(attempt.files.name("txt")).read_text()


CLAUDE = """\
import json, sys
prompt = sys.stdin.read()
usage = {"inputTokens": 3, "cacheReadInputTokens": 4, "outputTokens": 5}
for event in (
    {"type": "system", "subtype": "init"},
    {"type": "assistant", "message": {"content": [{"type": "text", "text": "let me see"}]}},
    {"type": "result", "is_error": IS_ERROR, "subtype": "success", "result": TEXT,
     "api_error_status": STATUS, "total_cost_usd": 0.25, "modelUsage": {"m": usage}},
):
    print(json.dumps(event))
sys.exit(EXIT)
"""


@pytest.mark.parametrize(
    ("exit_status", "is_error", "status", "text", "code"),
    [
        (0, False, None, "la la", None),
        (0, True, 429, "no more", "E102"),
        (1, True, 529, "busy", "E103"),
        (0, True, None, "it broke", "E009"),
        (1, False, None, "la la", "E009"),
    ],
)
async def test_the_verdict_of_an_agent_from_end_to_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exit_status: int,
    is_error: bool,
    status: int | None,
    text: str,
    code: str | None,
) -> None:
    program = CLAUDE
    values = {"IS_ERROR": is_error, "STATUS": status, "TEXT": text, "EXIT": exit_status}
    for name, value in values.items():
        program = program.replace(name, repr(value))
    agent = tmp_path / "bin" / "claude"
    agent.parent.mkdir()
    agent.write_text(f"#!{sys.executable}\n{program}")
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{agent.parent}:{os.environ['PATH']}")
    band = Band(tmp_path)
    try:
        attempt = band.attempt("hello", instrument="claude-code")
        outcome = await band.musician.play(attempt)
    finally:
        await band.close()
    assert outcome.code == code, outcome.reason
    assert (outcome.ended is Ended.OK) is (code is None)
    assert (outcome.input_tokens, outcome.output_tokens, outcome.cost_usd) == (7, 5, 0.25)
    assert answer(attempt) == text
