"""`mzt cancel JOB`: end a job and the processes of its sheets."""

from __future__ import annotations

import click

from marianne_core.model.errors import NoConductorError
from marianne_core.model.runs import JobRef
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.reading import find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.steering import ask, needs_conductor


@click.command("cancel", help="End a job; returns when the processes of its sheets are gone.")
@click.argument("job", type=JOB)
@json_option
def command(job: JobRef, as_json: bool) -> None:
    """Cancel at the running conductor."""
    home = find_home()
    try:
        answer = ask(home, "job.cancel", job)
    except NoConductorError:
        raise needs_conductor(home, job, "cancel") from None
    if as_json:
        print_json(answer)
    else:
        click.echo(one_line(answer.get("message") or f"{job} is cancelled"))
