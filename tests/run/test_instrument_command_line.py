from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from marianne_core.config.instrument import InstrumentProfile
from marianne_core.run.instrument.command_line import (
    ARGUMENT_LIMIT,
    InstrumentError,
    Invocation,
    build_invocation,
)
from marianne_core.run.instrument.environment import Environment

FULL: dict[str, Any] = {
    "executable": "agent",
    "subcommand": "run",
    "auto_approve_flag": "--yes",
    "output_format_flag": "--format",
    "output_format_value": "json",
    "model_flag": "--model",
    "timeout_flag": "--timeout",
    "working_dir_flag": "--cwd",
    "system_prompt_flag": "--system",
    "allowed_tools_flag": "--tools",
    "prompt_flag": "-p",
    "mcp_config_flag": "--mcp",
    "mcp_config_prefix_args": ["--strict"],
    "mcp_disable_args": ["--no-mcp"],
    "extra_flags": ["--extra"],
}
CLI = {"executable": "bash", "prompt_flag": "-c", "prompt_via_stdin": False}


def _profile(command: dict[str, Any], **fields: Any) -> InstrumentProfile:
    return InstrumentProfile.model_validate(
        {
            "name": "an-agent",
            "display_name": "An agent",
            "kind": "cli",
            "cli": {"command": command},
            **fields,
        }
    )


def _build(command: dict[str, Any], prompt: str, workspace: Path, **options: Any) -> Invocation:
    fields = options.pop("fields", {})
    options.setdefault("environment", Environment({"PATH": os.environ["PATH"]}))
    options.setdefault("timeout", 90.5)
    return build_invocation(_profile(command, **fields), prompt, workspace=workspace, **options)


def test_every_declared_flag_in_its_order(tmp_path: Path) -> None:
    config = {
        "system_prompt": "be brief",
        "allowed_tools": ["Read", "Bash(git log:*)"],
        "cli_extra_args": ["--last"],
    }
    built = _build(
        {**FULL, "prompt_via_stdin": False}, "do it", tmp_path, model="m1", config=config
    )
    assert built.argv == (
        *("agent", "run", "--yes", "--format", "json", "--model", "m1", "--timeout", "91"),
        *("--cwd", str(tmp_path), "--system", "be brief", "--tools", "Read,Bash(git log:*)"),
        *("-p", "do it", "--no-mcp", "--extra", "--last"),
    )
    assert built.stdin is None
    assert built.cwd == tmp_path


@pytest.mark.parametrize("flag", [name for name in FULL if name != "executable"])
def test_each_field_of_the_command_changes_the_line(flag: str, tmp_path: Path) -> None:
    """No dead field: the line differs when only this field is left out."""
    options: dict[str, Any] = {
        "model": "m1",
        "config": {"system_prompt": "s", "allowed_tools": "Read"},
        "mcp_config": None if flag == "mcp_disable_args" else tmp_path / "mcp.json",
    }
    without = {name: value for name, value in FULL.items() if name != flag}
    argv = {
        _build({**command, "prompt_via_stdin": False}, "do it", tmp_path, **options).argv
        for command in (FULL, without)
    }
    assert len(argv) == 2


def test_settings_switch_flags_off(tmp_path: Path) -> None:
    config = {"skip_permissions": False, "disable_mcp": False}
    argv = _build(FULL, "x", tmp_path, config=config).argv
    assert "--yes" not in argv
    assert "--no-mcp" not in argv


def test_an_mcp_file_replaces_the_arguments_that_switch_mcp_off(tmp_path: Path) -> None:
    argv = _build(FULL, "x", tmp_path, mcp_config=tmp_path / "m.json").argv
    assert argv[-4:] == ("--strict", "--mcp", f"{tmp_path}/m.json", "--extra")


def test_the_default_model_is_used_unless_another_is_asked_for(tmp_path: Path) -> None:
    fields = {"default_model": "usual"}
    assert "usual" in _build(FULL, "x", tmp_path, fields=fields).argv
    assert "usual" not in _build(FULL, "x", tmp_path, fields=fields, model="other").argv
    assert "--model" not in _build(FULL, "x", tmp_path).argv


def test_stdin_with_and_without_a_sentinel(tmp_path: Path) -> None:
    plain = _build({"executable": "agent", "prompt_flag": "-p"}, "grüße", tmp_path)
    assert (plain.argv, plain.stdin) == (("agent",), "grüße".encode())
    dash = _build(
        {"executable": "agent", "prompt_flag": "-p", "stdin_sentinel": "-"}, "hi", tmp_path
    )
    assert (dash.argv, dash.stdin) == (("agent", "-p", "-"), b"hi")


def test_a_long_prompt_goes_through_stdin_where_the_program_can_read_it(tmp_path: Path) -> None:
    command = {
        "executable": "agent",
        "prompt_flag": "-p",
        "prompt_via_stdin": False,
        "stdin_sentinel": "-",
    }
    short = _build(command, "x" * 32_768, tmp_path)
    assert (short.argv[-1], short.stdin) == ("x" * 32_768, None)
    long = _build(command, "x" * 32_769, tmp_path)
    assert (long.argv, long.stdin) == (("agent", "-p", "-"), b"x" * 32_769)


