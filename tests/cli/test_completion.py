"""What the shells complete."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Mzt, program_env

_ASK = """\
source script.bash
compopt() { :; }
COMP_WORDS=(mzt "$@")
COMP_CWORD=$#
_mzt_completion mzt
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(mzt_here: Mzt, tmp_path: Path) -> Path:
    """A folder with scores and other things, and `mzt` in `bin`."""
    (tmp_path / "script.bash").write_text(mzt_here("completion", "bash").stdout)
    (tmp_path / "ask").write_text(_ASK)
    for name in ("a.yaml", "b b.yml", "notes.txt", "a.yaml.bak"):
        (tmp_path / name).touch()
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "c.yaml").touch()
    program = tmp_path / "bin" / "mzt"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m marianne_tui "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def completed(folder: Path, *words: str) -> list[str]:
    env = program_env(folder / "state")
    env["PATH"] = f"{folder / 'bin'}{os.pathsep}{env['PATH']}"
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "--norc", "ask", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return sorted(done.stdout.split("\n")[:-1])


def test_scores_are_yaml_files_and_folders_on_the_way_to_them(folder: Path) -> None:
    assert {*completed(folder, "run", "")} - {"state"} == {"a.yaml", "b b.yml", "bin", "songs"}
    assert completed(folder, "validate", "songs/") == ["songs/c.yaml"]


def test_commands_are_completed_still(folder: Path) -> None:
    assert completed(folder, "stat") == ["status"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_script_completes_scores_and_says_where_it_belongs(shell: str, mzt_here: Mzt) -> None:
    script = mzt_here("completion", shell).stdout
    assert "score" in script
    assert "yaml" in script.replace("ya?ml", "yaml")
    first, second, *_ = script.splitlines()
    assert (first == "#compdef mzt") is (shell == "zsh")
    assert (second if shell == "zsh" else first).startswith("# ")
