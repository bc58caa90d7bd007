"""`mzt init [NAME]`: a first score to start from, for an agent that is there or for the shell."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from marianne_core.config.profiles import Profiles
from marianne_core.model.errors import InputError
from marianne_core.run.instrument.readiness import State
from marianne_tui.cli.drafting import yaml_value
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import json_option
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.surveying import Finding, examine, profiles_here, startable_agents
from marianne_tui.cli.templates import AGENT_SCORE, ANSWER_SCORE, FIRST_SCORE

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SHELL = "cli"
_PREFERRED = ("claude-code", "codex-cli", "gemini-cli", "opencode", "cline-cli", "aider")
"""Agents in the order in which one is proposed."""


@click.command("init")
@click.argument("name", default="my-score")
@click.option("-i", "--instrument", metavar="NAME", help="Write it for this instrument.")
@click.option("-p", "--path", "folder", default=".", help="Folder to write it into.")
@click.option("-f", "--force", is_flag=True, help="Overwrite a file of that name.")
@json_option
def command(name: str, instrument: str | None, folder: str, force: bool, as_json: bool) -> None:
    """Write a first score that runs as it stands.

    It is for an agent that is ready here, or for the shell (`cli`) where none is; on a terminal it
    is asked which one, if there are several. An existing file stays unless --force is given.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a score",
            hint="letters, digits, _ and -, and a letter or digit first",
        )
    if not os.path.isabs(folder):
        Path.cwd()  # raises where it was removed: a clearer word than that of the file
    target = Path(folder) / f"{name}.yaml"
    if os.path.lexists(target) and not force:
        # Said before a question is asked; the file is still made without overwriting any.
        raise _exists(target)
    chosen = _wanted(instrument) if instrument else _chosen(asks=not as_json)
    _write(target, _text(name, chosen), force)
    agent = chosen is not None and not _is_shell(chosen)
    label = chosen.name if chosen is not None and agent else _SHELL
    if as_json:
        print_json({"created": str(target), "instrument": label})
        return
    click.echo(f"wrote {one_line(target)}: it is played by {one_line(label)}")
    if chosen is not None and not chosen.here.state.can_start:
        click.echo(f"  it cannot be played here yet: {one_line(chosen.here.reason)}")
    if chosen is not None and chosen.here.state is State.INSTALLED:
        hint = chosen.here.login_hint
        click.echo(f"  whether it is logged in is not known{f': {one_line(hint)}' if hint else ''}")
    click.echo(f"  next: mzt run {one_line(target)}")


def _wanted(name: str) -> Finding:
    """The instrument that was named. Raises InputError for one that cannot be played at all."""
    profiles = profiles_here()
    resolution = profiles.resolve(name)
    if resolution.profile is None:
        near = f"did you mean {resolution.near[0]}?" if resolution.near else "mzt instruments list"
        raise InputError(f"no score can be played by {name!r}: {resolution.reason}", hint=near)
    return examine(profiles, resolution.name)


def _chosen(*, asks: bool) -> Finding | None:
    """The agent that a score is written for; None stands for the shell."""
    profiles = profiles_here()
    agents = startable_agents(profiles, _PREFERRED)
    ready = [agent for agent in agents if agent.here.state is State.READY]
    if asks and sys.stdin.isatty() and sys.stdout.isatty() and _is_a_choice(agents, ready):
        return _asked(agents, profiles)
    return ready[0] if ready else None


def _is_a_choice(agents: Sequence[Finding], ready: Sequence[Finding]) -> bool:
    """One agent that is ready needs no question, and neither does none at all."""
    return len(agents) > 1 or (len(agents) == 1 and not ready)


def _asked(agents: Sequence[Finding], profiles: Profiles) -> Finding | None:
    """Let the person choose."""
    offered = [*agents, examine(profiles, _SHELL)]
    click.echo("Who shall play it?")
    for place, each in enumerate(offered, start=1):
        if _is_shell(each):
            state = "bash scripts, costs nothing"
        elif each.here.state is State.READY:
            state = f"ready, login: {each.login}"
        else:
            state = f"installed, login {each.login}"
        click.echo(f"  {place}  {one_line(each.name)} ({one_line(state)})")
    number = click.prompt(
        "Number", type=click.IntRange(1, len(offered)), default=1, show_default=True
    )
    return offered[number - 1]


def _is_shell(finding: Finding) -> bool:
    return finding.name == _SHELL


def _text(name: str, chosen: Finding | None) -> str:
    quoted = yaml_value(name)  # `123` and `true` would be no text
    if chosen is None or _is_shell(chosen):
        return FIRST_SCORE.format(name=name, quoted=quoted)
    profile = chosen.profile
    known = profile.models[0].name if profile is not None and profile.models else "NAME"
    model = profile.default_model if profile is not None and profile.default_model else known
    score = AGENT_SCORE if profile is None or profile.kind == "cli" else ANSWER_SCORE
    return score.format(
        name=name,
        quoted=quoted,
        instrument=yaml_value(chosen.name),
        model=yaml_value(model),
    )


def _write(target: Path, text: str, force: bool) -> None:
    """Raises InputError where it cannot be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(target, flags, 0o666), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        raise InputError(f"cannot write it: {error.strerror}", where=str(target)) from None


def _exists(target: Path) -> InputError:
    return InputError(
        "it exists already", where=str(target), hint="choose another name, or --force"
    )
