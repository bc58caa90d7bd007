"""The reference pages of the docs are those of the models."""

from __future__ import annotations

from pathlib import Path

import pytest

from marianne_core.config.fields import walk_fields
from marianne_core.config.reference import main, pages, stale_pages
from marianne_core.config.score.job import JobConfig

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.skipif(not DOCS.is_dir(), reason="an installed package has no docs beside it")
def test_the_pages_of_the_docs_are_current() -> None:
    assert stale_pages(DOCS) == [], "run python -m marianne_core.config.reference"


def test_check_finds_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(tmp_path)]) == 1
    assert "score.md is not current" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    page = tmp_path / "score.md"
    page.write_text(page.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    assert stale_pages(tmp_path) == ["score.md"]


def test_every_field_of_a_score_has_a_row() -> None:
    text = dict(pages())["score.md"]
    for field in walk_fields(JobConfig):
        assert f"\n| `{field.key}` | " in text


@pytest.mark.parametrize(
    "row",
    [
        "| `max_concurrent` | whole number, ≥ 1, ≤ 20 | `3` |",
        "| `max_cost_per_job` | number, > 0 | not set |",
        "| `fan_out` | map: number to whole number | `{}` |",
        "| `type` | `run_job`, `run_command`, `run_script` | required |",
        "| `name` | text | required |",
        "| `as` | `context`, `skill`, `tool` | required |",
        "| `on_events` | list of `job_start`",
        "| `identity_context` | text, at most 500 characters | not set |",
    ],
)
def test_rows_say_type_bounds_and_default(row: str) -> None:
    assert row in dict(pages())["score.md"]


def test_marks_of_fields_without_effect_are_there_once_a_block() -> None:
    text = dict(pages())["score.md"]
    block = text.partition("## `stale_detection`\n")[2].partition("\n## ")[0]
    assert block.count("Not yet in effect") == 1


def test_the_socket_of_the_page_is_private() -> None:
    assert "| `permissions` | whole number, ≥ 0 | `0o600` |" in dict(pages())["configuration.md"]


def test_settings_of_the_conductor_are_marked_too() -> None:
    text = dict(pages())["configuration.md"]
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert "Not yet in effect" in rows["daily_budget"]
    assert "effect" not in rows["grace_seconds"]
