"""How long a run may still take, where its own sheets tell: nothing is guessed from other runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import fmean

from marianne_tui.cli.picture import Sheet, Status, elapsed, is_running, moment

_FEWEST = 3
"""Completed sheets from which on something can be said."""
_LEAST = 0.1
"""Part of all sheets that must be completed, too."""
_KNOWN = 0.75
"""Part of the sheets that are left of whose movement one is completed at least."""
_MANY = 2000
"""Of more sheets nothing is said: it would take too long to work out with every picture."""
_OPEN = ("pending", "ready", "retry_scheduled")


def time_left(status: Status, now: float) -> float | None:
    """Seconds, if what is left takes as long as what is completed took, with as many at once.

    A sheet is expected to take as long as those of its movement; where each movement is one sheet,
    all are alike. None while too little is known for that, while the run does not go on, and while
    something waits for what has no length (a person, a limit). `now` is wall-clock seconds.
    """
    sheets: list[Sheet] = list(status["sheets"])
    if status["status"] != "running" or not 0 < len(sheets) <= _MANY:
        return None
    left = [sheet for sheet in sheets if sheet["status"] in _OPEN or is_running(sheet)]
    others = [sheet for sheet in sheets if sheet["status"] in ("waiting", "fermata")]
    took = _durations(sheets)
    completed = sum(map(len, took.values()))
    if others or not left or completed < max(_FEWEST, _LEAST * len(sheets)):
        return None
    alike = max(Counter(sheet.get("movement") for sheet in sheets).values()) == 1
    whole = fmean(seconds for group in took.values() for seconds in group)
    means = {} if alike else {movement: fmean(group) for movement, group in took.items()}
    known = sum(alike or sheet.get("movement") in means for sheet in left)
    if known < _KNOWN * len(left):
        return None
    work = 0.0
    for sheet in left:
        expected = means.get(sheet.get("movement"), whole)
        work += max(0.0, expected - (elapsed(sheet, now) or 0.0) if is_running(sheet) else expected)
    at_once = _at_once([*_spans(sheets, now)])
    return work / min(at_once, len(left))


def _durations(sheets: Iterable[Sheet]) -> dict[object, list[float]]:
    """Seconds that completed sheets took, by movement."""
    took: dict[object, list[float]] = {}
    for sheet in sheets:
        seconds = elapsed(sheet, 0.0) if sheet["status"] == "completed" else None
        if seconds is not None:
            took.setdefault(sheet.get("movement"), []).append(seconds)
    return took


def _spans(sheets: Iterable[Sheet], now: float) -> Iterable[tuple[float, float]]:
    """When sheets ran, or run."""
    for sheet in sheets:
        start, seconds = moment(sheet.get("started_at")), elapsed(sheet, now)
        if start is not None and seconds is not None:
            yield start, start + seconds


def _at_once(spans: list[tuple[float, float]]) -> float:
    """How many sheets ran at once in the mean, while any did."""
    busy, until = 0.0, 0.0
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return max(1.0, sum(end - start for start, end in spans) / busy) if busy else 1.0
