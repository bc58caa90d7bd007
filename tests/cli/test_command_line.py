from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from marianne_core.model.errors import InputError, NoConductorError, StateError
from marianne_tui.cli import guard
from marianne_tui.cli.app import cli
from marianne_tui.cli.catalogue import ENTRIES, SECTIONS
from marianne_tui.cli.guard import run_guarded

from .conftest import Mzt, program_env


def test_help_groups_the_commands_with_one_example_each() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    for title in SECTIONS:
        assert f"{title}:" in text
    for entry in ENTRIES.values():
        assert f"  {entry.name} " in text
        assert f"$ {entry.example}" in text


@pytest.mark.parametrize("name", list(ENTRIES))
def test_every_command_has_help_with_its_example(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert ENTRIES[name].example in done.output


@pytest.mark.parametrize("name", list(ENTRIES))
def test_every_example_is_a_command_line_that_click_understands(name: str) -> None:
    words = ENTRIES[name].example.split()
    assert words[0] == "mzt"
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None
    rest = words[2:]
    if isinstance(command, click.Group):
        command = command.get_command(click.Context(command), rest.pop(0))
        assert command is not None
    command.make_context(name, rest)


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_guarded([]) == 0
    assert "Play a score:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["runn"], "did you mean 'run'?"),
        (["score.yaml"], "to run a score: mzt run score.yaml"),
        (["frobnicate"], "mzt --help lists them"),
        (["run"], "missing argument"),
        (["run", "--nonsense", "x"], "no such option"),
        (["logs", "x", "--attempt", "1"], "--attempt needs --sheet"),
        (["clear"], "say which"),
        (["list", "-s", "asleep"], "mzt list --help"),
    ],
)
def test_wrong_usage_ends_with_2_and_advice(
    arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_guarded(arguments) == 2
    told = capsys.readouterr().err
    assert advice in told
    # In the form of all errors.
    assert told.startswith("mzt: ")
    assert len(told.splitlines()) <= 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("bad", where="x.yaml:3:1", hint="do better"), 2),
        (NoConductorError("nobody"), 3),
        (StateError("closed"), 1),
        (OSError(28, "No space left on device", "/full"), 1),
        (RuntimeError("\x1b[31mboom"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_a_line_and_a_status(
    error: BaseException,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(guard, "fast_call", lambda arguments: fail)
    assert run_guarded(["list"]) == status
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "\x1b" not in told
    if isinstance(error, InputError):
        assert told == "mzt: x.yaml:3:1: bad\n  hint: do better\n"
    if isinstance(error, RuntimeError):
        assert "internal error: RuntimeError: boom" in told


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), NoConductorError("boom"), OSError(28, "boom")]
)
def test_debug_shows_the_traceback_and_keeps_the_status(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(guard, "fast_call", lambda arguments: fail)
    status = run_guarded(["list"])
    assert "Traceback" not in capsys.readouterr().err
    assert run_guarded(["list", "--debug"]) == status
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "in fail" in told
    monkeypatch.setenv("MARIANNE_DEBUG", "1")
    assert run_guarded(["list"]) == status
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "bash",
            "-c",
            'set -o pipefail; "$0" -m marianne_tui --help | true; echo "${PIPESTATUS[0]}"',
            sys.executable,
        ],
        env=program_env(tmp_path / "state"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "0"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_told(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "marianne_tui", "list"],
            env=program_env(tmp_path / "state"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "cannot write the output: No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_without_unicode_gets_ascii(mzt: Mzt) -> None:
    done = mzt("doctor", PYTHONUTF8="0", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.stdout.isascii()
    assert "+ python: " in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert "_MZT_COMPLETE" in done.output


def test_completion_completes_commands_and_options(mzt: Mzt) -> None:
    done = mzt(_MZT_COMPLETE="bash_complete", COMP_WORDS="mzt re", COMP_CWORD="1")
    assert [line.split(",")[1] for line in done.stdout.splitlines()] == ["resume", "retry"]
    done = mzt(_MZT_COMPLETE="bash_complete", COMP_WORDS="mzt list --li", COMP_CWORD="2")
    assert done.stdout.strip() == "plain,--limit"


def test_the_bash_script_is_good_bash(mzt: Mzt) -> None:
    script = mzt("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
