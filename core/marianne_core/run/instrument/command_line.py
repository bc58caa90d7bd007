"""Command lines: a profile, the resolved settings and a prompt become one program to start."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import regex

from marianne_core.config.instrument import PROMPT_LIMIT, CliCommand, InstrumentProfile
from marianne_core.model.errors import MztError
from marianne_core.run.instrument.environment import Environment

ARGUMENT_LIMIT = 128 * 1024 - 1
"""Longest single argument in bytes: Linux allows 32 pages, with the closing NUL."""

_SHELLS = frozenset({"bash", "sh", "dash", "zsh", "ksh"})
_SHELL_FLAG = regex.compile(r"-[a-z]*c")
_LONG_SCRIPT = 'mzt_script=$(cat) || exit 126; eval "$mzt_script"'
"""Runs a script that is too long for an argument. The whole script is read before its first command
runs, so its commands find stdin at its end, exactly as they do with a short script. A script file
would do as well, but would have to be written, kept and removed with the attempt."""


class InstrumentError(MztError):
    """An attempt cannot be started as its profile and settings ask; trying again is no use."""

    def __init__(self, code: str, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.code = code
        """Error code of the field reference, section 4.5."""
        self.retriable = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program to start."""

    argv: tuple[str, ...]
    """The program as its profile names it (to be looked up in PATH of `env`), then its arguments."""
    stdin: bytes | None
    """What it reads from stdin; None = nothing."""
    env: Mapping[str, str]
    cwd: Path


def build_invocation(
    profile: InstrumentProfile,
    prompt: str,
    *,
    environment: Environment,
    workspace: Path,
    timeout: float,
    model: str | None = None,
    config: Mapping[str, Any] | None = None,
    mcp_config: Path | None = None,
    base: Path | None = None,
) -> Invocation:
    """The command line of one attempt, in the order of the field reference, section 3.3.

    `timeout` is in seconds; `model` falls back to the profile's default; `config` holds the merged
    instrument settings of the sheet (`InstrumentSettings`); `mcp_config` is a file for the
    instrument's MCP flag and replaces the arguments that turn MCP off; `base` is the score's folder,
    from which a relative `system_prompt_file` counts. The flags for the system prompt, for allowed
    tools and for further settings, which section 3.3 leaves open, stand behind the working directory.

    A prompt of more than `PROMPT_LIMIT` bytes goes through stdin where the instrument can read one
    there: by its profile (`prompt_via_stdin`, `stdin_sentinel`), or because it is a shell that gets
    a script.

    Raises InstrumentError: E301 for a profile of another kind, E601 for a system prompt that
    cannot be read, E602 for a prompt that cannot be handed over, E603 for a working directory that
    is not there.
    """
    if profile.cli is None:
        raise InstrumentError(
            "E301",
            f"instrument {profile.name} is of kind {profile.kind}, which is not started as a program",
        )
    command = profile.cli.command
    settings = config or {}
    cwd = _working_directory(settings, workspace)
    argv = [command.executable, *_words(command.subcommand)]
    if settings.get("skip_permissions") is not False:
        argv += _words(command.auto_approve_flag)
    if command.output_format_flag:
        argv.append(command.output_format_flag)
        if command.output_format_value:
            argv.append(command.output_format_value)
    argv += _with_value(command.model_flag, model or profile.default_model)
    argv += _with_value(command.timeout_flag, str(max(1, math.ceil(timeout))))
    argv += _with_value(command.working_dir_flag, str(cwd))
    if command.system_prompt_flag:
        argv += _with_value(command.system_prompt_flag, _system_prompt(settings, base))
    argv += _with_value(command.allowed_tools_flag, _tools(settings.get("allowed_tools")))
    argv += _with_value(command.max_output_flag, _longest_answer(profile, model))
    for name, flag in command.setting_flags.items():
        value = settings.get(name)
        argv += _with_value(flag, None if value is None else str(value))
    handed_over, stdin = _hand_over(profile.name, command, argv, prompt)
    argv += handed_over
    if mcp_config is not None and command.mcp_config_flag:
        argv += [*command.mcp_config_prefix_args, command.mcp_config_flag, str(mcp_config)]
    elif settings.get("disable_mcp") is not False:
        argv += command.mcp_disable_args
    argv += command.extra_flags
    argv += settings.get("cli_extra_args") or []
    _check_arguments(profile.name, argv)
    return Invocation(tuple(argv), stdin, environment.variables, cwd)


