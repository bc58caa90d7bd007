"""Aligned plain-text tables for commands that must not wait for Rich to be imported."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from marianne_tui.cli.style import paint

Cell = str | tuple[str, str]
"""A text, or a text and the name of its colour."""


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    colour: bool = False,
    indent: str = "  ",
    right: Sequence[int] = (),
) -> list[str]:
    """Lines of a table with two blanks between columns.

    `right` names the columns (from 0) that are aligned to the right. Texts must be clean already
    (sanitize.one_line). The last column is not padded, and is cut at the terminal's width.
    """
    body = [[(cell, "") if isinstance(cell, str) else cell for cell in row] for row in rows]
    head = [(name.upper(), "dim") for name in header]
    columns = range(len(head))
    widths = [max(width(row[i][0]) for row in [head, *body]) for i in columns]
    room = _terminal_width() - width(indent) - sum(widths[:-1]) - 2 * (len(widths) - 1)
    lines = []
    for row in [head, *body]:
        cells = []
        for i, (text, tint) in enumerate(row):
            if i == len(row) - 1:
                cells.append(
                    paint(_cut(text, room) if room > 12 else text, tint, colour and bool(tint))
                )
                continue
            blanks = " " * (widths[i] - width(text))
            painted = paint(text, tint, colour and bool(tint))
            cells.append(blanks + painted if i in right else painted + blanks)
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


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
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 80
