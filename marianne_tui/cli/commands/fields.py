"""`mzt fields [score|profile|conductor] [NAME]`: what can stand in a file, from the models."""

from __future__ import annotations

import sys

import click

from marianne_core.config.reference import pages
from marianne_core.model.errors import InputError

_FILES = {"score": "score.md", "profile": "profile.md", "conductor": "configuration.md"}


@click.command(
    "fields",
    help="Describe every field of a score, of an instrument's profile or of conductor.yaml, as"
    " Markdown; with NAME only those fields and blocks whose name holds that.",
)
@click.argument("file", type=click.Choice(list(_FILES)), default="score")
@click.argument("name", required=False)
def command(file: str, name: str | None) -> None:
    """Print the page of the reference that belongs to the file."""
    text = dict(pages())[_FILES[file]]
    if name is not None:
        text = _rows_of(text, name)
        if not text:
            raise InputError(
                f"no field of a {file} is called {name!r}", hint=f"mzt fields {file} shows all"
            )
    if sys.stdout.isatty():
        click.echo_via_pager(text)
    else:
        click.echo(text, nl=False)


def _rows_of(text: str, name: str) -> str:
    """The lines of fields whose name holds `name`, each under the heading of its block."""
    found: list[str] = []
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line
        elif line.startswith("| `") and name in line.split("`")[1] + heading:
            if heading:
                found.append(heading)
                heading = ""
            found.append(line)
    return "\n".join([*found, ""]) if found else ""
