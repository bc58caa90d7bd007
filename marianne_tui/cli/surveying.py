"""What is known about the instruments of this machine: for the listing, the check and the doctor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.profiles import (
    ALIASES,
    KNOWN_INSTRUMENTS,
    Profiles,
    load_profiles,
    profile_directories,
)
from marianne_core.remember.home import Home
from marianne_core.run.instrument.readiness import (
    Login,
    Readiness,
    State,
    costs_nothing,
    look_at,
)
from marianne_core.run.instrument.versions import Question, Versions


@dataclass(frozen=True, slots=True)
class Finding:
    """One instrument with its profile and, where it was asked for, its version."""

    name: str
    here: Readiness
    profile: InstrumentProfile | None = None
    origin: str = ""
    """File of its profile."""
    version: str | None = None
    """None: not known, or not asked."""

    @property
    def detail(self) -> str:
        """Its name for people, and its address; or why it cannot be started."""
        name = self.profile.display_name if self.profile else ""
        address = self.here.address
        return self.here.reason or (f"{name}: {address}" if address else name)

    @property
    def caution(self) -> str:
        """What its profile warns of."""
        if self.profile is None or self.profile.execution_status != "warning":
            return ""
        return self.profile.execution_status_detail or "its profile warns of it, without a word why"

    @property
    def login(self) -> str:
        """Its login in a few words: the variable or file that was seen, or that none was."""
        here = self.here
        if here.login is Login.SEEN:
            return near_home(here.login_by)
        return str(here.login or "")

    @property
    def of_this_folder(self) -> bool:
        """Whether its profile comes with the folder that the person is in, not from the person."""
        if not self.origin:
            return False
        folder = Path(self.origin).parent
        theirs, ours = profile_directories(Path.home(), _here())
        return folder == ours != theirs

    @property
    def question(self) -> Question | None:
        """How its program is asked for its version; None where it cannot be asked."""
        cli = self.profile.cli if self.profile else None
        if cli is None or not cli.command.version_args or not self.here.state.can_start:
            return None
        environment = self.here.environment
        assert environment is not None
        arguments = tuple(cli.command.version_args)
        return Question(self.here.program, arguments, environment.variables)


def profiles_here() -> Profiles:
    """As `checking.find_profiles`, also in a directory that was removed: those of the home then."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        of_the_home, _ = profile_directories(Path.home(), Path.home())
        return load_profiles([of_the_home])
    return load_profiles(profile_directories(Path.home(), here))


def all_names(profiles: Profiles) -> list[str]:
    """Names with a profile first, then those that are only known."""
    return [*sorted(profiles.by_name), *sorted(set(KNOWN_INSTRUMENTS) - set(profiles.by_name))]


def examine(profiles: Profiles, name: str) -> Finding:
    """Look for an instrument's profile, program and login; nothing is started."""
    real = profiles.resolve(name).name
    here = look_at(profiles, name, os.environ, _here())
    return Finding(name, here, profiles.by_name.get(real), str(profiles.origins.get(real, "")))


def with_versions(
    findings: Sequence[Finding],
    home: Home,
    *,
    seconds: float,
    anew: bool = False,
    strangers: bool = True,
) -> list[Finding]:
    """The findings with the versions of their programs, which are asked all at once.

    Without `strangers` those that this folder brings along are not: a profile says what is
    started, and to list what a folder holds must not start anything of it.
    """
    questions = [
        finding.question if strangers or not finding.of_this_folder else None
        for finding in findings
    ]
    versions = Versions(home.versions).of(
        [question for question in questions if question is not None], seconds=seconds, anew=anew
    )
    heard = iter(versions)
    return [
        finding
        if question is None
        else Finding(finding.name, finding.here, finding.profile, finding.origin, next(heard))
        for finding, question in zip(findings, questions, strict=True)
    ]


def finding_dict(finding: Finding) -> dict[str, Any]:
    """A finding for `--json`."""
    here, profile = finding.here, finding.profile
    return {
        "name": finding.name,
        "state": str(here.state),
        "installed": here.installed,
        "ready": here.ready,
        "version": finding.version,
        "login": None if here.login is None else str(here.login),
        "login_by": here.login_by,
        "login_hint": here.login_hint,
        "detail": finding.detail,
        "kind": None if profile is None else profile.kind,
        "program": here.program,
        "profile": finding.origin,
        "alias_of": ALIASES.get(finding.name, "") if profile is not None else "",
        "about": (profile.description or "") if profile else "",
        "warning": finding.caution,
    }


def startable_agents(profiles: Profiles, preferred: Iterable[str]) -> list[Finding]:
    """Agents that can be started here: those that are ready first, then in the order preferred.

    Instruments that get a bare prompt or cost nothing are no agents, and neither is what is no program.
    """
    order = {name: place for place, name in enumerate(preferred)}
    found = [
        finding
        for name in profiles.by_name
        if (finding := examine(profiles, name)).here.state.can_start
        and finding.profile is not None
        and finding.profile.kind == "cli"
        and not finding.profile.raw_prompt
        and not costs_nothing(finding.profile)
    ]
    return sorted(
        found,
        key=lambda each: (
            each.here.state is not State.READY,
            order.get(each.name, len(order)),
            each.name,
        ),
    )


def _here() -> Path:
    """The working directory, or another one where that was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def near_home(path: str) -> str:
    """A path below the home directory as `~/...`."""
    home = os.environ.get("HOME", "")
    return f"~{path[len(home) :]}" if home and path.startswith(f"{home}/") else path
