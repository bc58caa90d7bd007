"""Glyphs, colours and durations: how states look in plain text and in the live view.

Stdlib only: the fast commands print with it. A state is never told by colour alone.
"""

from __future__ import annotations

import os
import time
from typing import TextIO

_GLYPHS = {
    "completed": ("✓", "+"),
    "failed": ("✗", "x"),
    "skipped": ("↷", ">"),
    "cancelled": ("⊘", "/"),
    "in_progress": ("▶", "*"),
    "dispatched": ("▶", "*"),
    "running": ("▶", "*"),
    "retry_scheduled": ("↻", "r"),
    "waiting": ("◷", "w"),
    "fermata": ("?", "?"),
    "paused": ("‖", "="),
    "pausing": ("‖", "="),
    "paused_at_chain": ("‖", "="),
    "cancelling": ("⊘", "/"),
}
_COLOURS = {
    "completed": "green",
    "failed": "red",
    "skipped": "yellow",
    "cancelled": "yellow",
    "in_progress": "cyan",
    "dispatched": "cyan",
    "running": "cyan",
    "retry_scheduled": "magenta",
    "waiting": "magenta",
    "fermata": "magenta",
    "paused": "yellow",
    "pausing": "yellow",
    "paused_at_chain": "yellow",
    "cancelling": "yellow",
}
_SGR = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "bold": "1",
    "dim": "2",
}


def glyph(status: str, *, ascii_only: bool = False) -> str:
    """One character for a sheet's or a job's status."""
    fancy, plain = _GLYPHS.get(status, ("·", "."))
    return plain if ascii_only else fancy


def colour_of(status: str) -> str:
    """Name of the colour of a status; "dim" for what has not started."""
    return _COLOURS.get(status, "dim")


def word(status: str) -> str:
    """The status as a person reads it: `retry_scheduled` becomes `retry scheduled`."""
    return status.replace("_", " ")


def ascii_only(stream: TextIO) -> bool:
    """True when the stream's encoding has no room for the glyphs."""
    try:
        "✓▶‖".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def wants_colour(stream: TextIO) -> bool:
    """Colours on a terminal only; NO_COLOR and TERM=dumb turn them off (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def paint(text: str, colour: str, enabled: bool) -> str:
    """`text` in a colour when `enabled`."""
    return f"\x1b[{_SGR[colour]}m{text}\x1b[0m" if enabled and text else text


def duration(seconds: float | None) -> str:
    """Seconds in words as short as `0.03 s`, `1.3 s`, `42 s`, `3:05`, `2:03:05`; "" for None."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock_time(wall: float | None) -> str:
    """A wall-clock time in the local zone, without the date when it is today; "" for None."""
    if wall is None:
        return ""
    local = time.localtime(wall)
    same_day = time.strftime("%Y%m%d", local) == time.strftime("%Y%m%d")
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M", local)


def counted(number: int, noun: str) -> str:
    """`1 sheet`, `3 sheets`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
