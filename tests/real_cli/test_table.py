"""The table that the proof writes: who was played, when, and what is said of the others."""

from __future__ import annotations

import pytest

from tests.real_cli.table import (
    BEGIN,
    CASES,
    END,
    INSTRUMENTS,
    PAGE,
    add_result,
    read_rows,
    write_page,
)

_BLANK = f"before\n{BEGIN}\n{END}\nafter\n"


def test_what_was_not_played_reads_never_run() -> None:
    page = write_page(_BLANK, {})
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    for instrument in INSTRUMENTS:
        cells = ["–", *["never run"] * (len(CASES) + 1)]
        assert f"| {instrument} | {' | '.join(cells)} |" in page
    assert read_rows(page) == {}


def test_rows_of_programs_that_are_not_played_stay() -> None:
    rows = read_rows(_BLANK)
    add_result(rows, ["codex-cli", "test_plain", "1.0"], "pass", "2026-01-01")
    rows = read_rows(write_page(_BLANK, rows))
    add_result(rows, ["opencode", "test_limit", "2.0"], "fail", "2026-02-02")
    rows = read_rows(write_page(_BLANK, rows))
    assert (rows["codex-cli"].date, rows["codex-cli"].cases) == (
        "2026-01-01",
        {"test_plain": "pass"},
    )
    assert (rows["opencode"].version, rows["opencode"].cases) == ("2.0", {"test_limit": "fail"})


def test_another_version_begins_its_row_anew_and_an_absent_program_changes_nothing() -> None:
    rows = read_rows(_BLANK)
    add_result(rows, ["aider", "test_plain", "1.0"], "pass", "2026-01-01")
    add_result(rows, ["aider", "test_limit", "1.1"], "pass", "2026-01-02")
    add_result(rows, ["aider", "test_cancel", ""], "skip", "2026-01-03")
    assert (rows["aider"].version, rows["aider"].date) == ("1.1", "2026-01-02")
    assert rows["aider"].cases == {"test_limit": "pass"}


def test_the_page_has_its_table_and_a_page_without_marks_is_refused() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert write_page(page, read_rows(page)) == page
    with pytest.raises(ValueError, match="has no table"):
        write_page("nothing", {})
