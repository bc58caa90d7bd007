"""Whole turns of the program, as an instrument of kind http plays them: its profile, its environment,
the interpreter's options, and what its output is taken for."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from marianne_core.ask import PROGRAM, turn
from marianne_core.config.http_program import http_program
from marianne_core.config.instrument import InstrumentProfile
from marianne_core.model.outcome import Outcome
from marianne_core.run.attempt_files import AttemptEnd
from marianne_core.run.instrument.command_line import Invocation, build_invocation
from marianne_core.run.instrument.environment import build_environment
from marianne_core.run.instrument.failures import outcome_of
from marianne_core.run.instrument.result import InstrumentResult, ResultReader

KEY = "the-key-that-nobody-sees"
PATHS = {
    "anthropic": "/v1/messages",
    "openai": "/v1/chat/completions",
    "ollama": "/api/chat",
}


@dataclass(frozen=True)
class Turn:
    """A turn that is over."""

    out: str
    err: str
    result: InstrumentResult
    outcome: Outcome

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]


def profile_of(url: str, family: str, **http: Any) -> InstrumentProfile:
    """A profile of a service, as it is after it was loaded."""
    profile = InstrumentProfile.model_validate(
        {
            "name": "service",
            "display_name": "Service",
            "kind": "http",
            "default_model": "m",
            "http": {
                "base_url": url,
                "endpoint": PATHS[family],
                "schema_family": family,
                "auth_env_var": None if family == "ollama" else "THE_KEY",
                **http,
            },
        }
    )
    assert profile.http is not None
    return profile.model_copy(update={"cli": http_program(profile.http)})


def called(
    profile: InstrumentProfile,
    prompt: str,
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float = 20,
) -> Invocation:
    """How the program is started."""
    assert profile.cli is not None
    command = profile.cli.command
    base = {"PATH": os.environ["PATH"], "THE_KEY": KEY, "OTHER_KEY": "not for you"}
    environment = build_environment(
        {**base, **(environ or {})}, required=command.required_env, added=command.env
    )
    return build_invocation(
        profile,
        prompt,
        environment=environment,
        workspace=folder,
        timeout=timeout,
        model=(config or {}).get("model"),
        config=config,
        base=folder,
    )


def play(
    profile: InstrumentProfile,
    folder: Path,
    prompt: str = "Sing.",
    *,
    process: bool = False,
    **how: Any,
) -> Turn:
    """Play a turn to its end: in a process of its own, or for speed in this one."""
    call = called(profile, prompt, folder, **how)
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("w") as stderr:
        status = (_run if process else _run_here)(call, stdout, stderr)
    assert profile.cli is not None
    result = ResultReader(profile.cli).read_now(status, out, err)
    played = Turn(out.read_text(), err.read_text(), result, outcome_of(AttemptEnd(status), result))
    assert KEY not in " ".join(call.argv) + played.out + played.err + played.outcome.reason
    return played


def _run(call: Invocation, stdout: BinaryIO, stderr: TextIO) -> int:
    return subprocess.run(
        call.argv,
        input=call.stdin,
        env=dict(call.env),
        cwd=call.cwd,
        stdout=stdout,
        stderr=stderr,
        timeout=30,
        check=False,
    ).returncode


def _run_here(call: Invocation, stdout: BinaryIO, stderr: TextIO) -> int:
    arguments = call.argv[call.argv.index(PROGRAM) + 1 :]
    with contextlib.redirect_stderr(stderr):
        return turn.play(arguments, call.stdin or b"", call.env, stdout)
