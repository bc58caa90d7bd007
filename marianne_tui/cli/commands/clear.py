"""`mzt clear`: forget jobs that are over, rows and files together."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time

import click

from marianne_core.model.errors import InputError, MztError, StateError
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.clearing import ClearFilter, clear_runs, runs_to_clear
from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock
from marianne_core.remember.migrations import open_database, open_for_reading, unreadable
from marianne_tui import __version__
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.reading import find_home
from marianne_tui.cli.style import counted

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
    wanted = ClearFilter(
        jobs=jobs or None,
        statuses=[JobStatus(s) for s in statuses] or None,
        older_than=older_than,
    )
    home = find_home()
    found = _count(home, wanted)
    if found and not yes:
        if not sys.stdin.isatty():
            raise InputError("nothing was cleared: it must be confirmed", hint="add --yes")
        if not click.confirm(f"Forget {counted(found, 'run')} and what their sheets wrote?"):
            raise click.Abort
    cleared = _clear(home, wanted) if found else 0
    if as_json:
        print_json({"deleted": cleared})
    else:
        click.echo(f"cleared {counted(cleared, 'run')}")


def _count(home: Home, wanted: ClearFilter) -> int:
    connection = open_for_reading(home.database)
    if connection is None:
        return 0
    try:
        return len(connection.execute(*runs_to_clear(wanted, time.time())).fetchall())
    except sqlite3.Error as error:
        raise unreadable(str(home.database), error) from error
    finally:
        connection.close()


def _clear(home: Home, wanted: ClearFilter) -> int:
    """Take the conductor's place for a moment: only the holder of the lock writes the store."""
    lock = StateLock(home.lock)
    if not lock.try_acquire(version=__version__, socket=home.socket):
        holder = lock.holder()
        who = f" (pid {holder.pid})" if holder is not None and holder.pid else ""
        raise StateError(
            f"nothing was cleared: a conductor is at work{who}, and it alone writes the store",
            hint="clear when it has ended; mzt list shows what it works on",
        )
    try:
        return _clear_here(home, wanted)
    finally:
        lock.release()


def _clear_here(home: Home, wanted: ClearFilter) -> int:
    connection = open_database(home.database)
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            run_ids = clear_runs(connection, wanted, time.time())
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise MztError(f"nothing was cleared: {error}", where=str(home.database)) from error
    finally:
        connection.close()
    for run_id in run_ids:
        shutil.rmtree(home.run_dir(run_id), ignore_errors=True)
    return len(run_ids)
