"""Rows on their way into the store: by lane, in the order in which they count."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

TEXT_LIMIT = 8000
"""Characters of one free text (a reason, an actual value). Whole outputs are files, not rows."""

Row = tuple[Any, ...]
"""Values of exact types: sqlite3 looks long for an adapter of an enum or a bool, ten times as long
as the rest of a row takes. Hence `.value` and `int()`."""


class Statement(NamedTuple):
    """One form of SQL, and the lane in which its order counts.

    Changes of one lane are applied in the order in which they came. Lanes touch different rows or
    different columns, so their order among each other does not matter.
    """

    lane: str
    sql: str


_LANES = (
    "runs",
    "paths",
    "submissions",
    "totals",
    "sheets",
    "instruments",
    "exit codes",
    "attempts",
    "validations",
    "events",
    "checkpoints",
    "limits",
)
"""In the order in which they are written: a row is there before another lane changes it."""


class Rows:
    """The rows of a group of changes, by lane, ready for `executemany`."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[tuple[Statement, list[Row]]]] = {name: [] for name in _LANES}

    def put(self, statement: Statement, row: Row) -> None:
        """Add a row at the end of its lane; neighbours of the same form go together."""
        lane = self._lanes[statement.lane]
        if lane and lane[-1][0] is statement:
            lane[-1][1].append(row)
        else:
            lane.append((statement, [row]))

    def write(self, connection: sqlite3.Connection, *, clean: bool = False) -> None:
        """Carry out what was put. `clean` replaces text that cannot be UTF-8 (lone surrogates)."""
        for lane in self._lanes.values():
            for statement, rows in lane:
                connection.executemany(statement.sql, _cleaned(rows) if clean else rows)


def as_json(value: object) -> str:
    """Compact JSON; what JSON does not know is written as its text."""
    return json.dumps(value, separators=(",", ":"), default=str)


def short(text: str) -> str | None:
    """A free text as it is kept: None for an empty one, and at most `TEXT_LIMIT` characters.

    What cannot be UTF-8 (lone surrogates, from undecodable output) becomes "?".
    """
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    if len(text) > TEXT_LIMIT:
        return f"{text[:TEXT_LIMIT]}… ({len(text) - TEXT_LIMIT} more characters)"
    return text or None


def _cleaned(rows: Iterable[Row]) -> list[Row]:
    return [
        tuple(
            value.encode(errors="replace").decode() if isinstance(value, str) else value
            for value in row
        )
        for row in rows
    ]
