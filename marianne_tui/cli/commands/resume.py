"""`mzt resume JOB`: go on with a paused, failed, cancelled or interrupted job."""

from __future__ import annotations

import click

from marianne_core.model.requests import Receipt
from marianne_core.model.runs import JobRef
from marianne_core.serve.client import Client
from marianne_tui.cli.again import go_on
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.reading import find_home


@click.command(
    "resume",
    help="Go on with a paused, failed or cancelled job. Without a running conductor this command"
    " becomes one, also for a job that was interrupted, and follows the job as `mzt run` does.",
)
@click.argument("job", type=JOB)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless the job does not complete.")
@json_option
@click.pass_context
def command(ctx: click.Context, job: JobRef, quiet: bool, as_json: bool) -> None:
    """Resume at a conductor, or become one."""

    async def wish(client: Client, name: str) -> Receipt:
        return await client.resume(name)

    ctx.exit(
        go_on(
            find_home(), job, "job.resume", wish, as_json=as_json, quiet=quiet, unless_moving=True
        )
    )
