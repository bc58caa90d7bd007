"""`mzt list`: jobs, the newest first."""

from __future__ import annotations

import click

from marianne_core.model.states import JobStatus
from marianne_tui.cli.listing import DEFAULT_LIMIT, show_list
from marianne_tui.cli.params import COUNT, json_option


@click.command("list", help="Jobs that are not over, the newest first; with --all also the others.")
@click.option("-a", "--all", "show_all", is_flag=True, help="Also jobs that are over.")
@click.option(
    "-s",
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([str(s) for s in JobStatus]),
    metavar="STATUS",
    help="Only jobs in this status (may be given several times).",
)
@click.option(
    "-l",
    "--limit",
    default=DEFAULT_LIMIT,
    show_default=True,
    type=COUNT,
    help="At most so many.",
)
@json_option
def command(show_all: bool, statuses: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Hand over to the function that the fast way calls too."""
    show_list(show_all=show_all, statuses=statuses, limit=limit, as_json=as_json)
