"""`mzt status [JOB]`: where a job stands, sheet by sheet."""

from __future__ import annotations

import click

from marianne_core.model.runs import JobRef
from marianne_tui.cli.following import exit_code_of
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.reading import find_home, picture_of
from marianne_tui.cli.standing import show_status
from marianne_tui.cli.views import make_view


@click.command(
    "status",
    help="Where a job stands; without JOB, the conductor and all active jobs. With --watch it"
    " follows a job that runs, and ends as `mzt run` does.",
)
@click.argument("job", type=JOB, required=False)
@click.option("-a", "--all", "every_sheet", is_flag=True, help="List every sheet of a long job.")
@click.option(
    "-W", "--watch", "watching", is_flag=True, help="Follow the job to its end; Ctrl-C stops that."
)
@json_option
@click.pass_context
def command(
    ctx: click.Context, job: JobRef | None, every_sheet: bool, watching: bool, as_json: bool
) -> None:
    """Hand over to the function that the fast way calls too, or follow the job."""
    if not watching:
        show_status(job, every_sheet=every_sheet, as_json=as_json)
        return
    if job is None:
        raise click.UsageError("--watch needs a JOB")
    found = picture_of(find_home(), job)
    if not found.live:
        # Over, paused, or nobody works on it: it stands like this.
        show_status(job, every_sheet=every_sheet, as_json=as_json)
        ctx.exit(exit_code_of(found.status))
    from marianne_tui.cli.conducting import Target, watch

    target = Target(found.run.job_id, found.run.run)
    ctx.exit(watch(find_home(), target, make_view(as_json=as_json)))
