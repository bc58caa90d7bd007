"""The profile that `mzt instruments new` writes: every usual field with what it means.

What a field means is its docstring in the model, so the file cannot tell something else than the
program does. Fields without a value stand there as comments.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from marianne_core.config.fields import ModelField, fields_of
from marianne_core.config.instrument import (
    CliCommand,
    CliErrorConfig,
    CliOutputConfig,
    CliProfile,
    InstrumentProfile,
    LoginHints,
)
from marianne_core.config.profiles import Profiles
from marianne_core.config.source import read_source
from marianne_core.model.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WIDTH = 96

_USUAL: Final[Mapping[type[BaseModel], frozenset[str]]] = {
    InstrumentProfile: frozenset(
        {"description", "models", "default_model", "default_timeout_seconds", "raw_prompt"}
    ),
    CliProfile: frozenset({"command", "output", "errors", "login"}),
    CliCommand: frozenset(
        {
            *("subcommand", "auto_approve_flag", "output_format_flag", "output_format_value"),
            *("model_flag", "working_dir_flag", "system_prompt_flag", "allowed_tools_flag"),
            *("prompt_flag", "prompt_via_stdin", "stdin_sentinel", "extra_flags"),
            *("env", "required_env", "version_args"),
        }
    ),
    CliOutputConfig: frozenset(
        {
            *("format", "dialect", "result_path", "error_path", "completion_event_type"),
            *("input_tokens_path", "output_tokens_path", "cost_path"),
        }
    ),
    CliErrorConfig: frozenset(
        {
            *("success_exit_codes", "success_event_type", "rate_limit_patterns"),
            *("auth_error_patterns", "capacity_patterns", "connection_patterns"),
            "timeout_patterns",
        }
    ),
    LoginHints: frozenset({"env", "files", "hint"}),
}
"""Fields that are shown where they have no value; all others only with one."""

_EXAMPLES: Final[Mapping[str, Any]] = {
    "description": "What it is.",
    "models": [{"name": "big", "max_concurrent": 4}],
    "default_model": "big",
    "cli.command.subcommand": "run",
    "cli.command.auto_approve_flag": "--yes",
    "cli.command.output_format_flag": "--output-format",
    "cli.command.output_format_value": "json",
    "cli.command.model_flag": "--model",
    "cli.command.working_dir_flag": "--cwd",
    "cli.command.system_prompt_flag": "--system-prompt",
    "cli.command.allowed_tools_flag": "--tools",
    "cli.command.prompt_flag": "--prompt",
    "cli.command.stdin_sentinel": "-",
    "cli.command.extra_flags": ["--quiet"],
    "cli.command.env": {"NO_UPDATE": "1"},
    "cli.command.required_env": ["MY_AGENT_*"],
    "cli.command.version_args": ["--version"],
    "cli.output.result_path": "result",
    "cli.output.error_path": "error.message",
    "cli.output.completion_event_type": "done",
    "cli.output.input_tokens_path": "usage.input_tokens",
    "cli.output.output_tokens_path": "usage.output_tokens",
    "cli.output.cost_path": "usage.cost_usd",
    "cli.errors.success_event_type": "done",
    "cli.errors.rate_limit_patterns": ["rate limit", "too many requests"],
    "cli.errors.auth_error_patterns": ["not logged in", "invalid api key"],
    "cli.errors.capacity_patterns": ["overloaded"],
    "cli.errors.connection_patterns": ["connection refused"],
    "cli.errors.timeout_patterns": ["timed out"],
    "cli.login.env": ["MY_AGENT_API_KEY"],
    "cli.login.files": ["~/.config/my-agent/auth.json"],
    "cli.login.hint": "my-agent login",
}
"""What stands behind the name of a field that has no value yet."""

_HEAD = """\
# Profile of the instrument {name}. A field right behind a `#` has no value yet: take the `#` away,
# there and before its block.
#
#   mzt instruments check {name} --no-turn    look at it: is the program there?
#   mzt instruments check {name}              play one turn on it
#   mzt fields profile                        all fields, also those that are not listed here
#
# Scores use it with `instrument: {name}`.
"""


def draft_profile(profiles: Profiles, name: str, source: str | None) -> str:
    """The text of a profile with this name, beginning with the values of `source` if it is given.

    Raises InputError for a name that cannot be one, and a source that has no profile.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of an instrument",
            hint="up to 64 letters, digits, '.', '_' and '-', a letter or digit first",
        )
    if source is None:
        command = {"executable": name}
        data: dict[str, Any] = {"kind": "cli", "cli": {"command": command}}
        display = name
    else:
        data, display = _data_of(profiles, source)
    data = {**data, "name": name, "display_name": display}
    lines = [_HEAD.format(name=name).rstrip("\n")]
    if source is not None:
        lines += ["#", f"# It began as a copy of {source}:", *_opening(profiles, source)]
    lines += ["", *_block(InstrumentProfile, data, "", "")]
    return "\n".join(lines) + "\n"