@lru_cache(maxsize=256)
def _words(flag: str | None) -> tuple[str, ...]:
    """A subcommand or bare flag; `remote run` in a profile means two words."""
    return tuple(shlex.split(flag)) if flag else ()


def _with_value(flag: str | None, value: str | None) -> list[str]:
    return [flag, value] if flag and value else []


def _longest_answer(profile: InstrumentProfile, model: str | None) -> str | None:
    known = profile.model(model)
    return str(known.max_output_tokens) if known and known.max_output_tokens else None


def _tools(tools: object) -> str | None:
    if isinstance(tools, list):
        return ",".join(str(tool) for tool in tools)
    return str(tools) if tools else None


def _working_directory(settings: Mapping[str, Any], workspace: Path) -> Path:
    wanted = settings.get("working_directory")
    if not wanted:
        return workspace
    cwd = workspace / Path(str(wanted)).expanduser()
    if not cwd.is_dir():
        raise InstrumentError(
            "E603",
            f"working_directory {cwd} is not a folder",
            hint="make it in an earlier sheet, or remove working_directory from the settings",
        )
    return cwd


def _system_prompt(settings: Mapping[str, Any], base: Path | None) -> str | None:
    text = settings.get("system_prompt")
    name = settings.get("system_prompt_file")
    if text or not name:
        return str(text) if text else None
    path = (base or Path()) / Path(str(name)).expanduser()
    try:
        if not path.is_file():
            raise InstrumentError("E601", f"system_prompt_file {path} is not a file")
        with path.open("rb") as file:
            data = file.read(ARGUMENT_LIMIT + 1)
    except OSError as error:
        raise InstrumentError(
            "E601", f"system_prompt_file {path} cannot be read: {error.strerror}"
        ) from error
    return data.decode("utf-8", errors="replace")


def _hand_over(
    name: str, command: CliCommand, before: Sequence[str], prompt: str
) -> tuple[list[str], bytes | None]:
    """Arguments that carry or announce the prompt, and what goes to stdin."""
    data = prompt.encode("utf-8", errors="replace")
    flag = [command.prompt_flag] if command.prompt_flag else []
    long = len(data) > PROMPT_LIMIT
    if command.prompt_via_stdin or (long and command.stdin_sentinel):
        announced = [*flag, command.stdin_sentinel] if flag and command.stdin_sentinel else []
        return announced, data
    if b"\0" in data:
        raise InstrumentError(
            "E602",
            f"the prompt for {name} holds a NUL character, which no argument can carry",
            hint="remove it; it often comes from binary output of an earlier sheet",
        )
    if long and _takes_script([*before, *flag]):
        return [*flag, _LONG_SCRIPT], data
    if len(data) > ARGUMENT_LIMIT:
        raise InstrumentError(
            "E602",
            f"the prompt has {len(data)} bytes; {name} takes it as an argument of at most"
            f" {ARGUMENT_LIMIT}",
            hint="set prompt_via_stdin: true or stdin_sentinel in the profile if the program"
            " can read its prompt from stdin, or shorten the prompt",
        )
    return [*flag, data.decode("utf-8")], None


def _takes_script(argv: Sequence[str]) -> bool:
    """True for a shell that is about to get a script as its next argument."""
    return PurePath(argv[0]).name in _SHELLS and _SHELL_FLAG.fullmatch(argv[-1]) is not None


def _check_arguments(name: str, argv: Sequence[str]) -> None:
    for argument in argv:
        if "\0" in argument:
            raise InstrumentError("E602", f"an argument for {name} holds a NUL character")
        if len(argument) * 4 > ARGUMENT_LIMIT:
            size = len(argument.encode("utf-8", errors="replace"))
            if size > ARGUMENT_LIMIT:
                raise InstrumentError(
                    "E602", f"an argument for {name} has {size} bytes, more than {ARGUMENT_LIMIT}"
                )
