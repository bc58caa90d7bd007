"""Whether an instrument can be played here, as far as that can be told without a turn.

Its program is looked for as an attempt looks for it, and a login in the environment that the
program would get. Nothing is started, and no credential is read: a variable counts by its name, a
file by being there. What cannot be told is said to be not known.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import regex

from marianne_core.ask.trouble import Trouble
from marianne_core.config.http_program import what_is_missing, where_it_is
from marianne_core.config.instrument import HttpProfile, InstrumentProfile, LoginHints
from marianne_core.config.profiles import Profiles
from marianne_core.run.instrument.environment import Environment, build_environment
from marianne_core.run.launcher import LaunchError, missing_interpreter, resolve_program


class State(StrEnum):
    """How an instrument stands here."""

    READY = "ready"
    """It can be started, and a login was seen or is not needed."""
    INSTALLED = "installed"
    """It can be started; whether it is logged in is not known."""
    MISSING = "missing"
    """Its program was not found; or a service has no key or no address, or does not listen."""
    BROKEN = "broken"
    """Its program is there and cannot be started."""
    UNSUPPORTED = "unsupported"
    """It has a profile that this version cannot play."""
    NO_PROFILE = "no profile"
    """Scores name it, and there is no profile of it."""

    @property
    def can_start(self) -> bool:
        """Whether a sheet can be tried on it."""
        return self in (State.READY, State.INSTALLED)


class Login(StrEnum):
    """What is known of an instrument's login."""

    SEEN = "seen"
    NOT_SEEN = "not seen"
    """Nothing of what its profile names is there; it may be logged in another way."""
    NOT_NEEDED = "not needed"
    NOT_KNOWN = "not known"
    """Its profile does not say where a login is seen."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is known about one instrument on this machine."""

    name: str
    state: State
    reason: str = ""
    """Why it cannot be started, in words; "" when it can."""
    program: str = ""
    """Absolute path of its program, when that was found."""
    address: str = ""
    """Of a model behind HTTP: where it is asked."""
    login: Login | None = None
    """None where there is nothing that could be logged in."""
    login_by: str = ""
    """The variable or file that was seen; where none was, those that were looked for."""
    login_hint: str = ""
    """What a person does to log in."""
    environment: Environment | None = None
    """What its program is started with; None for a model behind HTTP."""

    @property
    def installed(self) -> bool | None:
        """Whether its program is there; None for what has no program."""
        if self.environment is None:
            return None
        return self.state is not State.MISSING

    @property
    def ready(self) -> bool | None:
        """Whether it can be played; None where its login is not known."""
        return None if self.state is State.INSTALLED else self.state is State.READY


def costs_nothing(profile: InstrumentProfile) -> bool:
    """Whether a turn costs no money for sure: no login is needed, so there is nobody to pay."""
    if profile.kind == "http":
        return profile.http is not None and profile.http.auth_env_var is None
    login = profile.cli.login if profile.cli is not None else None
    return login is not None and not login.needed


def look_at(profiles: Profiles, name: str, environ: Mapping[str, str], base: Path) -> Readiness:
    """Look for an instrument's profile, program and login.

    `environ` is what instruments would inherit; relative programs are looked for from `base`.
    """
    found = profiles.resolve(name)
    profile = found.profile
    if profile is None:
        state = State.UNSUPPORTED if found.name in profiles.by_name else State.NO_PROFILE
        return Readiness(name, state, found.reason)
    if profile.kind == "http" and profile.http is not None:
        return _service(name, profile.http, environ)
    return _program(name, profile, environ, base)


def interpreter_that_is_missing(program: str, path: str | None) -> str:
    """The interpreter that a script needs and that is not there; "" when nothing is missing.

    As `missing_interpreter`, and also for `#!/usr/bin/env node`, where `env` is there and looks for
    node in `path` (PATH; None = the system's default path).
    """
    if absent := missing_interpreter(program):
        return absent
    name = _name_for_env(program)
    if not name:
        return ""
    try:
        resolve_program(name, path)
    except LaunchError:
        return name
    return ""


