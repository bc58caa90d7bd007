"""Questions about sheets, codes and jobs that there are not: a mistake never looks like good news."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Mzt

SCORE = """\
name: two
workspace: work
instrument: cli
sheet: {size: 1, total_items: 2}
retry: {max_retries: 0}
prompt: {template: 'exit {{ sheet_num + 2 }}'}
"""


@pytest.fixture
def two(tmp_path: Path, mzt: Mzt) -> None:
    (tmp_path / "two.yaml").write_text(SCORE)
    assert mzt("run", "two.yaml", "-q").returncode == 1


def test_sheets_and_codes_that_there_are_not(two: None, mzt_here: Mzt) -> None:
    for command in ("logs", "errors", "history"):
        done = mzt_here(command, "two", "-b", "9")
        assert done.returncode == 2
        assert done.stderr == "mzt: two#1: there is no sheet 9\n  hint: it has sheets 1 to 2\n"
    known = json.loads(mzt_here("errors", "two", "--json").stdout)["errors"][0]["code"]
    for code in (known, known.lower()):
        assert len(json.loads(mzt_here("errors", "two", "-c", code, "--json").stdout)["errors"])
    done = mzt_here("errors", "two", "-c", "exit")
    assert done.returncode == 2
    assert "codes look like E001" in done.stderr


def test_silence_is_explained(two: None, mzt_here: Mzt) -> None:
    for line, told in (
        (["-b", "1"], "mzt: sheet 1, attempt 1: nothing on stdout\n"),
        (["-b", "1", "--stderr"], "mzt: sheet 1, attempt 1: nothing on stderr\n"),
        (["-b", "2"], "mzt: sheet 2 has not run\n"),
        (["-b", "1", "-n", "0"], ""),
    ):
        done = mzt_here("logs", "two", *line)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", told)


def test_more_is_promised_only_where_there_is_more(two: None, mzt: Mzt, mzt_here: Mzt) -> None:
    assert "--limit" not in mzt_here("list", "-a", "-l", "1").stdout
    assert "--limit" not in mzt_here("history", "-n", "1").stdout
    assert mzt("run", "two.yaml", "-q").returncode == 1
    assert (
        "only the newest 1 are shown; --limit shows more" in mzt_here("history", "-n", "1").stdout
    )
    assert len(json.loads(mzt_here("history", "-n", "1", "--json").stdout)) == 1


def test_a_name_that_is_nearly_one_is_recognised(mzt: Mzt, mzt_here: Mzt, tmp_path: Path) -> None:
    (tmp_path / "My score.yaml").write_text(SCORE)
    assert mzt("run", "My score.yaml", "-q").returncode == 1
    for typed in ("My score.yaml", "./My score.yaml", "my score", "My", "my-scroe"):
        done = mzt_here("status", typed)
        assert done.returncode == 2
        assert "did you mean My-score?" in done.stderr, typed
    assert "did you mean" not in mzt_here("status", "symphony").stderr
