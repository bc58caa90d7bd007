"""Time, injected: nothing in the house reads a clock by itself."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two clocks the conductor needs."""

    def now(self) -> float:
        """Seconds since boot, suspended time included (CLOCK_BOOTTIME): deadlines hold over a suspend."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, for people and for limits that reset at a time of day."""
        ...


class SystemClock:
    """The machine's clocks; `now` falls back to the monotonic clock where there is no boot clock."""

    _BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> float:
        return time.clock_gettime(self._BOOT)

    def wall(self) -> float:
        return time.time()
