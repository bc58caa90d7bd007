"""From a profile to an outcome, through the real launcher."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

import marianne_core.config
from marianne_core.config.instrument import InstrumentProfile
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.run.attempt_files import AttemptFiles, new_token, read_end
from marianne_core.run.instrument.command_line import build_invocation
from marianne_core.run.instrument.environment import build_environment
from marianne_core.run.instrument.failures import outcome_of
from marianne_core.run.instrument.result import ResultReader
from marianne_core.run.launcher import Launcher, LaunchSpec, resolve_program
from marianne_core.run.waiter import Waiter

_BUILTIN = Path(marianne_core.config.__file__).parent / "builtin"


@pytest.fixture
def cli() -> InstrumentProfile:
    data = yaml.safe_load((_BUILTIN / "cli.yaml").read_text(encoding="utf-8"))
    return InstrumentProfile.model_validate(data)


async def _play(
    profile: InstrumentProfile, prompt: str, folder: Path, *, program: str | None = None
) -> tuple[Outcome, AttemptFiles]:
    assert profile.cli is not None
    runs = folder / "run"
    runs.mkdir(exist_ok=True)
    built = build_invocation(
        profile,
        prompt,
        environment=build_environment(
            os.environ,
            required=profile.cli.command.required_env,
            added=profile.cli.command.env,
        ),
        workspace=folder,
        timeout=60,
    )
    program = program or str(resolve_program(built.argv[0], built.env.get("PATH")))
    files = AttemptFiles(runs, 1, 1)
    token = new_token()
    shim = Launcher().launch(
        LaunchSpec(token, (program, *built.argv[1:]), built.cwd, built.env, built.stdin, files)
    )
    waiter = Waiter()
    try:
        waited = await waiter.exited(shim.pid, files.status)
    finally:
        waiter.close()
    end = read_end(files, token, waited)
    result = None
    if end.exit_status is not None:
        reader = ResultReader(profile.cli)
        result = await reader.read(end.exit_status, files.stdout, files.stderr)
    return outcome_of(end, result), files


async def test_a_script_that_succeeds(cli: InstrumentProfile, tmp_path: Path) -> None:
    outcome, files = await _play(cli, "pwd; cat", tmp_path)
    assert outcome.ended is Ended.OK
    assert files.stdout.read_text() == f"{tmp_path}\n"


async def test_a_script_of_600_kb(cli: InstrumentProfile, tmp_path: Path) -> None:
    filler = "# a comment that fills the script\n" * 18_000
    script = f"{filler}cat; echo done; exit 5"
    assert len(script) > 600_000
    outcome, files = await _play(cli, script, tmp_path)
    assert files.stdout.read_text() == "done\n"
    assert (outcome.code, outcome.exit_code) == ("E009", 5)


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("echo no luck >&2; exit 3", "E009", "exit status 3; last line of stderr: no luck"),
        ("echo so far; exit 1", "E009", "exit status 1; last line of stdout: so far"),
        ("kill -9 $$", "E002", "ended by SIGKILL"),
        ("kill -SEGV $$", "E003", "ended by SIGSEGV"),
        ("no-such-command-at-all", "E505", "exit status 127: a command was not found"),
    ],
)
async def test_scripts_that_fail(
    cli: InstrumentProfile, tmp_path: Path, script: str, code: str, reason: str
) -> None:
    outcome, _ = await _play(cli, script, tmp_path)
    assert outcome.ended is Ended.FAILED
    assert outcome.code == code
    assert outcome.reason.startswith(reason)


async def test_a_program_that_is_gone_when_it_is_started(
    cli: InstrumentProfile, tmp_path: Path
) -> None:
    outcome, _ = await _play(cli, "true", tmp_path, program="/nowhere/bash")
    assert (outcome.ended, outcome.code, outcome.retriable) == (Ended.FAILED, "E505", False)
    assert outcome.reason.startswith("could not be started: ")
    assert "/nowhere/bash" in outcome.reason


async def test_an_agent_that_speaks_json(tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.write_text(
        '#!/bin/sh\nread prompt\nprintf \'{"result": "%s", "usage": {"in": 3}}\' "$prompt $*"\n'
    )
    agent.chmod(0o755)
    command: dict[str, Any] = {
        "executable": str(agent),
        "prompt_flag": "-p",
        "stdin_sentinel": "-",
        "model_flag": "--model",
    }
    output = {"format": "json", "result_path": "result", "input_tokens_path": "usage.in"}
    profile = InstrumentProfile.model_validate(
        {
            "name": "agent",
            "display_name": "Agent",
            "kind": "cli",
            "default_model": "m",
            "cli": {"command": command, "output": output},
        }
    )
    outcome, files = await _play(profile, "hello\n", tmp_path)
    assert (outcome.ended, outcome.input_tokens) == (Ended.OK, 3)
    assert profile.cli is not None
    read = await ResultReader(profile.cli).read(0, files.stdout, files.stderr)
    assert read.text == "hello --model m -p -"
