from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from marianne_tui.cli.live import LiveView, picture
from marianne_tui.cli.picture import chosen, counts_words, elapsed, moment, note


def sheet(num: int, status: str = "pending", **more: Any) -> dict[str, Any]:
    facts = {
        "num": num,
        "movement": 1,
        "status": status,
        "attempts": 0,
        "instrument": "cli",
        "exit_code": None,
        "reason": None,
        "started_at": None,
        "finished_at": None,
    }
    return {**facts, **more}


def status(sheets: list[dict[str, Any]], state: str = "running", **more: Any) -> dict[str, Any]:
    return {
        "job_id": "song",
        "run": 2,
        "status": state,
        "reason": None,
        "sheets_total": len(sheets),
        "sheets_completed": sum(s["status"] == "completed" for s in sheets),
        "sheets": sheets,
        **more,
    }


def painted(
    doc: dict[str, Any], width: int = 100, height: int = 24, plain: bool = False
) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(
        picture(
            doc,
            titles={2: "Second\x1b[2J"},
            now=110.0,
            started=100.0,
            height=height,
            width=width,
            plain=plain,
        )
    )
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_it_shows_states_in_words_elapsed_times_retries_and_reasons() -> None:
    lines = painted(
        status(
            [
                sheet(1, "completed", started_at=100.0, finished_at=103.5),
                sheet(2, "in_progress", started_at=108.0, attempts=2),
                sheet(3, "pending", reason="waits for sheet 2"),
            ]
        )
    )
    assert "song#2" in lines[0]
    assert "33%" in lines[1]
    assert "running · 1 of 3 sheets completed · 10 s" in lines[0]
    assert "✓ 1 movement 1" in lines[2]
    assert "3.5 s" in lines[2]
    assert "▶ 2 Second" in lines[3]
    assert "in progress" in lines[3]
    assert "2.0 s try 2" in lines[3]
    assert "waits for sheet 2" in lines[4]
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 12), (20, 6)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    sheets = [
        sheet(n, "in_progress" if n % 7 == 0 else "pending", started_at=100.0)
        for n in range(1, 300)
    ]
    sheets[49]["reason"] = "a reason that is long " * 20
    lines = painted(status(sheets, reason="everything " * 40), width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [40, 80, 140])
def test_a_long_reason_takes_no_room_from_numbers_and_states(width: int) -> None:
    sheets = [
        sheet(1, "completed", started_at=100.0, finished_at=100.5),
        sheet(2, "failed", attempts=12, reason="no key " * 40),
    ]
    lines = painted(status(sheets), width)
    assert lines[2].startswith("✓ 1 ")
    assert "completed" in lines[2]
    assert lines[3].startswith("✗ 2 Second")
    assert "failed" in lines[3]
    assert lines[3].endswith("…")
    assert width < 60 or "try 12 cli no key" in lines[3]


def test_a_wide_run_shows_what_matters_and_counts_the_rest() -> None:
    sheets = [sheet(n, "completed") for n in range(1, 101)]
    sheets[41] = sheet(42, "failed", exit_code=3)
    sheets[61] = sheet(62, "retry_scheduled", reason="retry after exit status 1, 2 s left")
    lines = painted(status(sheets), height=14)
    assert any("✗ 42" in line and "exit status 3" in line for line in lines)
    assert any("↻ 62" in line and "2 s left" in line for line in lines)
    assert "1 retry scheduled, 1 failed, 98 completed" in lines[-1]


def test_the_bar_counts_what_is_completed_alone() -> None:
    ends = ["completed", "failed", "skipped", "cancelled", "cancelled", "pending"]
    doc = status([sheet(n, end) for n, end in enumerate(ends, 1)], "cancelled")
    assert painted(doc, width=68, plain=True)[1] == "#" * 10 + "x" * 40 + "-" * 10 + "  17%"
    done = status([sheet(1, "completed")], "completed")
    assert painted(done, width=68, plain=True)[1] == "#" * 60 + " 100%"


def test_plain_glyphs_keep_to_ascii() -> None:
    lines = painted(status([sheet(1, "failed")], "failed"), plain=True)
    assert lines[0].startswith("x song#2 - failed")


def test_the_last_picture_stays_on_the_screen() -> None:
    console = Console(
        file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None
    )
    view = LiveView(console)
    view.begin(status([sheet(1, "in_progress", started_at=1.0)]))
    view.say("draining: \x1b[2Jno new sheets")
    view.end(status([sheet(1, "completed", started_at=1.0, finished_at=2.0)], "completed"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "draining: no new sheets" in text
    last = [line for line in text.splitlines() if "song#2" in line][-1]
    assert "completed - 1 of 1 sheet completed" in last
    assert text.removesuffix("\x1b[?25h").endswith("\n")


def test_moments_are_read_from_text_and_numbers() -> None:
    assert moment("1970-01-01T00:01:00+00:00") == 60.0
    assert moment("1970-01-01T00:01:00Z") == 60.0
    assert moment(61) == 61.0
    assert moment(None) is None
    assert moment("yesterday") is None


def test_elapsed_of_a_sheet_that_waits_for_its_next_try_is_unknown() -> None:
    assert elapsed(sheet(1, "retry_scheduled", started_at=10.0), 20.0) is None
    assert elapsed(sheet(1, "in_progress", started_at=10.0, finished_at=5.0), 20.0) == 10.0


def test_chosen_keeps_the_order_of_the_sheets() -> None:
    sheets = [sheet(1, "completed"), sheet(2, "failed"), sheet(3, "in_progress"), sheet(4)]
    assert [s["num"] for s in chosen(sheets, 2)] == [2, 3]
    assert [s["num"] for s in chosen(sheets, 9)] == [1, 2, 3, 4]
    assert counts_words(sheets) == "1 in progress, 1 failed, 1 pending, 1 completed"
    assert note(sheet(1, "failed", exit_code=7)) == "exit status 7"
