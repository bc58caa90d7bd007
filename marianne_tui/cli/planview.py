"""A plan as people and programs read it: levels, instruments, timeouts, the first prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from marianne_core.model.errors import MztError
from marianne_core.plan.rehearsal import preview
from marianne_core.plan.sheets import Plan, SheetPlan
from marianne_tui.cli.columns import Cell, table
from marianne_tui.cli.sanitize import one_line, shown
from marianne_tui.cli.style import counted, duration

_LEVELS = 20
"""Levels that are shown of a deep graph, its last one among them."""
_PROMPT_LINES = 40
"""Lines of a prompt that are shown unless all are asked for."""


def head_line(plan: Plan) -> str:
    """`hello: 5 sheets in 3 movements, workspace /tmp/hello`."""
    sheets = counted(plan.total_sheets, "sheet")
    movements = counted(plan.total_stages, "movement")
    head = f"{one_line(plan.config.name)}: {sheets} in {movements}, workspace {one_line(plan.workspace)}"
    about = one_line(plan.config.description or "")
    return f"{head}\n  {about}" if about else head


def level_lines(plan: Plan) -> list[str]:
    """The levels of the graph: sheets of one level wait only for those of levels before it."""
    lines = ["levels (a level waits for the ones before it)"]
    hidden = len(plan.levels) - _LEVELS
    for number, blocks in enumerate(plan.levels, start=1):
        if hidden > 1 and _LEVELS <= number < len(plan.levels):
            if number == _LEVELS:
                lines.append(f"  ... {counted(hidden, 'more level')}")
            continue
        names = dict.fromkeys(
            title for block in blocks if (title := _movement_of(plan, block.start))
        )
        label = f"  ({one_line(', '.join(names), 60)})" if names else ""
        lines.append(f"  {number}  {_numbers(blocks)}{label}")
    return lines


def sheet_lines(plan: Plan, start_sheet: int | None) -> list[str]:
    """One line for each group of neighbouring sheets that are played alike."""
    rows: list[list[Cell]] = []
    for sheets in _alike(plan):
        first = sheets[0]
        who = first.instrument if first.model is None else f"{first.instrument} ({first.model})"
        if first.fallbacks:
            who += f", else {', '.join(choice.profile for choice in first.fallbacks)}"
        needs = (
            _numbers(first.deps) if len(sheets) == 1 or _same_needs(sheets) else "as the score says"
        )
        if start_sheet is not None and sheets[-1].num < start_sheet:
            needs = f"skipped: before --start-sheet {start_sheet}"
        rows.append(
            [
                _numbers([range(first.num, sheets[-1].num + 1)]),
                one_line(
                    first.title if len(sheets) == 1 else plan.title_of_movement(first.movement), 40
                ),
                one_line(who),
                f"{duration(first.timeout)} ({one_line(first.timeout_source)})",
                needs or "nothing",
            ]
        )
    return table(("sheets", "title", "instrument", "timeout", "waits for"), rows)


def prompt_lines(plan: Plan, num: int, *, whole: bool) -> list[str]:
    """What a sheet's first attempt is sent, as far as it is known before the run."""
    sheet = plan.sheet(num)
    lines = [f"sheet {num} is sent to {one_line(sheet.instrument)}:"]
    try:
        text = shown(preview(plan, num)).rstrip("\n").split("\n")
    except MztError as error:
        return [*lines, f"  cannot be rendered: {one_line(error.what)}"]
    first = text if whole else text[:_PROMPT_LINES]
    lines += [f"  | {line}".rstrip() for line in first]
    if len(first) < len(text):
        lines.append(f"  ... {counted(len(text) - len(first), 'more line')}")
    return lines


def plan_dict(plan: Plan, *, sheets: bool) -> dict[str, Any]:
    """The plan for `--json`; ranges of sheets are pairs of the first and the last number."""
    found: dict[str, Any] = {
        "name": plan.config.name,
        "workspace": str(plan.workspace),
        "sheets_total": plan.total_sheets,
        "movements_total": plan.total_stages,
        "levels": [[_pair(block) for block in blocks] for blocks in plan.levels],
    }
    if sheets:
        found["sheets"] = [_sheet_dict(sheet) for sheet in plan.sheets]
    return found


def _sheet_dict(sheet: SheetPlan) -> dict[str, Any]:
    return {
        "num": sheet.num,
        "movement": sheet.movement,
        "voice": sheet.instance,
        "title": sheet.title,
        "instrument": sheet.instrument,
        "model": sheet.model,
        "timeout_seconds": sheet.timeout,
        "timeout_source": sheet.timeout_source,
        "fallbacks": [choice.profile for choice in sheet.fallbacks],
        "depends_on": [_pair(block) for block in sheet.deps],
    }


def _alike(plan: Plan) -> Iterator[list[SheetPlan]]:
    """Neighbours with one movement, instrument and timeout; single sheets keep their own title."""

    def kind(sheet: SheetPlan) -> tuple[object, ...]:
        return (sheet.movement, id(sheet.choice), sheet.fallbacks)

    for _, group in groupby(plan.sheets, key=kind):
        yield list(group)


def _same_needs(sheets: list[SheetPlan]) -> bool:
    return all(sheet.deps == sheets[0].deps for sheet in sheets)


def _movement_of(plan: Plan, num: int) -> str:
    sheet = plan.sheet(num)
    return plan.title_of_movement(sheet.movement) or sheet.title


def _pair(block: range) -> list[int]:
    return [block.start, block.stop - 1]


def _numbers(blocks: Iterable[range]) -> str:
    """`sheets 1, 3-5`; "" for none."""
    parts = [
        str(block.start) if len(block) == 1 else f"{block.start}-{block.stop - 1}"
        for block in blocks
        if len(block)
    ]
    if not parts:
        return ""
    many = len(parts) > 1 or "-" in parts[0]
    text = ", ".join(parts[:12]) + (", ..." if len(parts) > 12 else "")
    return f"sheet{'s' if many else ''} {text}"
