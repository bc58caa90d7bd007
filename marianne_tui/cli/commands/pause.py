"""`mzt pause JOB`: start no new sheets; the running ones end first."""

from __future__ import annotations

import click

from marianne_core.model.runs import JobRef
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.steering import steer


@click.command("pause", help="Start no new sheets of a job; the running ones end first.")
@click.argument("job", type=JOB)
@json_option
def command(job: JobRef, as_json: bool) -> None:
    """Pause at the running conductor."""
    steer("job.pause", job, as_json=as_json)
