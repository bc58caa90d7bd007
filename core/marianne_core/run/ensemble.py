"""The instruments a conductor can play, ready for use: profiles, environments, result readers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.profiles import Profiles
from marianne_core.model.clock import Clock
from marianne_core.run.instrument.command_line import InstrumentError
from marianne_core.run.instrument.environment import Environment, build_environment
from marianne_core.run.instrument.result import ResultReader
from marianne_core.run.launcher import resolve_program

_LOOKED_UP_FOR = 1.0
"""Seconds for which a program's place counts: who installs another one meanwhile gets it then."""


class Ensemble:
    """Profiles with what is worked out from them once: their environment and their reader."""

    def __init__(self, profiles: Profiles, base: Mapping[str, str], clock: Clock) -> None:
        """`base` is the environment that instruments inherit."""
        self._profiles = profiles
        self._base = dict(base)
        self._clock = clock
        self._programs: dict[tuple[str, str | None, str], tuple[str, float]] = {}
        self._environments: dict[tuple[str, str], Environment] = {}
        self._readers: dict[str, ResultReader] = {}

    @property
    def profiles(self) -> Profiles:
        """All profiles."""
        return self._profiles

    def profile(self, name: str) -> InstrumentProfile:
        """The profile of a resolved name. Raises InstrumentError (E505) for one that cannot play."""
        found = self._profiles.resolve(name)
        if found.profile is None or found.profile.cli is None:
            raise InstrumentError(
                "E505",
                f"the instrument {name!r} cannot be played: {found.reason}",
                hint="mzt instruments list shows what can",
            )
        return found.profile

    def environment(self, name: str, settings: Mapping[str, Any] | None = None) -> Environment:
        """What the instrument's programs are started with; `settings` are those of the sheet."""
        key = (name, str((settings or {}).get("api_key_env") or ""))
        if key not in self._environments:
            profile = self.profile(name)
            assert profile.cli is not None
            command = profile.cli.command
            required = command.required_env
            if required is not None and key[1] and "api_key_env" in command.setting_flags:
                required = [*required, key[1]]
            self._environments[key] = build_environment(
                self._base, required=required, added=command.env
            )
        return self._environments[key]

    def program(self, name: str, path: str | None, base: Path) -> str:
        """The absolute path of a program, as `resolve_program` finds it, looked up once a second.

        Raises LaunchError as that does.
        """
        now = self._clock.now()
        key = (name, path, str(base))
        found, until = self._programs.get(key, ("", 0.0))
        if now >= until:
            found = str(resolve_program(name, path, base))
            self._programs = {k: v for k, v in self._programs.items() if now < v[1]}
            self._programs[key] = (found, now + _LOOKED_UP_FOR)
        return found

    def reader(self, name: str) -> ResultReader:
        """What reads the instrument's output. Raises InputError for a profile it cannot use."""
        if name not in self._readers:
            profile = self.profile(name)
            assert profile.cli is not None
            self._readers[name] = ResultReader(profile.cli)
        return self._readers[name]
