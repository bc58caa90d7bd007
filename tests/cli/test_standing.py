"""What stands together in `mzt status`, so that a long job is a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marianne_tui.cli.picture import in_groups, numbers_words
from marianne_tui.cli.standing import sheet_lines

from .conftest import Mzt


def sheet(num: int, status: str = "pending", reason: str = "", **more: Any) -> dict[str, Any]:
    return {
        "num": num,
        "movement": num,
        "status": status,
        "attempts": 0,
        "instrument": "cli",
        "reason": reason,
        "started_at": None,
        "finished_at": None,
        **more,
    }


SHEETS = [
    sheet(1, "completed", attempts=1, started_at=1.0, finished_at=2.0),
    sheet(2, "in_progress", attempts=1, started_at=2.0),
    sheet(3, "pending", "waits for sheet 2"),
    sheet(4, "pending", "waits for sheet 1"),
    sheet(5, "pending", "waits for sheet 2"),
    sheet(6, "pending", "waits for sheet 2"),
    sheet(7, "retry_scheduled", "waits for sheet 2", attempts=1),
    sheet(8, "skipped", "blocked by sheet 7"),
    sheet(9, "skipped", "blocked by sheet 7"),
    sheet(10, "pending", "waits for sheet 2", instrument="claude-code"),
]


def test_equal_waits_stand_together() -> None:
    assert [[each["num"] for each in group] for group in in_groups(SHEETS)] == [
        [1],
        [2],
        [3, 5, 6],
        [4],
        [7],
        [8, 9],
        [10],
    ]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([4], "4"),
        ([9, 4, 5, 6, 7, 8, 12], "4-9, 12"),
        ([1, 3, 5, 7, 9], "1, 3, 5, 7, 9"),
        ([1, 3, 5, 7, 9, 11, 12], "1, 3, 5, 7 ... 11-12"),
    ],
)
def test_numbers_in_words(numbers: list[int], words: str) -> None:
    assert numbers_words([sheet(num) for num in numbers]) == words


def test_a_group_is_one_line_and_all_lists_each_sheet() -> None:
    lines = sheet_lines(SHEETS, [], False, 3.0)
    assert len(lines) == 8
    assert sum("waits for sheet 2" in line for line in lines) == 3
    (group,) = [line for line in lines if "3, 5-6" in line]
    assert "movement 3 ... movement 6" in group
    assert len(sheet_lines(SHEETS, [], True, 3.0)) == 11


def test_of_a_long_job_the_groups_are_shown_too() -> None:
    sheets = [sheet(n, "completed", attempts=1) for n in range(1, 100)]
    sheets += [sheet(n, "pending", "waits for sheet 99") for n in range(100, 200)]
    lines = sheet_lines(sheets, [], False, 3.0)
    assert any("100-199" in line for line in lines)
    assert len(lines) == 3
    assert "99 completed" in lines[-1]
    assert "--all" in lines[-1]


def test_a_job_that_is_not_named_after_its_score_says_so(mzt: Mzt, tmp_path: Path) -> None:
    text = "name: a\nworkspace: ../w\ninstrument: cli\nsheet: {size: 1, total_items: 1}\n"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "song.yaml").write_text(text + "prompt: {template: 'true'}\n")
    first = mzt("run", "one/song.yaml")
    assert "its job is" not in first.stdout
    second = mzt("run", "two/song.yaml")
    assert (
        f"its job is song-2: the id song belongs to {tmp_path / 'one/song.yaml'}" in second.stdout
    )
    assert "✓ song-2#1 completed" in second.stdout
