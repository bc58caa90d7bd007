"""`mzt history [JOB]`: every attempt of a run, or every run."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from marianne_core.model.runs import JobRef
from marianne_core.remember.lock import LockHolder
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import AttemptRow, RunRow
from marianne_tui.cli.columns import Cell, table
from marianne_tui.cli.listing import run_cells
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import COUNT, JOB, json_option, sheet_option
from marianne_tui.cli.reading import (
    check_sheet,
    conductor_of,
    find_home,
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
    wants_colour,
    word,
)

_STATE_OF_END = {
    "ok": "completed",
    "failed": "failed",
    "timeout": "failed",
    "lost": "failed",
    "cancelled": "cancelled",
    "skipped": "skipped",
    "never_ran": "skipped",
}


@click.command(
    "history",
    help="Every attempt of a job's newest run (JOB#RUN: of another); without JOB, all runs.",
)
@click.argument("job", type=JOB, required=False)
@sheet_option("Only this sheet.")
@click.option("--runs", is_flag=True, help="All runs of the job instead of one run's attempts.")
@click.option(
    "-n",
    "--limit",
    default=50,
    show_default=True,
    type=COUNT,
    help="At most the newest so many.",
)
@json_option
def command(job: JobRef | None, sheet: int | None, runs: bool, limit: int, as_json: bool) -> None:
    """Show what happened, oldest attempt first; runs newest first."""
    home = find_home()
    with open_reader(home) as reader, reader.snapshot():
        if job is None or runs:
            if job is not None:
                reader.get_run(job)
            found = reader.list_runs(job_id=job.job_id if job else None, limit=limit + 1)
            _show_runs(found, limit, conductor_of(home), as_json)
            return
        run = reader.get_run(job)
        check_sheet(run, sheet)
        attempts = reader.attempts(run.run_id, sheet)
    attempts.sort(key=lambda a: (a.started_at or a.intended_at, a.num, a.attempt))
    hidden = max(0, len(attempts) - limit)
    attempts = attempts[hidden:]
    if as_json:
        records = [_as_dict(attempt) for attempt in attempts]
        print_json({"job_id": run.job_id, "run": run.run, "records": records})
        return
    click.echo(f"{one_line(f'{run.job_id}#{run.run}')} {word(run.status)}")
    if hidden:
        click.echo(f"  ... {hidden} earlier attempts; --limit shows more")
    if attempts:
        click.echo("\n".join(_table(attempts)))
    else:
        click.echo("  nothing was tried yet")


def _show_runs(runs: list[RunRow], limit: int, conductor: LockHolder | None, as_json: bool) -> None:
    more, runs = len(runs) > limit, runs[:limit]
    if as_json:
        print_json([run_dict(run, conductor) for run in runs])
        return
    plain, now = ascii_only(sys.stdout), time.time()
    rows: list[list[Cell]] = [
        [
            *run_cells(run, plain),
            clock_time(run.submitted_at),
            duration(seconds_of(run, conductor, now)),
            (one_line(reason_of(run, conductor)), "dim"),
        ]
        for run in runs
    ]
    if not rows:
        click.echo("no runs yet")
        return
    header = ("", "run", "status", "sheets", "submitted", "took", "note")
    click.echo(
        "\n".join(table(header, rows, colour=wants_colour(sys.stdout), right=(3, 5), elastic=1))
    )
    if more:
        click.echo(f"  ... only the newest {limit} are shown; --limit shows more")


def _table(attempts: list[AttemptRow]) -> list[str]:
    plain = ascii_only(sys.stdout)
    rows: list[list[Cell]] = []
    for attempt in attempts:
        state = _state(attempt)
        start = attempt.started_at or attempt.intended_at
        took = attempt.finished_at - start if attempt.finished_at is not None else None
        rate = attempt.pass_rate if attempt.ended == "ok" else None
        rows.append(
            [
                (glyph(state, ascii_only=plain), colour_of(state)),
                str(attempt.num),
                str(attempt.attempt),
                str(attempt.mode),
                one_line(attempt.instrument),
                clock_time(start),
                duration(took),
                _ending(attempt),
                "" if rate is None else f"{rate:.0f} %",
                (one_line(attempt.reason), "dim"),
            ]
        )
    header = (
        "",
        "sheet",
        "try",
        "mode",
        "instrument",
        "started",
        "took",
        "ended",
        "passed",
        "note",
    )
    return table(header, rows, colour=wants_colour(sys.stdout), right=(1, 2, 6, 8), elastic=4)


def _state(attempt: AttemptRow) -> str:
    if attempt.ended is None:
        return "in_progress"
    if attempt.ended == "ok" and attempt.pass_rate is not None and attempt.pass_rate < 100:
        return "retry_scheduled"
    return _STATE_OF_END.get(attempt.ended, "failed")


def _ending(attempt: AttemptRow) -> str:
    if attempt.ended is None:
        return "running"
    if attempt.signal:
        return f"{word(attempt.ended)} (signal {attempt.signal})"
    if attempt.exit_code:
        return f"{word(attempt.ended)} ({attempt.exit_code})"
    return word(attempt.ended)


def _as_dict(attempt: AttemptRow) -> dict[str, Any]:
    return {
        "sheet": attempt.num,
        "attempt": attempt.attempt,
        "mode": str(attempt.mode),
        "instrument": attempt.instrument,
        "model": attempt.model,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "ended": attempt.ended,
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "code": attempt.code,
        "reason": attempt.reason,
        "pass_rate": attempt.pass_rate,
        "input_tokens": attempt.input_tokens,
        "output_tokens": attempt.output_tokens,
        "cost_usd": attempt.cost_usd,
    }
