"""Which sheets are looked at before a run, and how many, where there are too many for all of them.

The number is a matter of the work that a look takes, counted in steps: a clock would find a fault
on one machine and miss it on another.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import Any, Final

from marianne_core.plan.sheets import Plan

MIN_SHEETS: Final = 300
"""Sheets that are looked at, however much work each of them is."""
MAX_WORK: Final = 600_000
"""Steps of work after which no further sheet is looked at: about a second at most for plain ones."""
_ENDS: Final = 150
"""First and last sheets of movements that come before all others."""
_NUMBERS: Final = 300
"""Numbers of a template, a condition or a variable that are taken into account."""
_WIDEST: Final = 5
"""Movements whose voices are looked at by number."""


class Allowance:
    """Counts the work of one check, and says whether there may be more."""

    def __init__(self, steps: int = MAX_WORK, at_least: int = MIN_SHEETS) -> None:
        """`steps` of work, but `at_least` so many sheets."""
        self._steps = steps
        self._at_least = at_least
        self.spent = 0
        """Steps of work that were done."""
        self.sheets = 0
        """Sheets that were looked at."""

    def spend(self, steps: int) -> None:
        """Another sheet was looked at, for so much work."""
        self.spent += steps
        self.sheets += 1

    @property
    def used_up(self) -> bool:
        """No further sheet is to be looked at."""
        return self.spent >= self._steps and self.sheets >= self._at_least


def sheets_to_try(plan: Plan, numbers: Iterable[int]) -> Iterator[int]:
    """Every sheet once, those first where a failure is most likely to be another one's.

    These are the ends of movements, sheets with texts of their own, and those for which one of
    `numbers` (what a template or a condition compares with) is the number of the sheet, of its
    stage, its instance or an item. All others follow, evenly spread.
    """
    total = plan.total_sheets
    if total <= MIN_SHEETS:
        yield from range(1, total + 1)
        return
    first: set[int] = set()
    for num in _special(plan, sorted(set(numbers))[:_NUMBERS]):
        if 1 <= num <= total and num not in first:
            first.add(num)
            yield num
    step = _spread(total)
    for place in range(total):
        num = place * step % total + 1
        if num not in first:
            yield num


def _special(plan: Plan, numbers: Sequence[int]) -> Iterator[int]:
    yield from (1, plan.total_sheets)
    # The neighbours, too: a comparison may mean what lies on either side of its number.
    yield from (num for number in numbers for num in (number, number - 1, number + 1))
    ends = (num for stage in plan.stages for num in (stage.sheets[0], stage.sheets[-1]))
    yield from islice(ends, _ENDS)
    yield from plan.config.sheet.prompt_extensions
    yield from plan.config.sheet.cadenzas
    widest = nlargest(_WIDEST, plan.stages, key=lambda stage: stage.count)
    for number in numbers:
        yield from _like(plan, number)
        yield from (stage.first + number - 1 for stage in widest if 1 <= number <= stage.count)
    wanted = set(numbers)
    for num, origin in (plan.config.sheet.fan_out_stage_map or {}).items():
        if origin.stage in wanted or origin.instance in wanted:
            yield num


def _like(plan: Plan, number: int) -> Iterator[int]:
    """Sheets whose stage or items have this number."""
    sheet = plan.config.sheet
    for stage in {number, (number - sheet.start_item) // sheet.size + 1}:
        if 1 <= stage <= len(plan.stages):
            yield plan.stages[stage - 1].sheets[0]
            yield plan.stages[stage - 1].sheets[-1]


def _spread(total: int) -> int:
    """A step that leads to every one of `total` places, those near each other far apart in time."""
    step = max(1, round(total * 0.618))
    while math.gcd(step, total) != 1:
        step += 1
    return step


def numbers_in(value: Any, limit: int = _NUMBERS) -> list[int]:
    """Whole numbers in a value of a score, in all its depth, keys included; at most `limit`."""
    found: list[int] = []
    if type(value) is int:
        found.append(value)
    elif isinstance(value, Mapping | list | tuple):
        parts = [*value, *value.values()] if isinstance(value, Mapping) else value
        for part in parts:
            found += numbers_in(part, limit - len(found))
            if len(found) >= limit:
                break
    return found


def numbers_of(expression: ast.expr) -> list[int]:
    """Whole numbers that a condition names."""
    return [
        node.value
        for node in ast.walk(expression)
        if isinstance(node, ast.Constant) and type(node.value) is int
    ]
