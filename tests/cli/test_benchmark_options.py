"""Benchmarks are programs of this house, too: a wrong option is a sentence."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
PROGRAMS = sorted(path.name for path in FOLDER.glob("[!_]*.py"))


def status_of(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.syspath_prepend(str(FOLDER))
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize("name", PROGRAMS)
def test_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(name, "--help", monkeypatch=monkeypatch) == 0
    assert f"usage: {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "option", "value", "words"),
    [
        ("throughput.py", "--dir", "/nope", "there is no folder '/nope'"),
        ("chain.py", "--dir", "/dev/null", "there is no folder '/dev/null'"),
        ("scaling.py", "--rounds", "0", "a whole number of at least 1, not '0'"),
        ("memory.py", "--sheets", "-3", "a whole number of at least 1, not '-3'"),
        ("scheduler.py", "--rounds", "x", "a whole number of at least 1, not 'x'"),
        ("agents.py", "--agents", "0", "a whole number of at least 1, not '0'"),
        ("agents.py", "--rate", "7", "--rate must be a multiple of 10"),
        ("startup.py", "--runds", "3", "unrecognized arguments: --runds"),
    ],
)
def test_wrong_options(
    name: str,
    option: str,
    value: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status_of(name, f"{option}={value}", monkeypatch=monkeypatch) == 2
    assert words in capsys.readouterr().err
