from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT, ROOT / "core", ROOT / "widgets", ROOT / "styles"]

Mzt = Callable[..., subprocess.CompletedProcess[str]]


def program_env(home: Path, **more: str) -> dict[str, str]:
    """The environment in which `python -m marianne_tui` works on a state directory of its own."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
    return {
        **kept,
        "HOME": str(home.parent),
        "MARIANNE_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(map(str, SOURCES)),
        "PYTHONUTF8": "1",
        **more,
    }


def runner(home: Path, cwd: Path) -> Mzt:
    """Runs `mzt ARGUMENTS` in `cwd` and returns what became of it."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "marianne_tui", *arguments],
            env=program_env(home, **more),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


@pytest.fixture
def mzt(tmp_path: Path) -> Mzt:
    """`mzt` with a state directory and a working directory of this test alone."""
    return runner(tmp_path / "state", tmp_path)
