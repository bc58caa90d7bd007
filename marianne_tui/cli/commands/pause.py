"""`mzt pause JOB`: start no new sheets; the running ones end first."""

from __future__ import annotations

import click

from marianne_core.model.errors import NoConductorError
from marianne_core.model.runs import JobRef
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import JOB, json_option
from marianne_tui.cli.reading import find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.steering import ask, needs_conductor


@click.command("pause", help="Start no new sheets of a job; the running ones end first.")
@click.argument("job", type=JOB)
@json_option
def command(job: JobRef, as_json: bool) -> None:
    """Pause at the running conductor."""
    home = find_home()
    try:
        answer = ask(home, "job.pause", job)
    except NoConductorError:
        raise needs_conductor(home, job, "pause") from None
    if as_json:
        print_json(answer)
    else:
        click.echo(one_line(answer.get("message") or f"{job} is pausing"))
