"""Aligned plain-text tables for commands that must not wait for Rich to be imported."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from marianne_tui.cli.style import paint

Cell = str | tuple[str, str]
"""A text, or a text and the name of its colour."""


_NOTE = 24
"""Cells that the last column keeps as long as another one can be cut."""
_SHORTEST = 8
"""Cells that are left of a cut column, if the terminal has them."""


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    colour: bool = False,
    indent: str = "  ",
    right: Sequence[int] = (),
    elastic: int | None = None,
) -> list[str]:
    """Lines of a table with two blanks between columns, none longer than the terminal is wide.

    `right` names the columns (from 0) that are aligned to the right. Texts must be clean already
    (sanitize.one_line). The last column is not padded. Where there is no room for all, the column
    `elastic` and the last one are cut first, then the widest of the others.
    """
    body = [[(cell, "") if isinstance(cell, str) else cell for cell in row] for row in rows]
    head = [(name.upper(), "dim") for name in header]
    columns = range(len(head))
    widths = [max(width(row[i][0]) for row in [head, *body]) for i in columns]
    room = _terminal_width() - width(indent) - 2 * (len(widths) - 1)
    _shrink(widths, room, elastic)
    lines = []
    for row in [head, *body]:
        cells = []
        for i, (text, tint) in enumerate(row):
            shown = _cut(text, widths[i])
            blanks = " " * (widths[i] - width(shown)) if i < len(row) - 1 else ""
            painted = paint(shown, tint, colour and bool(tint))
            cells.append(blanks + painted if i in right else painted + blanks)
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def _shrink(widths: list[int], room: int, elastic: int | None) -> None:
    """Take what is too much from the columns, in the order of how little is lost by it."""
    last = len(widths) - 1
    order = [(last, _NOTE), *([] if elastic is None else [(elastic, _SHORTEST)]), (last, _SHORTEST)]
    for column, least in order:
        too_much = sum(widths) - room
        widths[column] -= max(0, min(too_much, widths[column] - least))
    while sum(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1


def width(text: str) -> int:
    """Cells that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cut(text: str, room: int) -> str:
    if width(text) <= room:
        return text
    if room < 1:
        return ""
    end = taken = 0
    while taken + _cells(text[end]) < room:
        taken += _cells(text[end])
        end += 1
    return text[:end] + "…"


def _terminal_width() -> int:
    """Columns of the terminal, or practically no limit when the output is not one."""
    if not sys.stdout.isatty():
        return 1 << 30
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80  # 0: it does not know
    except OSError:
        return 80
