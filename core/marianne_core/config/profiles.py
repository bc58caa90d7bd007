"""Find instrument profiles and resolve the names that scores use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from marianne_core.config.explain import near
from marianne_core.config.http_program import http_program
from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.read import ProfileError, problem_at, problem_of, read_model
from marianne_core.config.source import read_source
from marianne_core.model.errors import InputError
from marianne_core.model.problem import Problem, Severity

BUILTIN_DIRECTORY: Final = Path(__file__).parent / "builtin"
"""Profiles that come with the program."""

ALIASES: Final[Mapping[str, str]] = MappingProxyType({"claude_cli": "claude-code"})
"""Other names of instruments; a profile of exactly that name goes before its alias."""

KNOWN_INSTRUMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {"recursive_light": "it is not supported"}
)
"""Instruments that people's scores name and that have no profile here, and why they have none."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name in a score stands for."""

    name: str
    """Name of the instrument, with aliases of this program (`claude_cli`) replaced."""
    profile: InstrumentProfile | None
    """Its profile, when there is one that this version can play."""
    known: bool
    """False: no profile has the name, and we have never heard of it."""
    reason: str = ""
    """Why it cannot be played, in words; "" when it can."""
    near: tuple[str, ...] = ()
    """Names that look like an unknown one."""

    @property
    def runnable(self) -> bool:
        """True when sheets can be played on it."""
        return self.profile is not None


@dataclass(frozen=True, slots=True)
class Profiles:
    """All profiles that were found."""

    by_name: Mapping[str, InstrumentProfile]
    """Profiles by name; where several had the same name, the one with precedence."""
    origins: Mapping[str, Path]
    """File each of them came from."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with files that could not be used."""

    def get(self, name: str) -> InstrumentProfile | None:
        """The profile that a name stands for, or None when it cannot be played."""
        return self.resolve(name).profile

    def resolve(self, name: str) -> Resolution:
        """What a name stands for: a profile, a known instrument without one, or nothing known."""
        real = name if name in self.by_name else ALIASES.get(name, name)
        profile = self.by_name.get(real)
        if profile is not None:
            reason = _unplayable(profile)
            return Resolution(real, None if reason else profile, True, reason)
        if real in KNOWN_INSTRUMENTS:
            return Resolution(real, None, True, KNOWN_INSTRUMENTS[real])
        names = near(name, {*self.by_name, *KNOWN_INSTRUMENTS, *ALIASES})
        return Resolution(name, None, False, "no profile has this name", tuple(names))


def load_profiles(directories: Iterable[Path] = ()) -> Profiles:
    """Load the built-in profiles and those of `directories`; later ones win, by name.

    A directory that does not exist is no problem. A bad file becomes a problem with its line,
    and the others load.
    """
    builtin = _builtin()
    found = dict(builtin.by_name)
    origins = dict(builtin.origins)
    problems = list(builtin.problems)
    # A person who works in the home directory names it twice.
    _read_directories(dict.fromkeys(directories), found, origins, problems)
    return Profiles(MappingProxyType(found), MappingProxyType(origins), tuple(problems))


@cache
def _builtin() -> Profiles:
    """What comes with the program does not change while it runs."""
    found: dict[str, InstrumentProfile] = {}
    origins: dict[str, Path] = {}
    problems: list[Problem] = []
    _read_directories([BUILTIN_DIRECTORY], found, origins, problems)
    return Profiles(found, origins, tuple(problems))


def _read_directories(
    directories: Iterable[Path],
    found: dict[str, InstrumentProfile],
    origins: dict[str, Path],
    problems: list[Problem],
) -> None:
    for directory in directories:
        for path in _yaml_files(directory, problems):
            profile = _load(path, problems)
            if profile is None:
                continue
            earlier = origins.get(profile.name)
            if earlier is not None and earlier.parent == path.parent:
                problems.append(
                    Problem(
                        Severity.WARNING,
                        "V220",
                        f"the instrument {profile.name!r} is defined again; "
                        f"{earlier.name} is not used",
                        file=str(path),
                        hint="give one of them another name",
                    )
                )
            found[profile.name] = profile
            origins[profile.name] = path


def profile_directories(home: Path, project: Path) -> tuple[Path, ...]:
    """Where people keep profiles, in rising precedence: below `home` and below `project`."""
    return (home / ".marianne" / "instruments", project / ".marianne" / "instruments")


def _yaml_files(directory: Path, problems: list[Problem]) -> list[Path]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        problems.append(
            Problem(
                Severity.WARNING,
                "V220",
                f"the instruments here cannot be read: {error.strerror}",
                file=str(directory),
            )
        )
        return []
    return [
        directory / name
        for name in names
        if name.endswith((".yaml", ".yml")) and not name.startswith(".")
    ]


def _load(path: Path, problems: list[Problem]) -> InstrumentProfile | None:
    try:
        source = read_source(path)
        profile = read_model(InstrumentProfile, source, ProfileError)
    except ProfileError as error:
        problems.extend(error.problems)
        return None
    except InputError as error:
        problems.append(problem_of(error, path, "V220"))
        return None
    default = profile.default_model
    if default is not None and profile.models and profile.model(default) is None:
        problems.append(
            problem_at(
                source,
                ("default_model",),
                "V221",
                f"the default model {default!r} is not among `models`: its price is not known",
                severity=Severity.WARNING,
            )
        )
    if profile.kind == "http":
        return _as_a_program(profile)
    return profile


def _as_a_program(profile: InstrumentProfile) -> InstrumentProfile:
    """A profile of a model behind HTTP that is played like a command-line program; one whose format
    is not supported has none."""
    assert profile.http is not None
    supported = profile.http.schema_family != "gemini"
    return profile.model_copy(update={"cli": http_program(profile.http) if supported else None})


def _unplayable(profile: InstrumentProfile) -> str:
    if profile.execution_status == "unsupported":
        return profile.execution_status_detail or "its profile says it is not supported"
    if profile.cli is None:
        return "the format of Gemini is not supported over HTTP; gemini-cli plays its models"
    return ""
