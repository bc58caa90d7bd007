"""A small memory of what was worked out for the latest few sheets."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by sheet number, the oldest forgotten first. Threads may share it."""

    def __init__(self, size: int) -> None:
        """`size` is how many values are kept."""
        self._size = size
        self._values: dict[int, V] = {}
        self._lock = Lock()

    def get(self, num: int, work_out: Callable[[], V]) -> V:
        """The value of a sheet, worked out unless it is still known. Raises what `work_out` does."""
        value = self._values.get(num)
        if value is None:
            value = work_out()
            with self._lock:
                self._values[num] = value
                if len(self._values) > self._size:
                    del self._values[next(iter(self._values))]
        return value
