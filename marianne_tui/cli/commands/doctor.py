"""`mzt doctor`: is this machine ready? Each check says what it found and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from marianne_core.config.daemon import find_config_file, read_daemon_config
from marianne_core.model.errors import EXIT_FAILED, MztError, NoConductorError, OlderStoreError
from marianne_core.model.problem import Severity
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.run.instrument.readiness import Login, State
from marianne_core.run.launcher import locks_are_inherited
from marianne_core.serve.blocking import call
from marianne_tui import __version__
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import json_option
from marianne_tui.cli.reading import conductor_of, find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import ascii_only, counted, paint, wants_colour
from marianne_tui.cli.surveying import Finding, examine, profiles_here

_LOW_DISK = 1 << 30
"""Bytes; below it a run with much output may fill the disk."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found."""

    name: str
    level: str
    """`ok`, `warning`, `absent` for an instrument that is not installed, or `error` when nothing can
    run."""
    found: str
    hint: str = ""


@click.command("doctor", help="Check that this machine is ready. Exit status 1 if it is not.")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Run all checks."""
    home = find_home()
    checks = list(run_checks(home))
    ready = all(check.level != "error" for check in checks)
    if as_json:
        print_json(
            {
                "ready": ready,
                "checks": [
                    {"name": c.name, "level": c.level, "found": c.found, "hint": c.hint}
                    for c in checks
                ],
            }
        )
    else:
        for check in checks:
            click.echo("\n".join(_lines(check)))
        click.echo("ready" if ready else "not ready")
    if not ready:
        ctx.exit(EXIT_FAILED)


def run_checks(home: Home) -> Iterator[Check]:
    """All checks, in the order in which they matter."""
    yield _python()
    yield _shell()
    state = _guarded("state directory", lambda: _state(home))
    yield state
    if state.level == "ok":
        yield _guarded("locks", lambda: _locks(home))
        yield _guarded("database", lambda: _database(home))
        yield _disk(home)
    yield _guarded("configuration", _configuration)
    yield _guarded("conductor", lambda: _conductor(home))
    yield _working_directory()
    yield from _instruments()


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except MztError as error:
        where = f"{error.where}: " if error.where else ""
        return Check(name, "error", f"{where}{error.what}", error.hint)


def _python() -> Check:
    # An older Python than 3.11 cannot even import this program: pip refuses to install it there.
    return Check("python", "ok", f"{platform.python_version()}, mzt {__version__}")


def _shell() -> Check:
    bash = shutil.which("bash")
    if not os.access("/bin/sh", os.X_OK):
        return Check("shell", "error", "/bin/sh is missing", "every sheet is started by /bin/sh")
    if bash is None:
        return Check(
            "shell",
            "error",
            "bash is not in PATH",
            "install bash: the instrument `cli`, command_succeeds and skip_when_command need it",
        )
    return Check("shell", "ok", bash)


def _state(home: Home) -> Check:
    home.prepare()
    return Check("state directory", "ok", str(home.root))


def _locks(home: Home) -> Check:
    if locks_are_inherited(home.root):
        return Check("locks", "ok", "held by child processes, as recovery needs it")
    return Check(
        "locks",
        "error",
        "this file system does not pass locks on to child processes",
        "set MARIANNE_HOME to a directory on a local disk",
    )


def _database(home: Home) -> Check:
    try:
        with open_reader(home) as reader:
            jobs = len(reader.list_runs(newest_only=True, limit=None))
    except OlderStoreError as error:
        # Every command that hosts a conductor mends it by itself.
        return Check("database", "warning", error.what, error.hint)
    return Check("database", "ok", f"{counted(jobs, 'job')} remembered")


def _disk(home: Home) -> Check:
    free = shutil.disk_usage(home.root).free
    found = f"{free / (1 << 30):.1f} GiB free for the state directory"
    if free < _LOW_DISK:
        return Check("disk", "warning", found, "mzt clear --older-than SEC makes room")
    return Check("disk", "ok", found)


def _configuration() -> Check:
    file = find_config_file(os.environ)
    loaded = read_daemon_config()
    if file is None:
        return Check("configuration", "ok", "defaults (there is no conductor.yaml)")
    warnings = [p for p in loaded.problems if p.severity is not Severity.INFO]
    if warnings:
        return Check(
            "configuration",
            "warning",
            f"{warnings[0].where}: {warnings[0].message}",
            warnings[0].hint,
        )
    return Check("configuration", "ok", str(file))


def _conductor(home: Home) -> Check:
    holder = conductor_of(home)
    if holder is None:
        return Check("conductor", "ok", "not running; mzt run starts one")
    try:
        health = call(home.socket, "daemon.health")
    except NoConductorError:
        return Check(
            "conductor",
            "warning",
            f"pid {holder.pid} holds the state directory but does not answer",
            f"it may be starting or leaving; look at {_log_file(home)}",
        )
    version = str(health.get("version", ""))
    found = f"running (pid {health.get('pid')}, version {version})"
    if version and version != __version__:
        return Check(
            "conductor",
            "warning",
            found,
            (
                f"this is mzt {__version__}: Ctrl-C twice ends the other and leaves its sheets"
                " running, mzt resume goes on with them"
            ),
        )
    return Check("conductor", "ok", found)


def _log_file(home: Home) -> Path:
    """Where a conductor of this configuration writes its log."""
    try:
        return read_daemon_config().config.log_file or home.log
    except MztError:
        return home.log


def _working_directory() -> Check:
    try:
        return Check("working directory", "ok", str(Path.cwd()))
    except FileNotFoundError:
        found = "the current directory does not exist any more"
        return Check("working directory", "warning", found, "cd to another one")


def _instruments() -> Iterator[Check]:
    profiles = profiles_here()
    for name in sorted(profiles.by_name):
        yield _instrument(examine(profiles, name))
    for problem in profiles.problems:
        yield Check("instruments", "warning", f"{problem.where}: {problem.message}", problem.hint)


def _instrument(finding: Finding) -> Check:
    name, here = f"instrument {finding.name}", finding.here
    match here.state:
        case State.READY | State.INSTALLED:
            place = here.program or finding.detail
            login = (
                f"login {here.login}" if here.login is not Login.SEEN else f"login: {finding.login}"
            )
            hint = here.login_hint if here.login is Login.NOT_SEEN else ""
            level = "warning" if here.login is Login.NOT_SEEN else "ok"
            found = f"{place}; {login}" if here.login is not Login.NOT_NEEDED else place
            return Check(name, level, found, f"if it is not logged in: {hint}" if hint else "")
        case State.BROKEN:
            return Check(name, "warning", here.reason, "mzt instruments check says more")
        case _:
            # Nobody has all of them.
            return Check(name, "absent", here.reason)


def _lines(check: Check) -> list[str]:
    fancy, plain, tint = {
        "ok": ("✓", "+", "green"),
        "warning": ("!", "!", "yellow"),
        "absent": ("·", ".", "dim"),
        "error": ("✗", "x", "red"),
    }[check.level]
    mark = paint(plain if ascii_only(sys.stdout) else fancy, tint, wants_colour(sys.stdout))
    lines = [f"{mark} {one_line(check.name)}: {one_line(check.found)}"]
    if check.hint:
        lines.append(f"    {one_line(check.hint)}")
    return lines
