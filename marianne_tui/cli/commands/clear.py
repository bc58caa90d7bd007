"""`mzt clear`: forget jobs that are over, rows and files together."""

from __future__ import annotations

import math
import sys
import time

import click

from marianne_core.model.errors import InputError, NoConductorError
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.clearing import ClearFilter, clear_without_conductor, runs_in_store
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import RunRow
from marianne_core.remember.run_dirs import not_removed, removing
from marianne_tui import __version__
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.reading import find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.steering import ask
from marianne_tui.cli.style import counted, word

_OVER = [str(status) for status in JobStatus if status.terminal]


@click.command("clear", help="Forget jobs that are over, with the output of their sheets.")
@click.option(
    "-j", "--job", "jobs", multiple=True, type=JOB, metavar="JOB", help="This job or JOB#RUN."
)
@click.option(
    "-s",
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_OVER),
    help="Runs that ended so.",
)
@click.option(
    "--older-than", type=click.FloatRange(min=0), metavar="SEC", help="Runs that ended so long ago."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def command(
    jobs: tuple[JobRef, ...],
    statuses: tuple[str, ...],
    older_than: float | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Clear the runs that meet every condition given; runs that are not over stay."""
    if not jobs and not statuses and older_than is None:
        raise click.UsageError("say which: --job, --status or --older-than")
    if older_than is not None and not math.isfinite(older_than):
        raise click.UsageError("--older-than is a number of seconds")
    wanted = ClearFilter(
        jobs=jobs or None,
        statuses=[JobStatus(s) for s in statuses] or None,
        older_than=older_than,
    )
    home = find_home()
    found, staying = _look(home, wanted)
    if found and not yes:
        if not sys.stdin.isatty():
            raise InputError("nothing was cleared: it must be confirmed", hint="add --yes")
        if not click.confirm(f"Forget {counted(found, 'run')} and what their sheets wrote?"):
            raise click.Abort
    cleared = _clear(home, wanted) if found else 0
    if as_json:
        print_json({"deleted": cleared})
        return
    for run in staying:
        name = one_line(f"{run.job_id}#{run.run}")
        click.echo(f"{name} stays: it is {word(run.status)}, and only what is over is cleared")
    click.echo(f"cleared {counted(cleared, 'run')}")


def _look(home: Home, wanted: ClearFilter) -> tuple[int, list[RunRow]]:
    """How many runs the filter finds, and the named ones that it spares because they are not over.

    Raises UnknownJobError for a name that stands for nothing.
    """
    with open_reader(home) as reader, reader.snapshot():
        staying = []
        for ref in wanted.jobs or ():
            newest = reader.get_run(ref)
            runs = [newest] if ref.run else reader.list_runs(job_id=ref.job_id, limit=None)
            staying += [run for run in runs if not run.status.terminal]
    return len(runs_in_store(home, wanted, time.time())), staying


def _clear(home: Home, wanted: ClearFilter) -> int:
    """By the conductor, which alone writes the store while it works, or else here."""
    jobs = None if wanted.jobs is None else [str(job) for job in wanted.jobs]
    try:
        answer = ask(
            home,
            "job.clear",
            job_ids=jobs,
            statuses=wanted.statuses,
            older_than_seconds=wanted.older_than,
        )
        return int(answer["deleted"])
    except NoConductorError:
        run_ids = clear_without_conductor(home, wanted, time.time(), version=__version__)
    try:
        for _ in removing(home.run_dir(run_id) for run_id in run_ids):
            # Portion by portion; nothing else is to be done here in between.
            continue
    except OSError as error:
        raise not_removed(error) from error
    return len(run_ids)