def test_a_program_that_reads_arguments_alone_gets_them_up_to_the_system_limit(
    tmp_path: Path,
) -> None:
    command = {"executable": "agent", "prompt_via_stdin": False}
    longest = _build(command, "x" * ARGUMENT_LIMIT, tmp_path)
    assert subprocess.run(["true", *longest.argv[1:]], check=False).returncode == 0
    with pytest.raises(InstrumentError, match="131072 bytes") as refused:
        _build(command, "x" * (ARGUMENT_LIMIT + 1), tmp_path)
    assert refused.value.code == "E602"
    assert "stdin" in refused.value.hint


def _run(built: Invocation) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        built.argv,
        input=b"" if built.stdin is None else built.stdin,
        env=dict(built.env),
        cwd=built.cwd,
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_a_short_script_is_an_argument(tmp_path: Path) -> None:
    built = _build(CLI, "echo hi", tmp_path, fields={"raw_prompt": True})
    assert (built.argv, built.stdin) == (("bash", "-c", "echo hi"), None)


def test_a_script_of_600_kb_runs_as_a_short_one_does(tmp_path: Path) -> None:
    """Its commands share no stdin with it, `$0` and the exit status are those of `bash -c`."""
    filler = "\n".join(f": {n} 'ä quoted $(text)'" for n in range(24_000))
    core = """
cat; read -r line && echo "read a line: $line"
cat <<'END'
here $document
END
n=$((20 + 1)); echo "$0 $# $n"
trap 'echo bye' EXIT
(exit 3)
"""
    script = f"# {filler[:5]}\n{filler}\n{core}"
    assert len(script.encode()) > 600_000
    built = _build(CLI, script, tmp_path)
    assert max(map(len, built.argv)) < 100
    long, short = _run(built), _run(_build(CLI, core, tmp_path))
    assert long.returncode == short.returncode == 3
    assert long.stdout == short.stdout == b"here $document\nbash 0 21\nbye\n"
    assert long.stderr == b""


def test_a_long_script_that_leaves_early_or_breaks(tmp_path: Path) -> None:
    filler = "#" * 40_000 + "\n"
    assert _run(_build(CLI, f"{filler}exit 7\necho no", tmp_path)).returncode == 7
    broken = _run(_build(CLI, f"{filler}if true; then", tmp_path))
    assert broken.returncode != 0
    assert b"syntax error" in broken.stderr
    strict = _run(_build(CLI, f"{filler}set -eu\nfalse\necho no", tmp_path))
    assert (strict.returncode, strict.stdout) == (1, b"")


def test_a_long_script_never_succeeds_unread(tmp_path: Path) -> None:
    built = _build(CLI, "#" * 40_000, tmp_path, environment=Environment({"PATH": "/nowhere"}))
    ran = subprocess.run(
        ["/bin/bash", *built.argv[1:]],
        input=built.stdin,
        env=dict(built.env),
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 126


def test_a_long_script_comes_through_whole(tmp_path: Path) -> None:
    text = "".join(f"{n}é" for n in range(20_000))
    built = _build(CLI, f"printf %s '{text}' | md5sum", tmp_path)
    assert built.stdin is not None
    assert _run(built).stdout.split()[0].decode() == hashlib.md5(text.encode()).hexdigest()


def test_a_nul_cannot_be_an_argument(tmp_path: Path) -> None:
    for prompt in ("a\0b", "a\0" * 40_000):
        with pytest.raises(InstrumentError, match="NUL") as refused:
            _build(CLI, prompt, tmp_path)
        assert refused.value.code == "E602"
    assert _build({"executable": "agent"}, "a\0b", tmp_path).stdin == b"a\0b"


def test_half_characters_do_not_stop_a_prompt(tmp_path: Path) -> None:
    assert _build(CLI, "echo \ud83d", tmp_path).argv[-1] == "echo ?"


def test_the_working_directory_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    built = _build(FULL, "x", tmp_path, config={"working_directory": "sub"})
    assert built.cwd == tmp_path / "sub"
    assert str(tmp_path / "sub") in built.argv
    with pytest.raises(InstrumentError, match="not a folder") as refused:
        _build(FULL, "x", tmp_path, config={"working_directory": "absent"})
    assert refused.value.code == "E603"


def test_a_system_prompt_from_a_file_beside_the_score(tmp_path: Path) -> None:
    (tmp_path / "system.md").write_text("be kind")
    config = {"system_prompt_file": "system.md"}
    assert "be kind" in _build(FULL, "x", tmp_path / "ws", config=config, base=tmp_path).argv
    for name in ("absent.md", "."):
        with pytest.raises(InstrumentError, match="is not a file") as refused:
            _build(FULL, "x", tmp_path, config={"system_prompt_file": name}, base=tmp_path)
        assert refused.value.code == "E601"
    (tmp_path / "system.md").write_text("x" * 200_000)
    with pytest.raises(InstrumentError, match="more than 131071"):
        _build(FULL, "x", tmp_path, config=config, base=tmp_path)


def test_an_instrument_behind_http_is_no_program(tmp_path: Path) -> None:
    profile = InstrumentProfile.model_validate(
        {
            "name": "net",
            "display_name": "Net",
            "kind": "http",
            "http": {"base_url": "http://x", "schema_family": "openai"},
        }
    )
    with pytest.raises(InstrumentError, match="kind http"):
        build_invocation(profile, "x", environment=Environment({}), workspace=tmp_path, timeout=1.0)
