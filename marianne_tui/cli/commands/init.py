"""`mzt init [NAME]`: a first score to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from marianne_core.model.errors import InputError
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import json_option
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.templates import FIRST_SCORE

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@click.command("init", help="Write a first score that runs as it stands.")
@click.argument("name", default="my-score")
@click.option("-p", "--path", "folder", default=".", help="Folder to write it into.")
@click.option("-f", "--force", is_flag=True, help="Overwrite a file of that name.")
@json_option
def command(name: str, folder: str, force: bool, as_json: bool) -> None:
    """Write `NAME.yaml`; an existing file stays unless --force is given."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a score",
            hint="letters, digits, _ and -, and a letter or digit first",
        )
    target = Path(folder) / f"{name}.yaml"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(target, flags, 0o666), "w", encoding="utf-8") as file:
            file.write(FIRST_SCORE.format(name=name))
    except FileExistsError:
        raise InputError(
            "it exists already", where=str(target), hint="choose another name, or --force"
        ) from None
    except OSError as error:
        raise InputError(f"cannot write it: {error.strerror}", where=str(target)) from None
    if as_json:
        print_json({"created": str(target)})
    else:
        click.echo(f"wrote {one_line(target)}\n  next: mzt run {one_line(target)}")
