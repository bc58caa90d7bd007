"""Run scores through the program itself, in a state directory of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

TRUE = shutil.which("true") or "/bin/true"

_PROFILE = f"""\
name: trivial
display_name: Trivial
kind: cli
raw_prompt: true
cli:
  command: {{executable: {TRUE}, prompt_via_stdin: true}}
  output: {{format: text}}
"""

WIDE = """\
name: {name}
workspace: ./workspace
instrument: trivial
sheet: {{size: 1, total_items: 1, fan_out: {{1: {sheets}}}}}
parallel: {{enabled: true, max_concurrent: {at_once}}}
prompt: {{template: "nothing"}}
"""
"""Sheets that depend on nothing, so many at once."""

CHAIN = """\
name: {name}
workspace: ./workspace
instrument: trivial
sheet: {{size: 1, total_items: {sheets}, dependencies: {dependencies}}}
prompt: {{template: "nothing"}}
"""
"""Sheets one after another, by their dependencies (`on_the_last`) or, with none, by their order."""


def on_the_last(sheets: int) -> str:
    """The `dependencies` of a chain: each sheet depends on the one before it."""
    return "{" + ", ".join(f"{num}: [{num - 1}]" for num in range(2, sheets + 1)) + "}"


@dataclass(frozen=True)
class Ran:
    """What the store says of a run."""

    seconds: float
    """From its submission to its end."""
    sheets: int
    peak_memory_mb: float
    """Of the conductor's process."""
    home: Path


@contextmanager
def room(folder: str | None = None) -> Iterator[Path]:
    """A fresh folder with the instrument `trivial`.

    It is removed when the program ends and not before the next measurement: ext4 without a journal
    makes files many times slower for minutes after others were removed.
    """
    path = Path(tempfile.mkdtemp(dir=folder, prefix="mzt-bench-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    profiles = path / "home" / ".marianne" / "instruments"
    profiles.mkdir(parents=True)
    (profiles / "trivial.yaml").write_text(_PROFILE)
    yield path


def environment(path: Path) -> dict[str, str]:
    """Where the program keeps its state while it is measured."""
    return {**os.environ, "HOME": str(path / "home"), "MARIANNE_HOME": str(path / "state")}


def run(path: Path, score: str, **values: object) -> Ran:
    """Write the score with its values filled in, run it with `mzt run`, and read what happened."""
    name = str(values.setdefault("name", "bench"))
    file = path / f"{name}.yaml"
    file.write_text(score.format(**values))
    argv = [sys.executable, "-m", "marianne_tui", "run", "-q", str(file)]
    process = subprocess.Popen(argv, env=environment(path), cwd=path)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)} left with {process.returncode}")
    home = path / "state"
    with closing(sqlite3.connect(home / "marianne.db")) as store:
        submitted, finished, sheets = store.execute(
            "SELECT submitted_at, finished_at, completed FROM runs ORDER BY run_id DESC LIMIT 1"
        ).fetchone()
    return Ran(finished - submitted, sheets, usage.ru_maxrss / 1024, home)
