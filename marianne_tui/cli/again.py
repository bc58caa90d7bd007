"""Resume and retry: at the running conductor, or with one that is hosted here for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import click

from marianne_core.model.errors import NoConductorError
from marianne_core.model.requests import Receipt
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import RunRow
from marianne_core.serve.client import Client
from marianne_tui.cli.output import print_json
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.steering import ask
from marianne_tui.cli.views import make_view

_MOVING = (JobStatus.QUEUED, JobStatus.PENDING, JobStatus.RUNNING)
_PAUSED = (JobStatus.PAUSED, JobStatus.PAUSING)

Wish = Callable[[Client, str], Awaitable[Receipt]]
"""Asks for a resume or a retry of the run with this name."""


def go_on(
    home: Home,
    job: JobRef,
    method: str,
    wish: Wish,
    *,
    as_json: bool,
    quiet: bool,
    unless_moving: bool,
    sheet: int | None = None,
) -> int:
    """Ask the running conductor and return at once, or host one and follow the job to its end.

    `unless_moving`: a job that a new conductor takes up by itself is only followed. A job that is
    paused goes on, whatever the method: whoever wants something to run again wants it to run.
    Returns the exit status.
    """
    params = {} if sheet is None else {"sheet": sheet}
    try:
        answer = ask(home, method, job_id=str(job), **params)
        if answer.get("job_status") in _PAUSED:
            answer = ask(home, "job.resume", job_id=f"{answer['job_id']}#{answer['run']}")
    except NoConductorError:
        run = _checked(home, job, method, sheet)
        return _host(home, run, wish, as_json=as_json, quiet=quiet, unless_moving=unless_moving)
    if as_json:
        print_json(answer)
    elif not quiet:
        click.echo(one_line(answer.get("message") or f"{job} goes on"))
        click.echo(f"  mzt status {one_line(answer['job_id'])} -W follows it")
    return 0


def _checked(home: Home, job: JobRef, method: str, sheet: int | None) -> RunRow:
    """The run, unless the store knows already that a conductor would refuse."""
    from marianne_core.run.commands import check_resume, check_retry

    with open_reader(home) as reader:
        run = reader.get_run(job)
    if method == "job.resume":
        check_resume(run)
    elif run.status.terminal:
        # Of a run that is not over the store may not know the newest.
        check_retry(run, sheet)
    return run


def _host(
    home: Home, run: RunRow, wish: Wish, *, as_json: bool, quiet: bool, unless_moving: bool
) -> int:
    # Imported here: asking a running conductor needs none of it.
    from marianne_core.config.daemon import load_daemon_config
    from marianne_tui.cli.conducting import Target, conduct

    async def action(client: Client) -> Target:
        name = f"{run.job_id}#{run.run}"
        status = await client.status(name)
        if not (unless_moving and status["status"] in _MOVING):
            receipt = await wish(client, name)
            if receipt.status in _PAUSED:
                await client.resume(name)
        return Target(run.job_id, run.run)

    return conduct(home, load_daemon_config(), action, make_view(as_json=as_json, quiet=quiet))
