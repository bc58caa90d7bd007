"""Credentials that an agent prints or writes: in its own files, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marianne_core.read.redact import MARK
from marianne_core.run.instrument.tails import last_line, one_line

from .conftest import Mzt, in_process, runner

KEY = "sk-ant-api03-" + "Ab9_-" * 8
HALF = KEY[:24]
"""What must be found nowhere: enough of it to know it by."""
SCORE = """
name: song
workspace: ws
instrument: singer
sheet: {size: 1, total_items: 4, dependencies: {4: [1, 2, 3]}}
retry: {max_retries: 0, max_completion_attempts: 0}
prompt: {template: "sing {{ sheet_num }} with KEY"}
validations:
  - {type: content_contains, path: "{workspace}/said", pattern: la, condition: "sheet_num == 2"}
  - {type: command_succeeds, command: cat said; false, condition: "sheet_num == 3"}
"""
PROFILE = """
name: singer
display_name: Singer
kind: cli
raw_prompt: true
cli:
  command: {executable: SINGER, prompt_via_stdin: false}
  output: {format: json, result_path: answer}
  errors: {auth_error_patterns: [refused]}
"""
SINGER = """#!/bin/sh
cat "$HOME/key" > said
case "$1" in
*1*) printf '%s is refused: %s\\n' "$(head -c 185 /dev/zero | tr '\\0' x)" "$(cat said)" >&2; exit 3;;
*) printf '{"answer": "it is %s."}\\n' "$(cat said)";;
esac
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("credentials")
    (place / "key").write_text(KEY)
    (place / "singer").write_text(SINGER)
    (place / "singer").chmod(0o755)
    instruments = place / ".marianne" / "instruments"
    instruments.mkdir(parents=True)
    profile = PROFILE.replace("SINGER", str(place / "singer"))
    (instruments / "singer.yaml").write_text(profile)
    (place / "song.yaml").write_text(SCORE.replace("KEY", "a voice"))
    (place / "secret.yaml").write_text(SCORE.replace("KEY", KEY))
    done = runner(place / "state", place)("run", "song.yaml", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    (place / "events").write_text(done.stdout)
    return place


@pytest.fixture
def look(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mzt:
    return in_process(place / "state", place, monkeypatch, capsys)


def test_they_stay_in_what_the_agent_wrote(place: Path) -> None:
    found = {
        path.suffix
        for path in (place / "state").rglob("*")
        if path.is_file() and HALF.encode() in path.read_bytes()
    }
    assert found == {".out", ".err"}


def test_answers_are_stored_without_them(place: Path) -> None:
    answers = [path.read_text() for path in (place / "state").rglob("*.txt")]
    assert answers == [f"it is {MARK}."] * 2


def test_reasons_and_reports_have_none(look: Mzt, place: Path) -> None:
    told = [
        look(*line.split()).stdout
        for line in ("errors song", "errors song --json", "status song --json", "history song")
    ]
    told.append((place / "events").read_text())
    for text in told:
        assert HALF not in text
        assert HALF[:14] not in text
    reasons = [sheet["reason"] for sheet in json.loads(told[2])["sheets"]]
    assert MARK in reasons[2]
    assert MARK in told[1]


def test_prompts_are_shown_without_them(look: Mzt) -> None:
    for line in ("validate -v secret.yaml", "run --dry-run secret.yaml"):
        done = look(*line.split())
        assert done.returncode == 0, done.stderr
        assert f"with {MARK}" in done.stdout
        assert HALF not in done.stdout


@pytest.mark.parametrize("before", [150, 185, 190, 3900, 3990, 4010])
def test_one_at_a_cut_leaves_nothing(before: int) -> None:
    for shift in range(60):
        text = "x " * (before // 2) + " " * shift + KEY + " end " + "y" * 3960
        assert "sk-ant" not in one_line(text)
        assert KEY[-12:] not in last_line(text)
        assert "sk-ant" not in last_line(text)
