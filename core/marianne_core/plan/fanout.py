"""Stages become sheets: each stage is a block of consecutive sheet numbers.

Field reference, section 1.2. A stage (a movement, for people) is what a score numbers; a sheet is
what runs. Everything about a stage is kept once, however many sheets it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage and the block of sheets that play it."""

    number: int
    """From 1."""
    first: int
    """Number of its first sheet, from 1."""
    count: int
    """Number of its sheets, at least 1: the voices."""

    @property
    def sheets(self) -> range:
        """Numbers of its sheets."""
        return range(self.first, self.first + self.count)


def expand(stages: int, fan_out: Mapping[int, int]) -> tuple[Stage, ...]:
    """Stages 1 to `stages`, each with the number of sheets that `fan_out` gives it, else one."""
    blocks: list[Stage] = []
    first = 1
    for number in range(1, stages + 1):
        count = fan_out.get(number, 1)
        blocks.append(Stage(number, first, count))
        first += count
    return tuple(blocks)


def sheets_of(stages: Sequence[Stage]) -> Iterator[tuple[int, Stage, int]]:
    """Every sheet as (number, its stage, its instance from 1), in order of the numbers."""
    for stage in stages:
        for instance, number in enumerate(stage.sheets, start=1):
            yield number, stage, instance


def items_of(stage: int, size: int, start_item: int, total_items: int) -> tuple[int, int]:
    """First and last item of a stage, counted from 1: stage 2 of `size: 5` has items 6 to 10."""
    first = (stage - 1) * size + start_item
    return first, min(first + size - 1, total_items)
