"""Times at which the baton must look at something: a heap whose entries may be overtaken."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

RUN = 0
"""In the place of a sheet number: the timer concerns the whole run."""

Entry = tuple[float, int, int]
"""(time, run, sheet or RUN)"""

_ROOM = 1000
"""Entries below which it does not pay to throw out the overtaken ones."""


class Timers:
    """What is due when. `counts` says whether an entry still means something; others are dropped."""

    def __init__(self, counts: Callable[[Entry], bool]) -> None:
        self._counts = counts
        self._heap: list[Entry] = []
        self._most = _ROOM

    def add(self, when: float, run_id: int, num: int = RUN) -> None:
        """Look at the sheet, or the run, at this time."""
        heappush(self._heap, (when, run_id, num))
        if len(self._heap) > self._most:  # short attempts with long timeouts leave many behind
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapify(self._heap)
            self._most = 2 * len(self._heap) + _ROOM

    def due(self, now: float) -> Entry | None:
        """Take the earliest entry, if it is due."""
        when = self.next()
        return None if when is None or when > now else heappop(self._heap)

    def next(self) -> float | None:
        """Time of the earliest entry; None = there is none."""
        while self._heap:
            if self._counts(self._heap[0]):
                return self._heap[0][0]
            heappop(self._heap)
        return None
