"""Moments in words, in the zone of this machine. Nothing in `decide/` may ask for that.

Fast commands use it: it imports nothing that starts slowly.
"""

from __future__ import annotations

import time

_CLOSE = 600.0
"""Seconds to a moment of which the seconds are worth telling."""

_WEEK = 6 * 86_400.0
"""Seconds within which a day of the week says which day it is."""


def parked_words(instrument: str, until: float, wall: float) -> str:
    """`rate limit of claude-code: parked until 15:00`; both times are seconds since the epoch."""
    return f"rate limit of {instrument}: parked until {moment_words(until, wall)}"


def moment_words(at: float, wall: float) -> str:
    """A moment as short as it is clear at `wall`, with seconds when it is close: `15:00:07`,
    `15:00`, `Mon 15:00`, `2026-12-24 15:00`. Both are seconds since the epoch."""
    local, today = time.localtime(at), time.localtime(wall)
    if local[:3] == today[:3]:
        return time.strftime("%H:%M:%S" if abs(at - wall) < _CLOSE else "%H:%M", local)
    near = 0 < at - wall < _WEEK
    return time.strftime("%a %H:%M" if near else "%Y-%m-%d %H:%M", local)
