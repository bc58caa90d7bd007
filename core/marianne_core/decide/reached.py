"""A growing set of a run's sheets, cheap for single numbers and for long blocks."""

from __future__ import annotations

from collections.abc import Iterable

from marianne_core.decide.blocks import Spans, without


class Reached:
    """Starts empty. Time and room go by how often something was added, not by how much."""

    def __init__(self, sheets: Iterable[range]) -> None:
        """`sheets` are all numbers that can ever be added, as disjoint blocks in order."""
        self._sheets = sheets
        self._ones: set[int] = set()
        self._blocks: Spans[bool] | None = None

    def __contains__(self, num: int) -> bool:
        return num in self._ones or (self._blocks is not None and self._blocks[num])

    def add(self, num: int) -> bool:
        """Add a number; False when it is there already."""
        if num in self:
            return False
        self._ones.add(num)
        return True

    def add_block(self, block: range) -> list[range]:
        """Add all numbers of a block; returns those that were not there, as blocks."""
        if self._blocks is None:
            self._blocks = Spans(self._sheets, False)
        new = [part for part, inside in self._blocks.parts(block) if not inside]
        if self._ones:
            there = sorted(num for num in self._ones if num in block)
            new = [rest for part in new for rest in without(part, there)]
        for part in new:
            self._blocks.set(part, True)
        return new

    def discard(self, num: int) -> None:
        """Take a number out again."""
        self._ones.discard(num)
        if self._blocks is not None and self._blocks[num]:
            self._blocks.set(range(num, num + 1), False)
