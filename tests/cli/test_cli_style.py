from __future__ import annotations

import io

import pytest

from marianne_core.model.states import JobStatus, SheetStatus
from marianne_tui.cli import columns
from marianne_tui.cli.columns import table, width
from marianne_tui.cli.style import ascii_only, duration, glyph, paint, wants_colour


@pytest.mark.parametrize(
    ("seconds", "want"),
    [
        (None, ""),
        (0.04, "0.04 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (185, "3:05"),
        (7385, "2:03:05"),
    ],
)
def test_duration(seconds: float | None, want: str) -> None:
    assert duration(seconds) == want


@pytest.mark.parametrize("status", [*SheetStatus, *JobStatus])
def test_every_state_has_a_glyph_of_one_cell(status: str) -> None:
    assert width(glyph(status)) == 1
    assert glyph(status, ascii_only=True).isascii()


def test_ascii_is_chosen_by_the_encoding() -> None:
    assert ascii_only(io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert not ascii_only(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


def test_colour_needs_a_terminal_and_no_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
    assert paint("x", "red", False) == "x"


def test_table_aligns_wide_characters_and_pads_no_line_end() -> None:
    lines = table(("a", "b", "c"), [("漢字", "1", "x"), ("d", "22", "")], right=(1,))
    assert lines == ["  A      B  C", "  漢字   1  x", "  d     22"]


def test_table_cuts_the_last_column_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_terminal_width", lambda: 30)
    lines = table(("a", "note"), [("x", "a reason that is much too long for it")])
    assert width(lines[1]) == 30
    assert lines[1].endswith("…")


ROW = ["↷", "3", "Depends on the broken sheet", "retry scheduled", "12", "1:02:03", "claude-code"]


@pytest.mark.parametrize("columns_of_terminal", [200, 120, 80, 60, 40])
@pytest.mark.parametrize("title", ["Depends on the broken sheet", "日本語のとても長いタイトル" * 3])
def test_a_table_is_never_wider_than_the_terminal(
    columns_of_terminal: int, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_terminal_width", lambda: columns_of_terminal)
    header = ("", "sheet", "title", "status", "tries", "took", "instrument", "note")
    row = [*ROW[:2], title, *ROW[3:], "blocked by sheet 2, which failed after three attempts"]
    lines = table(header, [row, row], right=(1, 4, 5), elastic=2)
    assert max(map(width, lines)) <= columns_of_terminal
    if columns_of_terminal >= 80:
        # Numbers and states are whole; what is text is cut.
        assert "retry scheduled" in lines[1]
        assert "1:02:03" in lines[1]
    if columns_of_terminal >= 120:
        assert "blocked by sheet 2" in lines[1]


def test_the_last_columns_rest_goes_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_terminal_width", lambda: 40)
    assert table(("a", "note"), [("x" * 30, "why")], elastic=0) == [
        "  A                               NOTE",
        f"  {'x' * 30}  why",
    ]
