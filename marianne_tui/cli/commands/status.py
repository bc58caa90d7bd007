"""`mzt status [JOB]`: where a job stands, sheet by sheet."""

from __future__ import annotations

import click

from marianne_core.model.runs import JobRef
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.standing import show_status


@click.command("status", help="Where a job stands; without JOB, the conductor and all active jobs.")
@click.argument("job", type=JOB, required=False)
@click.option("-a", "--all", "every_sheet", is_flag=True, help="List every sheet of a long job.")
@json_option
def command(job: JobRef | None, every_sheet: bool, as_json: bool) -> None:
    """Hand over to the function that the fast way calls too."""
    show_status(job, every_sheet=every_sheet, as_json=as_json)
