"""What `mzt list` shows: jobs, the newest first. No click here: see fast.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from marianne_core.model.states import JobStatus
from marianne_core.remember.lock import LockHolder
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import RunRow
from marianne_tui.cli.columns import Cell, table
from marianne_tui.cli.output import print_json
from marianne_tui.cli.reading import conductor_of, find_home, reason_of, run_dict, seconds_of
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import (
    ascii_only,
    clock_time,
    colour_of,
    counted,
    duration,
    glyph,
    wants_colour,
    word,
)

DEFAULT_LIMIT = 20


def show_list(
    *,
    show_all: bool = False,
    statuses: Sequence[str] = (),
    limit: int = DEFAULT_LIMIT,
    as_json: bool = False,
) -> None:
    """Print the newest run of every job: of those that are not over, unless asked for others."""
    home = find_home()
    wanted = [JobStatus(s) for s in statuses]
    if not wanted and not show_all:
        wanted = [s for s in JobStatus if not s.terminal]
    with open_reader(home) as reader, reader.snapshot():
        runs = reader.list_runs(statuses=wanted or None, newest_only=True, limit=limit + 1)
        others = (
            0
            if runs or show_all or statuses
            else len(reader.list_runs(newest_only=True, limit=1000))
        )
    conductor = conductor_of(home)
    more, runs = len(runs) > limit, runs[:limit]
    if as_json:
        print_json([run_dict(run, conductor) for run in runs])
        return
    if not runs:
        print(_nothing(others, bool(show_all or statuses)))
    else:
        print("\n".join(_table(runs, conductor)))
        if more:
            print(f"  ... only the newest {limit} are shown; --limit shows more")
    print(_conductor_line(conductor, runs))


def _nothing(others: int, asked: bool) -> str:
    if asked:
        return "no such jobs"
    if others:
        return f"no active jobs; {counted(others, 'job')} over: mzt list --all"
    return "no jobs yet: mzt run SCORE starts one, mzt init writes a first score"


def _table(runs: list[RunRow], conductor: LockHolder | None) -> list[str]:
    plain, colour = ascii_only(sys.stdout), wants_colour(sys.stdout)
    now = time.time()
    rows: list[list[Cell]] = []
    for run in runs:
        rows.append(
            [
                *run_cells(run, plain),
                clock_time(run.submitted_at),
                duration(seconds_of(run, conductor, now)),
                (one_line(reason_of(run, conductor)), "dim"),
            ]
        )
    header = ("", "job", "status", "sheets", "submitted", "took", "note")
    return table(header, rows, colour=colour, right=(3, 5), elastic=1)


def run_cells(run: RunRow, plain: bool) -> list[Cell]:
    """How every table of runs begins: glyph, name, status and progress."""
    return [
        (glyph(run.status, ascii_only=plain), colour_of(run.status)),
        one_line(f"{run.job_id}#{run.run}"),
        (word(run.status), colour_of(run.status)),
        f"{run.completed}/{run.sheets_total}",
    ]


def _conductor_line(conductor: LockHolder | None, runs: list[RunRow]) -> str:
    if conductor is not None:
        return (
            f"conductor: running (pid {conductor.pid})" if conductor.pid else "conductor: starting"
        )
    waiting = sum(run.status.active for run in runs)
    if waiting:
        return f"conductor: not running; mzt resume JOB goes on with {counted(waiting, 'job')}"
    return "conductor: not running"
