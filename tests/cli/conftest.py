from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_tui.cli.guard import run_guarded
from tests.programs import Program

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT, ROOT / "core", ROOT / "widgets", ROOT / "styles"]

SCORE = """\
name: gate
workspace: work
instrument: cli
sheet: {size: 1, total_items: 3}
retry: {max_retries: 0}
prompt:
  template: |
    echo "begin {{ sheet_num }}"
    until [ -e ../open-{{ sheet_num }} ]; do sleep 0.02; done
    printf 'end \\033[31m{{ sheet_num }}\\033[0m\\n'
"""

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
        env = program_env(home, **more)
        if any(name.startswith("PYTHON") for name in more):
            # Something that an interpreter looks at when it starts.
            return subprocess.run(
                [sys.executable, "-m", "marianne_tui", *arguments],
                env=env,
                cwd=cwd,
                capture_output=True,
                text=True,
                timeout=60,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        with Program(["-m", "marianne_tui", *arguments], env=env, cwd=cwd, stderr=True) as program:
            output, told = program.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, program.wait(), output, told)

    return run


@pytest.fixture
def mzt(tmp_path: Path) -> Mzt:
    """`mzt` with a state directory and a working directory of this test alone."""
    return runner(tmp_path / "state", tmp_path)


def on_a_terminal(
    env: dict[str, str], cwd: Path, *arguments: str, typed: bytes = b""
) -> tuple[int, bytes]:
    """Exit status and what a terminal would get, with standard error on it too. What is `typed` is
    there from the beginning."""
    main, side = pty.openpty()
    written = bytearray()

    def read() -> None:
        try:
            while piece := os.read(main, 65536):
                written.extend(piece)
        except OSError:
            return  # the other side is closed

    os.write(main, typed)
    process = subprocess.Popen(
        [sys.executable, "-m", "marianne_tui", *arguments],
        env=env,
        cwd=cwd,
        stdin=side,
        stdout=side,
        stderr=side,
    )
    os.close(side)
    reading = threading.Thread(target=read)
    reading.start()
    status = process.wait(timeout=60)
    reading.join(timeout=10)
    os.close(main)
    return status, bytes(written)


def in_process(
    home: Path, cwd: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Mzt:
    """As `runner`, but in this process, which is ten times faster: for what hosts nothing."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "MARIANNE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in program_env(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(cwd)

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        assert arguments[0] not in ("resume", "retry")
        capsys.readouterr()
        with monkeypatch.context() as changed:
            for name, value in more.items():
                changed.setenv(name, value)
            status = run_guarded(list(arguments))
        told = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, told.out, told.err)

    return run


@pytest.fixture
def mzt_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Mzt:
    """`mzt` in this process, with the directories that `mzt` has in the same test."""
    return in_process(tmp_path / "state", tmp_path, monkeypatch, capsys)


@pytest.fixture
def score(tmp_path: Path) -> Path:
    """`gate.yaml`: three sheets, one after the other, that wait for gates."""
    path = tmp_path / "gate.yaml"
    path.write_text(SCORE)
    return path
