"""`mzt instruments list|check|new`: what scores can name, whether it is there, whether it works."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from marianne_core.config.daemon import load_daemon_config
from marianne_core.config.profiles import Profiles
from marianne_core.model.errors import EXIT_FAILED, EXIT_INTERRUPTED, InputError
from marianne_core.run.instrument.readiness import Login, State, costs_nothing
from marianne_tui.cli.columns import Cell, table
from marianne_tui.cli.drafting import draft_profile, write_profile
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import json_option
from marianne_tui.cli.problems import print_problems
from marianne_tui.cli.reading import find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import ascii_only, counted, wants_colour
from marianne_tui.cli.surveying import (
    Finding,
    all_names,
    examine,
    finding_dict,
    profiles_here,
    with_versions,
)
from marianne_tui.cli.trial_view import result_dict, result_lines, start_dict, start_lines

_AT_ONCE = 2.0
"""Seconds that all programs together have to say their version in a listing."""
_PATIENT = 30.0
"""The same where a person asked for the versions."""
_ALONE = 10.0
"""Seconds for one program alone."""

_COLOURS = {
    State.READY: "green",
    State.INSTALLED: "yellow",
    State.MISSING: "dim",
    State.BROKEN: "red",
}
_MARKS = {
    State.READY: ("✓", "+"),
    State.INSTALLED: ("✓", "+"),
    State.BROKEN: ("✗", "x"),
}


@click.group("instruments", help="Instruments that scores can name.")
def command() -> None:
    """Holds the commands below."""


@command.command("list")
@click.option("--versions", is_flag=True, help="Ask every program anew, and wait for its answer.")
@json_option
def list_instruments(versions: bool, as_json: bool) -> None:
    """All instruments: installed, which version, ready to be played?

    `ready` means that the program can be started and that a login was seen (or none is needed);
    `installed`, that it can be started and nothing is known of a login. `mzt instruments check NAME`
    plays one turn and knows for sure. Programs whose profile lies in this folder's .marianne are
    started only with --versions.
    """
    profiles = profiles_here()
    found = [examine(profiles, name) for name in all_names(profiles)]
    seconds = _PATIENT if versions else _AT_ONCE
    findings = with_versions(found, find_home(), seconds=seconds, anew=versions, strangers=versions)
    if as_json:
        print_json([finding_dict(finding) for finding in findings])
        return
    colour = wants_colour(sys.stdout)
    rows: list[list[Cell]] = [
        [
            (_mark(finding), _colour(finding)),
            one_line(finding.name),
            (str(finding.here.state), _colour(finding)),
            _version(finding, asked=versions or not finding.of_this_folder),
            one_line(finding.login),
            (one_line(finding.detail), "dim"),
        ]
        for finding in findings
    ]
    head = ("", "name", "state", "version", "login", "detail")
    click.echo("\n".join(table(head, rows, colour=colour, elastic=head.index("login"))))
    silent = sum(
        f.question is not None and f.version is None and not f.of_this_folder for f in findings
    )
    if silent and not versions:
        click.echo(
            f"{counted(silent, 'program')} did not say the version in {_AT_ONCE:g} s: "
            "mzt instruments list --versions waits longer"
        )
    print_problems(list(profiles.problems), err=True)


@command.command("check")
@click.argument("name")
@click.option("-m", "--model", metavar="M", help="Use this model.")
@click.option("--prompt", metavar="TEXT", help="Send this instead of a request for one word.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1, max=86_400),
    default=120.0,
    metavar="SEC",
    help="End the turn after so long; 120 unless given.",
)
@click.option("-y", "--yes", is_flag=True, help="Play the turn without a question.")
@click.option("--no-turn", is_flag=True, help="Only look: start nothing but `--version`.")
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    name: str,
    model: str | None,
    prompt: str | None,
    timeout: float,
    yes: bool,
    no_turn: bool,
    as_json: bool,
) -> None:
    """Does this instrument work? Plays one short turn on it, in an empty folder.

    The turn goes through the same code as every sheet of a score. It may cost money, so it is asked
    about on a terminal, and needs --yes elsewhere; `cli` costs nothing and is not asked about. Exit
    status 0 it works, 1 it does not, 2 wrong input, 130 ended by Ctrl-C.
    """
    profiles = profiles_here()
    _known(profiles, name)
    _takes(profiles, name, model)
    (finding,) = with_versions([examine(profiles, name)], find_home(), seconds=_ALONE)
    if no_turn or not finding.here.state.can_start:
        if as_json:
            print_json({**finding_dict(finding), "turn": None})
        else:
            click.echo("\n".join(_look_lines(finding)))
        if not finding.here.state.can_start:
            ctx.exit(EXIT_FAILED)
        return
    # Imported here: to look at an instrument needs no conductor.
    from marianne_tui.cli.trial import Trial, Wish, sentence_for, with_program

    assert finding.profile is not None
    costs = not costs_nothing(finding.profile)
    if costs and not yes and (as_json or not sys.stdin.isatty()):
        raise InputError(
            f"a turn on {name} may cost money: it must be confirmed",
            hint="add --yes, or --no-turn to look only",
        )
    real = profiles.resolve(name).name
    wish = Wish(real, prompt or sentence_for(finding.profile), model, timeout)
    with Trial(
        with_program(profiles, real, finding.here.program), load_daemon_config(), wish
    ) as trial:
        start = trial.start()
        if not as_json:
            click.echo("\n".join([*_look_lines(finding), *start_lines(start)]))
        if costs and not yes and not click.confirm("Play one turn? It may cost money."):
            raise click.Abort
        began = "the turn is played; Ctrl-C ends it"
        result = trial.play(lambda: None if as_json else click.echo(began))
    if as_json:
        print_json({**finding_dict(finding), "turn": {**start_dict(start), **result_dict(result)}})
    else:
        click.echo("\n".join(result_lines(name, result, costs=costs)))
    if result.interrupted:
        ctx.exit(EXIT_INTERRUPTED)
    if not result.good:
        ctx.exit(EXIT_FAILED)


@command.command("new")
@click.argument("name")
@click.option("--from", "source", metavar="INSTRUMENT", help="Begin with the profile of this one.")
@click.option(
    "--global",
    "everywhere",
    is_flag=True,
    help="For all folders: below ~/.marianne instead of here.",
)
@json_option
def new(name: str, source: str | None, everywhere: bool, as_json: bool) -> None:
    """Write a profile with comments, to be edited: .marianne/instruments/NAME.yaml.

    An existing file stays as it is.
    """
    profiles = profiles_here()
    text = draft_profile(profiles, name, source)
    folder = (Path.home() if everywhere else Path.cwd()) / ".marianne" / "instruments"
    written = write_profile(folder, name, text)
    replaces = str(profiles.origins.get(name, ""))
    if as_json:
        print_json({"created": str(written), "name": name, "replaces": replaces})
        return
    click.echo(f"wrote {one_line(written)}")
    if replaces:
        click.echo(f"  it goes before {one_line(replaces)}")
    click.echo(f"  next: edit it, then mzt instruments check {one_line(name)}")


def _known(profiles: Profiles, name: str) -> None:
    resolution = profiles.resolve(name)
    if not resolution.known:
        near = f"did you mean {resolution.near[0]}?" if resolution.near else "mzt instruments list"
        raise InputError(f"no instrument {name!r}", hint=near)


def _takes(profiles: Profiles, name: str, model: str | None) -> None:
    """Raises InputError for a model that the instrument would never be told of."""
    profile = profiles.resolve(name).profile
    if model is None or profile is None or profile.cli is None:
        return
    if profile.cli.command.model_flag is None:
        raise InputError(
            f"{name} has no flag for a model: --model has no effect there",
            hint="set cli.command.model_flag in its profile, or leave --model out",
        )


def _look_lines(finding: Finding) -> list[str]:
    """What is known about an instrument without a turn."""
    here = finding.here
    state = str(here.state)
    facts = [
        ("detail", finding.detail),
        ("about", (finding.profile.description or "") if finding.profile else ""),
        ("warning", finding.caution),
        ("program", here.program),
        ("version", _version(finding) if here.state.can_start else ""),
        ("login", _login_words(finding)),
        ("profile", finding.origin),
        ("alias of", str(finding_dict(finding)["alias_of"])),
    ]
    head = f"{_mark(finding)} {one_line(finding.name)}: {state}"
    return [head, *(f"  {label}: {one_line(value)}" for label, value in facts if value)]


def _login_words(finding: Finding) -> str:
    here = finding.here
    if here.login is Login.SEEN:
        return f"seen: {finding.login}"
    if here.login is Login.NOT_SEEN:
        hint = f"; to log in: {here.login_hint}" if here.login_hint else ""
        return f"not seen (looked for {here.login_by}){hint}"
    if here.login is Login.NOT_KNOWN:
        return "not known: its profile does not say where one is seen"
    return str(here.login or "")


def _version(finding: Finding, *, asked: bool = True) -> str:
    if finding.version or not (finding.here.state.can_start and finding.here.program):
        return finding.version or ""
    return "not known" if asked or finding.question is None else "not asked"


def _mark(finding: Finding) -> str:
    fancy, plain = _MARKS.get(finding.here.state, ("·", "."))
    return plain if ascii_only(sys.stdout) else fancy


def _colour(finding: Finding) -> str:
    return _COLOURS.get(finding.here.state, "dim")
