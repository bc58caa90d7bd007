"""validate, dry runs, init, doctor, instruments: commands that run no sheet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import ROOT, Mzt

HEAD = "name: x\nworkspace: work\ninstrument: cli\n"
SHEET = "sheet: {size: 1, total_items: 2}\n"

REFUSED = {
    "empty": ("", 2, "empty"),
    "a list": ("- 1\n", 2, "mapping"),
    "a tab": ("a:\n\tb: 1\n", 2, "tab"),
    "two keys": ("name: x\nname: y\n", 2, "twice"),
    "unknown key": (HEAD + SHEET + "promt: {template: hi}\n", 2, "did you mean `prompt`"),
    "undefined variable": (HEAD + SHEET + "prompt: {template: '{{ nobody }}'}\n", 1, "nobody"),
    "broken Jinja": (HEAD + SHEET + "prompt: {template: '{% if %}'}\n", 1, "V001"),
    "unknown instrument": (
        HEAD.replace("cli", "nope") + SHEET + "prompt: {template: hi}\n",
        1,
        "'nope'",
    ),
    "cycle": (
        HEAD
        + "sheet: {size: 1, total_items: 2, dependencies: {1: [2], 2: [1]}}\n"
        + "prompt: {template: hi}\n",
        1,
        "round in a circle",
    ),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_validate_tells_and_run_refuses(what: str, mzt_here: Mzt, tmp_path: Path) -> None:
    text, status, words = REFUSED[what]
    (tmp_path / "bad.yaml").write_text(text)
    done = mzt_here("validate", "bad.yaml")
    told = done.stdout + done.stderr
    assert done.returncode == status, told
    assert words in told
    assert "bad.yaml" in told
    assert "Traceback" not in told
    document = json.loads(mzt_here("validate", "bad.yaml", "--json").stdout)
    assert document["valid"] is False
    assert any(problem["severity"] == "error" for problem in document["problems"])
    run = mzt_here("run", "bad.yaml")
    assert run.returncode == 2
    assert words in run.stderr
    # Nothing was started: not even a state directory was made.
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "work").exists()


def test_validate_shows_all_problems_levels_preview_and_fields_without_effect(
    mzt_here: Mzt, tmp_path: Path
) -> None:
    (tmp_path / "score.yaml").write_text(
        HEAD
        + "sheet: {size: 1, total_items: 3, fan_out: {2: 2}, dependencies: {2: [1], 3: [2]}}\n"
        + "stale_detection: {enabled: true}\n"
        + "prompt: {template: 'hello {{ sheet_num }} {{ nobody }} {{ noone }}'}\n"
    )
    done = mzt_here("validate", "score.yaml")
    assert done.returncode == 1
    assert "score.yaml:6" in done.stdout
    assert "'nobody'" in done.stdout
    assert "  2  sheets 2-3" in done.stdout
    assert "accepted, not yet in effect" in done.stdout
    assert "stale_detection" in done.stdout
    good = mzt_here("validate", "score.yaml", "--var", "nobody=a", "--var", "noone=b", "-v")
    assert good.returncode == 0, good.stdout
    assert "  | hello 4 a b" in good.stdout


def test_run_refuses_an_instrument_that_validate_only_warns_of(
    mzt_here: Mzt, tmp_path: Path
) -> None:
    (tmp_path / "agent.yaml").write_text(
        HEAD.replace("cli", "recursive_light") + SHEET + "prompt: {template: hi}\n"
    )
    assert mzt_here("validate", "agent.yaml").returncode == 0
    done = mzt_here("run", "agent.yaml", "-n")
    assert done.returncode == 2
    assert "recursive_light" in done.stderr


def test_an_agent_whose_program_is_missing_is_named_when_it_is_played(
    mzt: Mzt, tmp_path: Path
) -> None:
    (tmp_path / "agent.yaml").write_text(
        HEAD.replace("cli", "claude-code") + SHEET + "prompt: {template: hi}\n"
    )
    environ = {"PATH": "/nowhere"}
    assert mzt("validate", "agent.yaml", **environ).returncode == 0
    done = mzt("run", "agent.yaml", "-q", **environ)
    assert done.returncode == 1
    errors = mzt("errors", "agent", **environ).stdout
    assert "E505" in errors
    assert "claude" in errors


def test_another_workspace_replaces_a_bad_one(mzt_here: Mzt, tmp_path: Path) -> None:
    (tmp_path / "score.yaml").write_text(
        HEAD.replace("work\n", "no/such/folder\n") + SHEET + "prompt: {template: hi}\n"
    )
    assert mzt_here("run", "score.yaml", "-n").returncode == 2
    assert mzt_here("run", "score.yaml", "-n", "-w", "work").returncode == 0


def test_a_dry_run_shows_the_plan_and_starts_nothing(mzt_here: Mzt, tmp_path: Path) -> None:
    done = mzt_here("run", "-n", str(ROOT / "examples" / "hello.yaml"), "-w", "here", "-s", "2")
    assert done.returncode == 0
    assert "sheets 2-4" in done.stdout
    assert "instrument_config.timeout_seconds" in done.stdout
    assert "skipped: before --start-sheet 2" in done.stdout
    assert "sheet 2 is sent to cli:" in done.stdout
    assert str(tmp_path / "here") in done.stdout
    document = json.loads(
        mzt_here("run", "-n", "--json", str(ROOT / "examples" / "wide.yaml")).stdout
    )
    assert document["levels"] == [[[1, 1]], [[2, 199]], [[200, 200]]]
    assert document["sheets"][199]["depends_on"] == [[2, 199]]
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-s", "9"], "there is no sheet 9"),
        (["-w", "gone/deep"], "the workspace cannot be made"),
        (["-w", "long" * 100], "the workspace cannot be made: File name too long"),
        (["--var", "x"], "KEY=VALUE"),
    ],
)
def test_wrong_options_of_run_are_input_errors(
    options: list[str], words: str, mzt_here: Mzt
) -> None:
    done = mzt_here("run", str(ROOT / "examples" / "hello.yaml"), *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_init_writes_a_score_that_runs(mzt: Mzt, tmp_path: Path) -> None:
    assert mzt("init", "first").returncode == 0
    checked = json.loads(mzt("validate", "first.yaml", "--json").stdout)
    assert [p for p in checked["problems"] if p["severity"] != "info"] == []
    done = mzt("run", "first.yaml", "-q")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "first.workspace" / "note-3.txt").read_text() == (
        "sheet 3 read: sheet 2 read: a note from the first sheet\n"
    )
    again = mzt("init", "first")
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert mzt("init", "first", "--force").returncode == 0
    assert mzt("init", "../escape").returncode == 2
    assert mzt("init", "x", "--path", "first.yaml/sub").returncode == 2
    assert json.loads(mzt("init", "y", "-p", "deep/er", "--json").stdout) == {
        "created": "deep/er/y.yaml",
        "instrument": "cli",
    }


def test_doctor_finds_a_good_machine_and_a_bad_one(mzt_here: Mzt, tmp_path: Path) -> None:
    done = mzt_here("doctor", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0, document
    names = [check["name"] for check in document["checks"]]
    assert names[:6] == ["python", "shell", "state directory", "locks", "database", "disk"]
    assert "instrument cli" in names
    missing = mzt_here("doctor", PATH="/nowhere")
    assert missing.returncode == 1
    assert "bash is not in PATH" in missing.stdout
    (tmp_path / "file").write_text("")
    blocked = mzt_here("doctor", MARIANNE_HOME=str(tmp_path / "file"))
    assert blocked.returncode == 1
    assert "not ready" in blocked.stdout
