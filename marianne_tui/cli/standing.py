"""What `mzt status` shows: where a job stands. No click here: see fast.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.lock import LockHolder
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import LimitRow, SheetRow
from marianne_tui.cli.columns import Cell, table
from marianne_tui.cli.listing import run_cells
from marianne_tui.cli.output import print_json
from marianne_tui.cli.picture import (
    Sheet,
    chosen,
    counts_words,
    elapsed,
    in_groups,
    is_interesting,
    note,
    numbers_words,
    progress_words,
)
from marianne_tui.cli.reading import (
    Picture,
    conductor_of,
    find_home,
    limit_words,
    picture_of,
    reason_of,
    run_dict,
    seconds_of,
)
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import (
    ascii_only,
    clock_time,
    colour_of,
    duration,
    glyph,
    paint,
    wants_colour,
    word,
)

_MANY = 50
"""With more lines, only sheets that run, are tried again or failed are listed, and groups."""
_RECENT = 5


def show_status(job: JobRef | None, *, every_sheet: bool = False, as_json: bool = False) -> None:
    """Print where a run stands; without a job, the conductor and what it works on.

    Raises JobSubmissionError for an unknown job.
    """
    if job is None:
        _house(as_json)
        return
    found = picture_of(find_home(), job)
    if as_json:
        print_json(found.status)
        return
    print("\n".join(_lines(found, every_sheet)))


def _house(as_json: bool) -> None:
    home = find_home()
    conductor = conductor_of(home)
    with open_reader(home) as reader, reader.snapshot():
        active = reader.list_runs(
            statuses=[s for s in JobStatus if not s.terminal], newest_only=True, limit=None
        )
        recent = reader.list_runs(
            statuses=[s for s in JobStatus if s.terminal], newest_only=True, limit=_RECENT
        )
        limits = reader.limits(time.time())
    if as_json:
        print_json(
            {
                "conductor": _conductor_dict(conductor),
                "active": [run_dict(run, conductor) for run in active],
                "recent": [run_dict(run, conductor) for run in recent],
                "rate_limits": [_limit_dict(limit) for limit in limits],
            }
        )
        return
    plain, colour = ascii_only(sys.stdout), wants_colour(sys.stdout)
    print(_who(conductor))
    for limit in limits:
        print(f"{one_line(limit_words(limit))} (mzt clear-rate-limits lifts it)")
    for title, runs in (("active", active), ("recent", recent)):
        if not runs:
            continue
        rows: list[list[Cell]] = [
            [
                *run_cells(run, plain),
                clock_time(run.finished_at or run.submitted_at),
                (one_line(reason_of(run, conductor)), "dim"),
            ]
            for run in runs
        ]
        print(
            "\n".join(
                table(("", title, "status", "sheets", "", ""), rows, colour=colour, right=(3,))
            )
        )
    if not active and not recent:
        print("no jobs yet: mzt run SCORE starts one")


def _conductor_dict(conductor: LockHolder | None) -> dict[str, Any] | None:
    if conductor is None:
        return None
    return {"pid": conductor.pid, "version": conductor.version, "socket": conductor.socket}


def _limit_dict(limit: LimitRow) -> dict[str, Any]:
    return {
        "instrument": limit.instrument,
        "model": limit.model,
        "until": limit.until,
        "reason": limit.reason,
        "told_at": limit.told_at,
    }


def _who(conductor: LockHolder | None) -> str:
    if conductor is None:
        return "no conductor is running; what is shown comes from the store"
    return f"conductor: running (pid {conductor.pid}, version {one_line(conductor.version)})"


def _lines(found: Picture, every_sheet: bool) -> list[str]:
    plain, colour = ascii_only(sys.stdout), wants_colour(sys.stdout)
    run, status = found.run, found.status
    state = str(status["status"])
    dot = " - " if plain else " · "
    now = time.time()
    head = paint(f"{glyph(state, ascii_only=plain)} {word(state)}", colour_of(state), colour)
    title = one_line(f"{run.job_id}#{run.run}")
    if run.name != run.job_id:
        title += f" ({one_line(run.name)})"
    facts = [progress_words(status)]
    if took := duration(seconds_of(run, found.conductor, now)):
        facts.append(took)
    lines = [f"{paint(title, 'bold', colour)}  {head}{dot}{dot.join(facts)}"]
    reason = one_line(status.get("reason") or "")
    if reason:
        lines.append(f"  {reason}")
    lines.append(f"  score {one_line(run.score_path)}")
    lines.append(f"  workspace {one_line(run.workspace)}")
    lines.extend(sheet_lines(status["sheets"], found.sheets, every_sheet, now))
    lines.extend(_advice(found))
    return lines


def sheet_lines(
    sheets: Sequence[dict[str, Any]], rows: Sequence[SheetRow], every_sheet: bool, now: float
) -> list[str]:
    """The table of a run's sheets: equal waits in one line, unless every sheet is wanted."""
    plain, colour = ascii_only(sys.stdout), wants_colour(sys.stdout)
    titles = {row.num: row.description for row in rows}
    each: list[Sheet] = list(sheets)
    groups = [[sheet] for sheet in each] if every_sheet else in_groups(each)
    if len(groups) > _MANY and not every_sheet:
        first = {int(group[0]["num"]): group for group in groups}
        worth = [g[0] for g in groups if len(g) > 1 or is_interesting(g[0])]
        groups = [first[int(sheet["num"])] for sheet in chosen(worth, _MANY)]
    cells: list[list[Cell]] = []
    for group in groups:
        sheet = group[0]
        state = str(sheet["status"])
        attempts = sheet["attempts"]
        cells.append(
            [
                (glyph(state, ascii_only=plain), colour_of(state)),
                numbers_words(group),
                _title(group, titles),
                (word(state), colour_of(state)),
                str(attempts) if attempts else "",
                duration(elapsed(sheet, now)),
                one_line(sheet["instrument"]),
                (note(sheet), "" if state == "failed" else "dim"),
            ]
        )
    lines = []
    if cells:
        header = ("", "sheet", "title", "status", "tries", "took", "instrument", "note")
        right = (1, 4, 5) if all(len(group) == 1 for group in groups) else (4, 5)
        lines = table(header, cells, colour=colour, right=right, elastic=2)
    if sum(map(len, groups)) < len(sheets):
        lines.append(f"  {counts_words(sheets)} (--all lists every sheet)")
    return lines


def _title(group: Sequence[Sheet], titles: Mapping[int, str]) -> str:
    """What the sheets of a line are, as far as they are the same; else from the first to the last."""
    names = [
        titles.get(int(s["num"])) or f"movement {s['movement']}" for s in (group[0], group[-1])
    ]
    return one_line(names[0] if names[0] == names[1] else " ... ".join(names), 40)


def _advice(found: Picture) -> list[str]:
    """What a person needs to know or may want to do next."""
    run = found.run
    name = one_line(run.job_id)
    if run.status.active and found.conductor is None:
        return [
            f"  mzt resume {name} goes on with it, mzt cancel {name} ends it and what still runs",
        ]
    if run.status.active and not found.live:
        return [
            f"  shown from the store: the conductor (pid {found.conductor and found.conductor.pid}) does not answer"
        ]
    if run.status in (JobStatus.PAUSED, JobStatus.CANCELLED):
        return [f"  mzt resume {name} goes on with it"]
    if run.status == JobStatus.FAILED:
        return [f"  mzt errors {name} says more; mzt retry {name} runs what failed again"]
    return []
