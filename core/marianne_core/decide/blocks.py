"""Blocks of consecutive sheet numbers: what is the same for many sheets is kept once a block."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def blocks_of(nums: Iterable[int]) -> list[range]:
    """Numbers as blocks of consecutive ones, lowest first."""
    ordered = sorted(set(nums))
    if ordered and ordered[-1] - ordered[0] + 1 == len(ordered):
        return [range(ordered[0], ordered[-1] + 1)]
    blocks = []
    first = 0
    for i, num in enumerate(ordered, 1):
        if i == len(ordered) or ordered[i] != num + 1:
            blocks.append(range(ordered[first], num + 1))
            first = i
    return blocks


def joined(blocks: Iterable[range]) -> list[range]:
    """Disjoint blocks, lowest first, neighbours made one."""
    found: list[range] = []
    for block in sorted(blocks, key=lambda block: block.start):
        if found and found[-1].stop == block.start:
            found[-1] = range(found[-1].start, block.stop)
        else:
            found.append(block)
    return found


def without(block: range, nums: Iterable[int]) -> Iterator[range]:
    """What is left of a block without some numbers, which are given in order."""
    start = block.start
    for num in nums:
        if num in block:
            if num > start:
                yield range(start, num)
            start = num + 1
    if start < block.stop:
        yield range(start, block.stop)


def count(blocks: Iterable[range]) -> int:
    """How many numbers some disjoint blocks have."""
    return sum(map(len, blocks))


class Spans(Generic[T]):
    """A value for each number of some blocks. Time and room go by the spans of one value each.

    Values are told apart by identity: neighbours with the same object are one span.
    """

    def __init__(self, blocks: Iterable[range], value: T) -> None:
        """`blocks` are disjoint, in order, and not empty."""
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._values: list[T] = []
        for block in blocks:
            self._starts.append(block.start)
            self._stops.append(block.stop)
            self._values.append(value)

    def __getitem__(self, num: int) -> T:
        """Raises KeyError for a number in no block."""
        i = bisect_right(self._starts, num) - 1
        if i < 0 or num >= self._stops[i]:
            raise KeyError(num)
        return self._values[i]

    def items(self) -> Iterator[tuple[range, T]]:
        """All spans, lowest first. They must not be changed meanwhile."""
        for start, stop, value in zip(self._starts, self._stops, self._values, strict=True):
            yield range(start, stop), value

    def parts(self, block: range) -> list[tuple[range, T]]:
        """The spans within a block, lowest first, cut at its ends; numbers in no span are left out."""
        found = []
        i = max(0, bisect_right(self._starts, block.start) - 1)
        while i < len(self._starts) and self._starts[i] < block.stop:
            part = range(max(self._starts[i], block.start), min(self._stops[i], block.stop))
            if part:
                found.append((part, self._values[i]))
            i += 1
        return found

    def set(self, block: range, value: T) -> None:
        """Give all numbers of a block a value. The whole block must lie within the spans."""
        starts, stops, values = self._starts, self._stops, self._values
        low, high = block.start, block.stop
        first = bisect_right(starts, low) - 1
        last = first if high <= stops[first] else bisect_right(starts, high - 1) - 1
        new_starts, new_stops, new_values = [low], [high], [value]
        if starts[first] < low:
            if values[first] is value:
                new_starts[0] = starts[first]
            else:
                new_starts, new_stops = [starts[first], low], [low, high]
                new_values = [values[first], value]
        elif first and values[first - 1] is value and stops[first - 1] == low:
            first -= 1
            if stops[first + 1] > high:
                # What happens most: the head of a span goes over to the one before it.
                stops[first] = starts[first + 1] = high
                return
            new_starts[0] = starts[first]
        if stops[last] > high:
            if values[last] is value:
                new_stops[-1] = stops[last]
            else:
                new_starts.append(high)
                new_stops.append(stops[last])
                new_values.append(values[last])
        elif last + 1 < len(starts) and starts[last + 1] == high and values[last + 1] is value:
            last += 1
            new_stops[-1] = stops[last]
        if len(new_starts) == 1 and first == last:
            values[first] = value
            return
        place = slice(first, last + 1)
        starts[place], stops[place], values[place] = new_starts, new_stops, new_values
