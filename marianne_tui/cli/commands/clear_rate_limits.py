"""`mzt clear-rate-limits`: use parked instruments again, before their services said they may be."""

from __future__ import annotations

import time

import click

from marianne_core.config.profiles import ALIASES
from marianne_core.model.errors import NoConductorError
from marianne_core.remember.clearing import lift_without_conductor
from marianne_core.remember.home import Home
from marianne_tui import __version__
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import json_option
from marianne_tui.cli.reading import find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.steering import ask
from marianne_tui.cli.style import counted


@click.command(
    "clear-rate-limits",
    help="Use instruments again that a rate limit has parked: sheets that wait for one start at once."
    " A service that still refuses parks its instrument again; that costs no retry.",
)
@click.option("-i", "--instrument", metavar="NAME", help="Only those of this instrument.")
@json_option
def command(instrument: str | None, as_json: bool) -> None:
    """Lift the limits of one instrument, or all."""
    cleared = _lift(find_home(), instrument)
    if as_json:
        print_json({"cleared": cleared, "instrument": instrument})
    elif cleared:
        click.echo(f"lifted {counted(cleared, 'rate limit')}")
    else:
        of_it = "" if instrument is None else f" of {one_line(instrument)}"
        click.echo(f"there is no rate limit{of_it}")


def _lift(home: Home, instrument: str | None) -> int:
    """By the conductor, which alone writes the store while it works, or else here."""
    try:
        answer = ask(home, "daemon.clear_rate_limits", instrument=instrument)
        return int(answer["cleared"])
    except NoConductorError:
        name = ALIASES.get(instrument, instrument) if instrument else None
        return lift_without_conductor(home, name, time.time(), version=__version__)
