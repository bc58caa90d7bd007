"""Recognise files that are no score before their every key is called unknown."""

from __future__ import annotations

from marianne_core.config.read import ScoreError, problem_at
from marianne_core.config.source import Source


def refuse_other_shapes(source: Source) -> None:
    """Raise ScoreError, with what to do, when the file is a fleet or a score of the first format.

    The first format had `job_name` and a list of `sheets` in place of `name`, `sheet`, `prompt`.
    """
    data = source.data
    if data.get("type") == "fleet":
        raise ScoreError(
            [
                problem_at(
                    source,
                    ("type",),
                    "V000",
                    "this file is a fleet, not a score",
                    hint="name one of its scores instead",
                )
            ]
        )
    old = next((key for key in ("job_name", "sheets") if key in data), None)
    if old is not None and "sheet" not in data:
        raise ScoreError(
            [
                problem_at(
                    source,
                    source.marks.key((old,)),
                    "V000",
                    f"this file has the shape of an older score format (`{old}`)",
                    hint="write `name: ...`, `sheet: {size: 1, total_items: N}` and "
                    "`prompt: {template: ...}`, with `{% if stage == 1 %}` for texts of single "
                    "sheets; `mzt init` makes a score to start from",
                )
            ]
        )
