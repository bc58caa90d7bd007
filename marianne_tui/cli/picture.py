"""What is worth showing of a run's status: counts, order, moments. Stdlib only.

The status is the document of `mzt status --json`; every view (plain text, live) is made from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from marianne_core.model.states import JobStatus
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import counted

Status = Mapping[str, Any]
Sheet = Mapping[str, Any]

_RUNNING = ("in_progress", "dispatched")
_PARKED = ("retry_scheduled", "waiting", "fermata")
# What a person looks for first when not everything fits.
_RANK = {
    "in_progress": 0,
    "dispatched": 0,
    "fermata": 1,
    "retry_scheduled": 2,
    "waiting": 2,
    "failed": 3,
    "cancelled": 4,
    "ready": 5,
    "pending": 6,
    "skipped": 7,
    "completed": 8,
}
_ORDER = tuple(_RANK)
_UNTRIED = ("pending", "ready", "skipped", "cancelled")
_SPANS = 5
"""So many spans of sheet numbers are written out."""


def moment(value: Any) -> float | None:
    """A time of the status (ISO 8601 text or seconds since the epoch) as seconds; None if absent."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) else None


def elapsed(item: Mapping[str, Any], now: float) -> float | None:
    """Seconds a sheet has run or ran; None before its start. `now` is wall-clock seconds."""
    start = moment(item.get("started_at"))
    if start is None:
        return None
    end = moment(item.get("finished_at"))
    if end is not None and end >= start:
        return end - start
    return max(0.0, now - start) if is_running(item) else None


def is_running(sheet: Sheet) -> bool:
    """True while an attempt of the sheet is alive."""
    return sheet["status"] in _RUNNING


def counts(sheets: Iterable[Sheet]) -> Counter[str]:
    """How many sheets stand in each status."""
    return Counter(str(sheet["status"]) for sheet in sheets)


def counts_words(sheets: Iterable[Sheet]) -> str:
    """`2 in progress, 1 failed, 40 pending`, what matters most first."""
    found = counts(sheets)
    names = [n for n in _ORDER if n in found] + [n for n in found if n not in _RANK]
    return ", ".join(f"{found[name]} {name.replace('_', ' ')}" for name in names)


def run_name(status: Status) -> str:
    """`hello#2`."""
    return one_line(f"{status['job_id']}#{status['run']}")


def progress_words(status: Status) -> str:
    """`3 of 5 sheets completed`."""
    return (
        f"{status['sheets_completed']} of {counted(int(status['sheets_total']), 'sheet')} completed"
    )


def chosen(sheets: Sequence[Sheet], room: int) -> list[Sheet]:
    """The `room` sheets a person wants to see, by number: running, parked and failed ones first.

    All of them when they fit. Waiting sheets that stand for many with the same reason are shown
    once they have room.
    """
    if len(sheets) <= room:
        return list(sheets)
    ranked = sorted(
        (s for s in sheets if s["status"] not in ("completed", "skipped")),
        key=lambda s: (_RANK.get(str(s["status"]), 5), s["num"]),
    )
    return sorted(ranked[: max(0, room)], key=lambda s: s["num"])


def is_interesting(sheet: Sheet) -> bool:
    """True for what is shown of a long run: sheets that run, are parked, failed or were cancelled."""
    return sheet["status"] in (*_RUNNING, *_PARKED, "failed", "cancelled")


def in_groups(sheets: Iterable[Sheet]) -> list[list[Sheet]]:
    """Sheets of which nothing was tried stand together where they wait, or are over, for the same
    reason; every other one stands alone. In the order of their first numbers."""
    groups: dict[tuple[str, ...], list[Sheet]] = {}
    for sheet in sheets:
        state = str(sheet["status"])
        same = state in _UNTRIED and not sheet["attempts"]
        alone = "" if same else str(sheet["num"])
        key = (alone, state, note(sheet), str(sheet["instrument"]))
        groups.setdefault(key, []).append(sheet)
    return list(groups.values())


def numbers_words(sheets: Iterable[Sheet]) -> str:
    """`4-9, 12`; of more than a few spans `4-9, 12, 14, 16 ... 40`."""
    spans: list[list[int]] = []
    for num in sorted(int(sheet["num"]) for sheet in sheets):
        if spans and spans[-1][1] == num - 1:
            spans[-1][1] = num
        else:
            spans.append([num, num])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    if len(words) <= _SPANS:
        return ", ".join(words)
    return f"{', '.join(words[: _SPANS - 1])} ... {words[-1]}"


def note(sheet: Sheet) -> str:
    """The reason in one clean line; a failure without one names its exit status, a running sheet what
    its agent has used so far."""
    reason = one_line(sheet.get("reason") or "")
    if not reason and sheet["status"] == "failed" and sheet.get("exit_code") is not None:
        return f"exit status {sheet['exit_code']}"
    used = sheet.get("so_far")
    if not reason and used:
        # Imported here: few sheets run an agent, and a status is to be there in a moment.
        from marianne_core.read.dialects.values import so_far

        read, written = used.get("input_tokens") or 0, used.get("output_tokens") or 0
        return so_far(read, written, used.get("cost_usd") or 0)
    return reason


def what_next(status: Mapping[str, Any]) -> str:
    """What a person may want to do after a run ended like this; "" when there is nothing to say."""
    name = one_line(status["job_id"])
    match JobStatus(status["status"]):
        case JobStatus.COMPLETED:
            return ""
        case JobStatus.FAILED:
            return f"mzt errors {name} says more; mzt retry {name} runs what failed again"
        case JobStatus.PAUSED | JobStatus.PAUSED_AT_CHAIN | JobStatus.CANCELLED:
            return f"mzt resume {name} goes on with it"
    return f"mzt status {name} shows where it stands; mzt resume {name} goes on with it"
