"""`mzt instruments list|check`: what scores can name, and whether it is there."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

import click

from marianne_core.config.http_program import what_is_missing, where_it_is
from marianne_core.config.profiles import ALIASES, KNOWN_INSTRUMENTS, Profiles
from marianne_core.model.errors import EXIT_FAILED, InputError
from marianne_tui.cli.checking import find_profiles
from marianne_tui.cli.columns import Cell, table
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import json_option
from marianne_tui.cli.problems import print_problems
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import ascii_only, wants_colour


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known about one instrument on this machine."""

    name: str
    state: str
    """`ready`, `missing` (its program is not found, its key is not set) or `no profile`."""
    detail: str
    program: str = ""
    """Path of its program when it was found."""
    origin: str = ""
    """File of its profile."""
    about: str = ""
    """What its profile says of it."""
    caution: str = ""
    """What its profile warns of."""


def examine(profiles: Profiles, name: str) -> Finding:
    """Look for an instrument's profile and program."""
    resolution = profiles.resolve(name)
    origin = str(profiles.origins.get(resolution.name, ""))
    profile = resolution.profile
    if profile is None:
        return Finding(name, "no profile", resolution.reason, origin=origin)
    if profile.cli is None:
        return Finding(name, "ready", profile.display_name, origin=origin)
    if profile.kind == "http" and profile.http is not None:
        missing = what_is_missing(profile.http, os.environ)
        return Finding(
            name,
            "missing" if missing else "ready",
            missing or f"{profile.display_name}: {where_it_is(profile.http, os.environ)}",
            origin=origin,
            about=profile.description or "",
        )
    executable = profile.cli.command.executable
    program = shutil.which(executable)
    if program is None:
        return Finding(name, "missing", f"the program {executable!r} is not in PATH", origin=origin)
    caution = ""
    if profile.execution_status == "warning":
        caution = profile.execution_status_detail or "its profile warns of it, without a word why"
    about = profile.description or ""
    return Finding(name, "ready", profile.display_name, program, origin, about, caution)


@click.group("instruments", help="Instruments that scores can name.")
def command() -> None:
    """Holds the two commands below."""


@command.command("list", help="All instruments, and whether they can be played here.")
@json_option
def list_instruments(as_json: bool) -> None:
    """Names with a profile first, then those that are only known."""
    profiles = find_profiles()
    names = [*sorted(profiles.by_name), *sorted(set(KNOWN_INSTRUMENTS) - set(profiles.by_name))]
    findings = [examine(profiles, name) for name in names]
    if as_json:
        print_json([_as_dict(finding) for finding in findings])
        return
    colour = wants_colour(sys.stdout)
    rows: list[list[Cell]] = [
        [
            (_mark(finding), _colour(finding)),
            one_line(finding.name),
            (finding.state, _colour(finding)),
            (one_line(finding.detail), "dim"),
        ]
        for finding in findings
    ]
    click.echo("\n".join(table(("", "name", "state", "detail"), rows, colour=colour)))
    print_problems(list(profiles.problems), err=True)


@command.command("check", help="Is this instrument ready? Exit status 1 when it is not.")
@click.argument("name")
@json_option
@click.pass_context
def check(ctx: click.Context, name: str, as_json: bool) -> None:
    """Say where its profile and its program are."""
    profiles = find_profiles()
    resolution = profiles.resolve(name)
    if not resolution.known:
        near = f"did you mean {resolution.near[0]}?" if resolution.near else "mzt instruments list"
        raise InputError(f"no instrument {name!r}", hint=near)
    finding = examine(profiles, name)
    if as_json:
        print_json(_as_dict(finding))
    else:
        click.echo(f"{_mark(finding)} {one_line(name)}: {finding.state}")
        facts = [
            ("detail", finding.detail),
            ("about", finding.about),
            ("warning", finding.caution),
            ("program", finding.program),
            ("profile", finding.origin),
            ("alias of", ALIASES.get(name, "")),
        ]
        for label, value in facts:
            if value:
                click.echo(f"  {label}: {one_line(value)}")
    if finding.state != "ready":
        ctx.exit(EXIT_FAILED)


def _mark(finding: Finding) -> str:
    fancy, plain = {"ready": ("✓", "+"), "missing": ("✗", "x")}.get(finding.state, ("·", "."))
    return plain if ascii_only(sys.stdout) else fancy


def _colour(finding: Finding) -> str:
    return {"ready": "green", "missing": "red"}.get(finding.state, "dim")


def _as_dict(finding: Finding) -> dict[str, str]:
    return {
        "name": finding.name,
        "state": finding.state,
        "detail": finding.detail,
        "program": finding.program,
        "profile": finding.origin,
        "about": finding.about,
        "warning": finding.caution,
    }
