"""`mzt cancel JOB`: end a job and the processes of its sheets."""

from __future__ import annotations

import click

from marianne_core.model.runs import JobRef
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.steering import cancel


@click.command(
    "cancel",
    help="End a job; returns when the processes of its sheets are gone. Works without a running"
    " conductor too, and starts nothing then.",
)
@click.argument("job", type=JOB)
@json_option
def command(job: JobRef, as_json: bool) -> None:
    """Cancel at the running conductor, or as one that starts nothing."""
    cancel(job, as_json=as_json)
