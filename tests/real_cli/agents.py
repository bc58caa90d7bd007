"""The programs that the proof plays, and how each of them is pointed at the stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.real_cli.turns import OVERLOAD, OVERLOAD_503, Refuse, WriteFile

KEY = "sk-of-the-stand-in"
"""What the programs send as their key; it opens nothing."""


def folder() -> Path:
    """Where `install.sh` put the programs: `$MZT_REAL_CLI`, or a folder of the user's cache."""
    named = os.environ.get("MZT_REAL_CLI")
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(named).expanduser() if named else Path(cache_home) / "marianne-real-cli"


Prepare = Callable[[Path, str], Mapping[str, str]]
"""Writes the settings of a program into a home directory; returns variables it needs."""


@dataclass(frozen=True)
class Agent:
    """One program."""

    instrument: str
    executable: str
    model: str
    prepare: Prepare
    cost: float | None = None
    """US dollars that it reports for a plain turn; None = it reports none."""
    overload: Refuse = OVERLOAD
    """How its service says that it is overloaded."""
    asks_for_ever: frozenset[str] = frozenset()
    """Cases in which it asks again and again, so that the sheet's timeout has to end it."""
    passes_on_waits: bool = True
    """It prints how long a limit holds, as its service says."""
    without_tools: Callable[[WriteFile], str] | None = None
    """How it is told to write a file when it has no tools."""

    def environment(self, home: Path, url: str) -> dict[str, str]:
        """What its conductor is started with. `url` is the service; nothing else can be reached."""
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([*_folders(), os.environ.get("PATH", os.defpath)])
        closed = "http://127.0.0.1:9"
        return {
            "PATH": path,
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            # What a program wants from elsewhere (updates, reports) meets a closed door at once.
            **{name: closed for name in ("HTTPS_PROXY", "https_proxy")},
            **{name: "127.0.0.1,localhost" for name in ("NO_PROXY", "no_proxy")},
            **self.prepare(home, url),
        }

    @property
    def installed(self) -> bool:
        """Whether it is in the folder of the programs."""
        return shutil.which(self.executable, path=os.pathsep.join(_folders())) is not None

    @property
    def version(self) -> str:
        """What it says of itself."""
        return _version(self.executable)


def _folders() -> list[str]:
    return [str(folder() / "node_modules/.bin"), str(folder() / "python/bin")]


@cache
def _version(executable: str) -> str:
    path = shutil.which(executable, path=os.pathsep.join(_folders()))
    assert path is not None
    done = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    words = (done.stdout or done.stderr).split()
    return next((word for word in words if word[:1].isdigit()), "unknown")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _claude(home: Path, url: str) -> Mapping[str, str]:
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",  # as root it refuses to skip permissions without
    }


def _codex(home: Path, url: str) -> Mapping[str, str]:
    provider = {"name": "stand-in", "base_url": f"{url}/v1", "env_key": "OPENAI_API_KEY"}
    lines = ['model_provider = "stand-in"', "[model_providers.stand-in]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in provider.items()]
    lines += ['wire_api = "responses"', "request_max_retries = 0", "stream_max_retries = 0"]
    _write(home / ".codex/config.toml", "\n".join(lines) + "\n")
    return {"OPENAI_API_KEY": KEY}


def _opencode(home: Path, url: str) -> Mapping[str, str]:
    model = {
        "name": "m",
        "cost": {"input": 3, "output": 15, "cache_read": 0.3},
        "limit": {"context": 200_000, "output": 8_000},
    }
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{url}/v1", "apiKey": KEY},
        "models": {"m": model},
    }
    settings = {"provider": {"stand-in": provider}, "enabled_providers": ["stand-in"]}
    _write(home / ".config/opencode/opencode.json", json.dumps(settings))
    return {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}


def _gemini(home: Path, url: str) -> Mapping[str, str]:
    settings = {
        "general": {"maxAttempts": 1},
        "privacy": {"usageStatisticsEnabled": False},
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "telemetry": {"enabled": False},
    }
    _write(home / ".gemini/settings.json", json.dumps(settings))
    return {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": url}


def _aider(home: Path, url: str) -> Mapping[str, str]:
    return {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": KEY}


def _edit(turn: WriteFile) -> str:
    """A whole file in words, as Aider asks models for it."""
    return f"{Path(turn.path).name}\n```\n{turn.content}\n```\n"


def _cline(home: Path, url: str) -> Mapping[str, str]:
    path = os.pathsep.join([*_folders(), os.environ.get("PATH", os.defpath)])
    login = ["-p", "openai-compatible", "-k", KEY, "-m", "m", "-b", f"{url}/v1"]
    subprocess.run(
        ["cline", "auth", *login],
        env={"PATH": path, "HOME": str(home), "CLINE_NO_AUTO_UPDATE": "1"},
        cwd=home,
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return {}


_PRICE = 1000 * 3e-6 + 200 * 0.3e-6 + 45 * 15e-6
"""Of a plain turn at 3 dollars a million tokens read, a tenth of that from caches, 15 written."""

AGENTS: tuple[Agent, ...] = (
    Agent("claude-code", "claude", "claude-sonnet-4-5-20250929", _claude, cost=_PRICE),
    Agent(
        *("codex-cli", "codex", "gpt-5.5", _codex),
        overload=OVERLOAD_503,
        asks_for_ever=frozenset({"refused"}),
        passes_on_waits=False,
    ),
    Agent(
        *("opencode", "opencode", "stand-in/m", _opencode),
        cost=_PRICE,
    ),
    Agent("gemini-cli", "gemini", "gemini-2.5-flash", _gemini, overload=OVERLOAD_503),
    Agent("aider", "aider", "openai/m", _aider, overload=OVERLOAD_503, without_tools=_edit),
    # It knows no price of a model of this provider.
    Agent("cline-cli", "cline", "m", _cline, cost=0.0, overload=OVERLOAD_503),
)
