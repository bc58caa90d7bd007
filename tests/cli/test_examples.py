"""The examples, run as a person runs them, and what the reading commands say afterwards."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Mzt, in_process, runner

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def house(place: Path) -> Mzt:
    """A state directory in which hello, blocked and flaky were run, each once."""
    mzt = runner(place / "state", place)
    for name, status in (("hello", 0), ("blocked", 1), ("flaky", 0)):
        done = mzt("run", str(EXAMPLES / f"{name}.yaml"), "-w", str(place / name))
        (place / f"{name}.out").write_text(done.stdout)
        assert done.returncode == status, done.stdout + done.stderr
    return mzt


@pytest.fixture
def look(
    house: Mzt, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Mzt:
    """Commands that read what `house` did."""
    return in_process(place / "state", place, monkeypatch, capsys)


def status_of(mzt: Mzt, job: str) -> dict[str, Any]:
    done = mzt("status", job, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def test_hello_plays_three_movements(look: Mzt, place: Path) -> None:
    assert (place / "hello" / "finale.txt").read_text().splitlines() == [
        "Theme and variations",
        "1. hello world",
        "2. HELLO WORLD",
        "3. h3ll0 w0rld",
        "4. hello ... world",
    ]
    document = status_of(look, "hello")
    assert list(document) == [
        "job_id",
        "run",
        "status",
        "interrupted",
        "reason",
        "sheets_total",
        "sheets_completed",
        "sheets",
    ]
    assert [sheet["movement"] for sheet in document["sheets"]] == [1, 2, 2, 2, 3]
    assert list(document["sheets"][0]) == [
        "num",
        "movement",
        "status",
        "attempts",
        "instrument",
        "exit_code",
        "reason",
        "started_at",
        "finished_at",
        "so_far",
    ]
    assert document["status"] == "completed"


def test_foreign_text_is_quoted(house: Mzt, place: Path) -> None:
    done = house(
        "run",
        str(EXAMPLES / "hello.yaml"),
        "-w",
        str(place / "quoted"),
        "--var",
        "who='; touch pwned; echo $(id)'",
    )
    assert done.returncode == 0, done.stdout
    assert not list((place / "quoted").glob("pwned"))
    assert "; touch pwned; echo $(id)" in (place / "quoted" / "theme.txt").read_text()


def test_lines_of_a_pipe_tell_every_event(look: Mzt, place: Path) -> None:
    lines = (place / "hello.out").read_text().splitlines()
    assert lines[0] == "hello#1: 0 of 5 sheets completed"
    assert sum("completed" in line and "sheet" in line and "#" not in line for line in lines) == 5
    assert lines[-1] == "✓ hello#1 completed: 5 completed"


def test_blocked_skips_the_dependents_and_says_why(look: Mzt, place: Path) -> None:
    sheets = status_of(look, "blocked")["sheets"]
    assert [s["status"] for s in sheets] == [
        "completed",
        "failed",
        "skipped",
        "skipped",
        "completed",
    ]
    assert sheets[1]["exit_code"] == 3
    assert "no key" in sheets[1]["reason"]
    assert sheets[2]["reason"] == sheets[3]["reason"] == "blocked by sheet 2"
    last = (place / "blocked.out").read_text().splitlines()
    assert "1 failed, 2 skipped, 2 completed" in last[-2]
    assert "mzt errors blocked" in last[-1]


def test_flaky_retries_with_backoff_and_completes(look: Mzt, place: Path) -> None:
    records = json.loads(look("history", "flaky", "--json").stdout)["records"]
    told = [(r["sheet"], r["attempt"], r["mode"], r["ended"], r["pass_rate"]) for r in records]
    assert told[:2] == [(1, 1, "normal", "failed", 100.0), (1, 2, "normal", "failed", 100.0)]
    assert told[2:] == [
        (1, 3, "normal", "ok", 100.0),
        (2, 1, "normal", "ok", 50.0),
        (2, 2, "completion", "ok", 100.0),
    ]
    waits = [
        later["started_at"] - earlier["finished_at"] for earlier, later in pairwise(records[:3])
    ]
    assert waits[0] >= 0.99
    assert waits[1] >= 1.99
    assert "retrying" in (place / "flaky.out").read_text()


@pytest.mark.parametrize(("name", "sheets"), [("wide", 200), ("chain", 30)])
def test_the_other_examples_complete(name: str, sheets: int, mzt: Mzt, tmp_path: Path) -> None:
    done = mzt("run", str(EXAMPLES / f"{name}.yaml"), "-q", "-w", str(tmp_path / name))
    assert done.returncode == 0, done.stderr + mzt("errors", name).stdout
    assert (done.stdout, done.stderr) == ("", "")
    assert status_of(mzt, name)["sheets_completed"] == sheets


def test_examples_have_nothing_to_complain_about(mzt_here: Mzt) -> None:
    for score in sorted(EXAMPLES.glob("*.yaml")):
        done = mzt_here("validate", str(score), "--json")
        document = json.loads(done.stdout)
        assert (done.returncode, document["problems"]) == (0, []), score.name
        assert document["not_in_effect"] == []
        assert "mzt run examples/" + score.name in score.read_text()


def test_list_and_history_know_the_runs(look: Mzt) -> None:
    assert "mzt list --all" in look("list").stdout
    jobs = json.loads(look("list", "--all", "--json").stdout)
    assert {job["job_id"] for job in jobs} == {"hello", "blocked", "flaky"}
    failed = json.loads(look("list", "-s", "failed", "--json").stdout)
    assert [job["job_id"] for job in failed] == ["blocked"]
    runs = json.loads(look("history", "--json").stdout)
    assert len(runs) >= 3
    assert look("history", "blocked").stdout.splitlines()[0] == "blocked#1 failed"


def test_errors_name_attempts_validations_and_blocked_sheets(look: Mzt) -> None:
    document = json.loads(look("errors", "blocked", "--json").stdout)
    [error] = document["errors"]
    assert (error["sheet"], error["exit_code"], error["final"]) == (2, 3, True)
    assert [blocked["sheet"] for blocked in document["blocked"]] == [3, 4]
    flaky = json.loads(look("errors", "flaky", "--sheet", "2", "--json").stdout)
    [partial] = flaky["errors"]
    assert partial["final"] is False
    assert partial["validations"][0]["description"] == "the second half is there"
    assert json.loads(look("errors", "flaky", "--final", "--json").stdout)["errors"] == []
    assert "no errors" in look("errors", "hello").stdout
    text = look("errors", "flaky").stdout
    assert "the second half is there" in text
    assert "hint: " in text


def test_logs_show_files_of_attempts(look: Mzt) -> None:
    assert look("logs", "hello#1", "--sheet", "1").stdout == "hello world\n"
    assert look("logs", "blocked", "--sheet", "2", "--stderr").stdout == (
        "cannot open the vault: no key\n"
    )
    first = look("logs", "flaky", "-b", "1", "--attempt", "1", "--stderr").stdout
    assert first == "try 1: the network is not there yet\n"
    every = look("logs", "hello#1").stdout
    assert every.count("==> sheet ") == 5
    assert look("logs", "hello#1", "-b", "5", "-n", "1").stdout == "4. hello ... world\n"
    document = json.loads(look("logs", "hello#1", "-b", "1", "--json").stdout)
    assert document["logs"][0]["text"] == "hello world\n"
    wrong = look("logs", "hello#1", "-b", "9")
    assert wrong.returncode == 2
    assert "sheets 1 to 5" in wrong.stderr
    assert look("logs", "hello#1", "-b", "1", "--attempt", "7").returncode == 2


def test_following_an_ended_job_prints_it_and_ends(look: Mzt) -> None:
    assert look("logs", "hello#1", "-b", "1", "-f").stdout == "hello world\n"
    lines = look("logs", "hello#1", "-f", "--json").stdout.splitlines()
    assert {"sheet": 1, "attempt": 1, "stream": "stdout", "line": "hello world"} in [
        json.loads(line) for line in lines
    ]


def test_unknown_jobs_and_runs_are_told(look: Mzt) -> None:
    for arguments in (
        ["status", "nope"],
        ["errors", "hello#9"],
        ["logs", "nope"],
        ["history", "nope"],
        ["pause", "nope"],
        ["cancel", "hello#9"],
        ["clear", "-y", "--job", "nope"],
    ):
        done = look(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("mzt: ")
        assert "hint: " in done.stderr


def test_status_in_words(look: Mzt) -> None:
    lines = look("status", "blocked").stdout.splitlines()
    assert lines[0].startswith("blocked#1  ✗ failed · 2 of 5 sheets completed")
    assert any("Break" in line and "exit status 3" in line for line in lines)
    assert "mzt retry blocked" in lines[-1]
    overview = look("status").stdout
    assert "no conductor is running" in overview
    assert "blocked#1" in overview