def _name_for_env(program: str) -> str:
    """What a script's first line lets `env` look for; "" where it names its interpreter itself."""
    try:
        with open(program, "rb") as file:
            first = file.read(_FIRST_LINE).split(b"\n", 1)[0]
    except OSError:
        return ""
    words = os.fsdecode(first.removeprefix(b"#!")).split() if first.startswith(b"#!") else []
    if not words or os.path.basename(words[0]) != "env":
        return ""
    return next((w for w in words[1:] if not w.startswith("-") and "=" not in w), "")


_FIRST_LINE = 256
"""Bytes of a script's first line that Linux reads."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found out about a login."""

    state: State
    login: Login
    by: str = ""
    hint: str = ""


def _service(name: str, service: HttpProfile, environ: Mapping[str, str]) -> Readiness:
    """A model behind HTTP is asked by a program of ours, so an address and its key are all that is
    needed; one on this machine, Ollama for example, has to listen too."""
    try:
        address = where_it_is(service, environ)
    except Trouble as error:
        return Readiness(name, State.MISSING, error.words)
    if missing := what_is_missing(service, environ):
        return Readiness(name, State.MISSING, missing, address=address)
    if nobody_listens(address):
        return Readiness(name, State.MISSING, f"nothing listens at {address}", address=address)
    key = service.auth_env_var
    login = Login.SEEN if key else Login.NOT_NEEDED
    return Readiness(name, State.READY, address=address, login=login, login_by=key or "")


def nobody_listens(address: str) -> bool:
    """Whether a service that should be on this machine is not there; others are not asked."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return False
    if host not in _THIS_MACHINE or not port:
        return False
    try:
        socket.create_connection((host, port), timeout=_KNOCK).close()
    except OSError:
        return True
    return False


_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_KNOCK = 0.5
"""Seconds that a service on this machine has to take a call."""


def _program(
    name: str, profile: InstrumentProfile, environ: Mapping[str, str], base: Path
) -> Readiness:
    assert profile.cli is not None
    command = profile.cli.command
    environment = build_environment(environ, required=command.required_env, added=command.env)
    path = environment.variables.get("PATH")
    try:
        program = str(resolve_program(command.executable, path, base))
    except LaunchError as error:
        state = State.BROKEN if _is_somewhere(command.executable, path, base) else State.MISSING
        return Readiness(name, state, error.what, environment=environment)
    if interpreter := interpreter_that_is_missing(program, path):
        reason = f"{program}: its interpreter {interpreter!r} does not exist"
        return Readiness(name, State.BROKEN, reason, program, environment=environment)
    found = _login(profile.cli.login, environment.variables)
    return Readiness(
        name,
        found.state,
        program=program,
        login=found.login,
        login_by=found.by,
        login_hint=found.hint,
        environment=environment,
    )


def _is_somewhere(executable: str, path: str | None, base: Path) -> bool:
    """Whether there is anything of that name, be it no program."""
    if "/" in executable:
        return os.path.lexists(base / executable)
    return shutil.which(executable, mode=os.F_OK, path=path) is not None


def _login(hints: LoginHints | None, environ: Mapping[str, str]) -> _Found:
    if hints is None:
        return _Found(State.INSTALLED, Login.NOT_KNOWN)
    if not hints.needed:
        return _Found(State.READY, Login.NOT_NEEDED)
    hint = hints.hint or ""
    for name in hints.env:
        if environ.get(name):
            return _Found(State.READY, Login.SEEN, name, hint)
    looked_at = [*hints.env]
    for template in hints.files:
        file = expanded(template, environ)
        if _holds_something(file):
            return _Found(State.READY, Login.SEEN, file, hint)
        looked_at.append(file)
    if not looked_at:
        return _Found(State.INSTALLED, Login.NOT_KNOWN, hint=hint)
    return _Found(State.INSTALLED, Login.NOT_SEEN, ", ".join(looked_at), hint)


def expanded(template: str, environ: Mapping[str, str]) -> str:
    """A path of a profile with `${NAME}`, `${NAME:-OTHER}` and a leading `~` replaced."""
    text = _REFERENCE.sub(lambda found: environ.get(found[1]) or found[2] or "", template)
    home = environ.get("HOME", "")
    return home + text[1:] if home and (text == "~" or text.startswith("~/")) else text


_REFERENCE = regex.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")

_EMPTY = 8
"""Bytes up to which a file holds no login: programs leave `{}` or a newline behind."""


def _holds_something(file: str) -> bool:
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > _EMPTY
