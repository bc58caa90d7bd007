"""`mzt retry JOB [--sheet N]`: run sheets again that did not succeed, or one and what follows."""

from __future__ import annotations

import click

from marianne_core.model.requests import Receipt
from marianne_core.model.runs import JobRef
from marianne_core.serve.client import Client
from marianne_tui.cli.again import go_on
from marianne_tui.cli.params import JOB, json_option, sheet_option
from marianne_tui.cli.reading import find_home


@click.command(
    "retry",
    help="Run failed, blocked and cancelled sheets again; with --sheet, that sheet and all that"
    " depend on it. A paused job goes on with that. Without a running conductor this command becomes one and follows the job.",
)
@click.argument("job", type=JOB)
@sheet_option("This sheet and all that depend on it, whatever became of them.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless the job does not complete.")
@json_option
@click.pass_context
def command(ctx: click.Context, job: JobRef, sheet: int | None, quiet: bool, as_json: bool) -> None:
    """Retry at a conductor, or become one."""

    async def wish(client: Client, name: str) -> Receipt:
        return await client.retry(name, sheet)

    ctx.exit(
        go_on(
            find_home(),
            job,
            "job.retry",
            wish,
            as_json=as_json,
            quiet=quiet,
            unless_moving=False,
            sheet=sheet,
        )
    )