def write_profile(folder: Path, name: str, text: str) -> Path:
    """Write it as NAME.yaml; returns the path. Raises InputError where there is one already."""
    target = folder / f"{name}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(
            "it exists already", where=str(target), hint="choose another name, or edit that file"
        ) from None
    except OSError as error:
        raise InputError(f"cannot write it: {error.strerror}", where=str(target)) from None
    return target


def _data_of(profiles: Profiles, source: str) -> tuple[dict[str, Any], str]:
    """What the file of a profile says, and its name for people."""
    real = profiles.resolve(source).name
    profile = profiles.by_name.get(real)
    if profile is None:
        near = profiles.resolve(source).near
        hint = f"did you mean {near[0]}?" if near else "mzt instruments list shows all"
        raise InputError(f"there is no profile of {source!r}", hint=hint)
    data = read_source(profiles.origins[real]).data
    assert isinstance(data, dict)  # it was read as a profile before
    return {str(key): value for key, value in data.items()}, profile.display_name


def _opening(profiles: Profiles, source: str) -> Iterator[str]:
    """The remarks at the beginning of a profile's file."""
    path = profiles.origins[profiles.resolve(source).name]
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        yield line


def _block(
    model: type[BaseModel], data: Mapping[str, Any], path: str, indent: str
) -> Iterator[str]:
    """The lines of one block: fields with their values, usual ones without a value as comments."""
    usual = _USUAL.get(model, frozenset())
    for field in fields_of(model):
        where = f"{path}{field.key}"
        given = field.key in data
        if not given and field.key not in usual:
            continue
        yield from _comment(field.doc, indent)
        inner = field.inner
        if inner is not None and field.layers == 0:
            lines = list(_block(inner, data.get(field.key) or {}, f"{where}.", f"{indent}  "))
            # A block that has comments alone would be nothing, which is no block.
            empty = all(line.lstrip().startswith("#") for line in lines)
            yield f"{indent}{'#' if empty else ''}{field.key}:"
            yield from lines
        elif given:
            yield from _entry(f"{indent}{field.key}:", data[field.key])
        else:
            yield f"{indent}#{field.key}: {yaml_value(_example(field, where))}"


def _comment(doc: str, indent: str) -> list[str]:
    first = f"{indent}# "
    return textwrap.wrap(doc, _WIDTH, initial_indent=first, subsequent_indent=first)


def _entry(key: str, value: Any) -> Iterator[str]:
    """A field with its value; a long list has a line for each of its items."""
    line = f"{key} {yaml_value(value)}"
    if not isinstance(value, list) or len(line) <= _WIDTH:
        yield line
        return
    yield key
    indent = " " * (len(key) - len(key.lstrip()) + 2)
    yield from (f"{indent}- {yaml_value(item)}" for item in value)


def _example(field: ModelField, where: str) -> Any:
    value = _EXAMPLES[where] if where in _EXAMPLES else field.info.get_default()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def yaml_value(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=1 << 20, allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
