"""`mzt logs` of agents that print events: readable lines, bytes, and what follows while they work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from marianne_core.read.redact import MARK
from marianne_tui.cli.tailing import Part, Printer

from .conftest import ROOT, Mzt, in_process, runner

RECORDING = ROOT / "tests" / "recordings" / "claude-code" / "write.out"
KEY = "sk-ant-api03-" + "Ab9_-" * 8
SCORE = """
name: song
workspace: ws
instrument: singer
sheet: {size: 1, total_items: 2}
prompt: {template: sing}
"""
PROFILE = """
name: singer
display_name: Singer
kind: cli
raw_prompt: true
cli:
  command: {executable: SINGER}
  output: {format: jsonl, dialect: claude}
"""
LINES = [
    "(claude-sonnet-5-5, permissions: bypassPermissions)",
    "[Write] out.txt",
    "  -> File created successfully at: out.txt"
    " (file state is current in your context — no need to Read it back)",
    "so far: 123 tokens in, 1 out",
    "The stub model says: done.",
    "done: 2 turns, 246 tokens in, 90 out, $0.0014",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which an agent of two sheets said what is recorded."""
    place = tmp_path_factory.mktemp("logs")
    singer = place / "singer"
    shutil.copy(RECORDING, place / "said")
    singer.write_text(f"#!/bin/sh\ncat {place}/said\necho 'my key: {KEY}' >&2\n")
    singer.chmod(0o755)
    instruments = place / ".marianne" / "instruments"
    instruments.mkdir(parents=True)
    (instruments / "singer.yaml").write_text(PROFILE.replace("SINGER", str(singer)))
    (place / "song.yaml").write_text(SCORE)
    done = runner(place / "state", place)("run", "song.yaml", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.fixture
def look(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mzt:
    return in_process(place / "state", place, monkeypatch, capsys)


@pytest.mark.parametrize("follow", [(), ("-f",)], ids=["shown", "followed"])
def test_events_are_readable_lines(look: Mzt, follow: tuple[str, ...]) -> None:
    assert look("logs", "song", "--sheet", "1", *follow).stdout.splitlines() == LINES


@pytest.mark.parametrize("follow", [(), ("-f",)], ids=["shown", "followed"])
def test_lines_that_are_shown_are_counted(look: Mzt, follow: tuple[str, ...]) -> None:
    """Not those of the file; and tokens are those of the whole."""
    told = look("logs", "song", "--sheet", "1", "-n", "3", *follow).stdout
    assert told.splitlines() == LINES[-3:]
    every = look("logs", "song", "-n", "1", *follow).stdout.splitlines()
    if follow:
        assert every == [f"sheet {n} | {LINES[-1]}" for n in (1, 2)]
        return
    assert every[::2] == [f"==> sheet {n}, attempt 1, stdout <==" for n in (1, 2)]
    assert every[1::2] == LINES[-1:] * 2


def test_raw_is_the_file_itself(look: Mzt) -> None:
    assert look("logs", "song", "--sheet", "2", "--raw").stdout == RECORDING.read_text()
    last = RECORDING.read_text().splitlines(keepends=True)[-1]
    assert look("logs", "song", "--sheet", "2", "--raw", "-n", "1").stdout == last


def test_json_keeps_the_events(look: Mzt) -> None:
    document = json.loads(look("logs", "song", "--sheet", "1", "--json").stdout)
    assert document["logs"][0]["text"] == RECORDING.read_text()
    lines = look("logs", "song", "--sheet", "1", "-f", "--json").stdout.splitlines()
    assert [json.loads(line)["line"] for line in lines] == RECORDING.read_text().splitlines()


def test_credentials_are_shown_by_raw_alone(look: Mzt, place: Path) -> None:
    for options in ((), ("-f",), ("--json",), ("-f", "--json"), ("-n", "1")):
        told = look("logs", "song", "--stderr", *options).stdout
        assert MARK in told
        assert "sk-ant" not in told
    assert KEY in look("logs", "song", "--stderr", "--raw").stdout
    (kept,) = (place / "state").rglob("1.1.err")
    assert KEY in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_an_instrument_without_a_profile_is_plain_text(look: Mzt, place: Path) -> None:
    profile = place / ".marianne" / "instruments" / "singer.yaml"
    profile.rename(place / "aside")
    try:
        told = look("logs", "song", "--sheet", "1").stdout
    finally:
        (place / "aside").rename(profile)
    assert told == RECORDING.read_text()


def test_a_file_that_grows_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it grows by half a line, half a character or half a credential."""
    path = tmp_path / "1.1.out"
    for dialect, ends in (("claude", ""), ("text", KEY)):
        data = RECORDING.read_bytes() + f"ünd {ends}".encode()
        cuts = sorted({*range(0, len(data), 97), *range(len(data) - 60, len(data))})
        path.write_bytes(b"")
        part, printer = Part(1, 1, "stdout", path, dialect), Printer(headers=False, raw=False)
        printer.begin(part, None, over=False)
        told = ""
        for start, end in zip(cuts, [*cuts[1:], len(data)], strict=True):
            with path.open("ab") as file:
                file.write(data[start:end])
            assert printer.go_on(part)
            told += capsys.readouterr().out
            assert "sk-" not in told
        printer.finish(part)
        told += capsys.readouterr().out
        if dialect == "claude":
            assert told.splitlines() == [*LINES, "ünd "]
        else:
            assert told == RECORDING.read_text() + f"ünd {MARK}"


def test_lines_of_sheets_that_write_at_the_same_time_stay_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("3.1.out", "12.2.out")]
    parts = [Part(3, 1, "stdout", files[0], "text"), Part(12, 2, "stdout", files[1], "text")]
    printer = Printer(headers=True, raw=False, prefix=2)
    for number, piece in enumerate(["a", "b\nc", "d\n", "rest"]):
        for part, path in zip(parts, files, strict=True):
            with path.open("a") as file:
                file.write(piece)
            if number:
                printer.go_on(part)
            else:
                printer.begin(part, None, over=False)
    for part in parts:
        printer.finish(part)
    assert capsys.readouterr().out.splitlines() == [
        "sheet  3 | ab",
        "sheet 12.2 | ab",
        "sheet  3 | cd",
        "sheet 12.2 | cd",
        "sheet  3 | rest",
        "sheet 12.2 | rest",
    ]
