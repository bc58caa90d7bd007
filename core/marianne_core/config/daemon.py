"""conductor.yaml: what it may say, where it is looked for, and how profiles change it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from marianne_core.config.base import Strict, absolute_path
from marianne_core.config.daemon_parts import (
    DaemonLogConfig,
    KeyringConfig,
    McpPoolConfig,
    ObserverConfig,
    PreflightConfig,
    ProfilerConfig,
    ResourceLimitConfig,
    RetentionConfig,
    SemanticLearningConfig,
    SocketConfig,
    UiConfig,
)
from marianne_core.config.explain import near
from marianne_core.config.marks import Key, Marks, Position
from marianne_core.config.read import ConfigError, problem_at, read_model
from marianne_core.config.source import Source, read_source
from marianne_core.model.errors import InputError
from marianne_core.model.problem import Problem, Severity


class DaemonConfig(Strict):
    """Settings of the conductor."""

    max_concurrent_jobs: int = Field(15, ge=1, le=50)
    """Most jobs that run at once; further ones wait."""
    max_concurrent_sheets: int = Field(25, ge=1, le=100)
    """Most sheets of all jobs that run at once."""
    job_timeout_seconds: float = Field(86_400.0, ge=60)
    """Longest run of a job, in seconds; then its sheets are ended and it fails. Not counted is while
    it is paused, and while rate limits alone hold it up."""
    grace_seconds: float = Field(5.0, ge=0, le=600)
    """Seconds between asking a sheet's processes to end and ending them."""
    shutdown_timeout_seconds: float = Field(300.0, ge=10)
    """Seconds that `mzt stop` waits for running sheets."""
    fallback_after_seconds: float = Field(300.0, ge=0)
    """Seconds a sheet waits for a rate limit before a fallback instrument takes over."""
    on_restart: Literal["resume", "pause"] = "resume"
    """Jobs that were running when the conductor ended: resume them, or pause them."""
    on_conductor_death: Literal["adopt", "end"] = "adopt"
    """Running sheets when the conductor dies: the next one adopts them, or they are ended."""
    max_job_history: int = Field(1000, ge=10)
    """Finished runs that are remembered."""
    retention: RetentionConfig = RetentionConfig()
    """How long finished runs and their files are kept."""
    daily_budget: float | None = Field(None, gt=0)
    """Most that all jobs may cost in one day, in US dollars."""
    default_thinking_method: str | None = None
    """`thinking_method` of scores that have none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important messages that are logged."""
    log_file: Path | None = None
    """File of the conductor's log; in the state directory when not given."""
    logging: DaemonLogConfig = DaemonLogConfig()
    """Size and age of log files."""
    monitor_interval_seconds: float = Field(15.0, ge=5)
    """Seconds between two looks at the use of the machine."""
    resource_limits: ResourceLimitConfig = ResourceLimitConfig()
    """Use of the machine at which nothing more is started."""
    preflight: PreflightConfig = PreflightConfig()
    """Checks of prompts before they are sent."""
    observer: ObserverConfig = ObserverConfig()
    """What is recorded about running jobs."""
    profiler: ProfilerConfig = ProfilerConfig()
    """Measurements of the machine and the sheets."""
    learning: SemanticLearningConfig = SemanticLearningConfig()
    """Lessons from finished sheets."""
    mcp_pool: McpPoolConfig = McpPoolConfig()
    """Servers with tools that agents share."""
    keyring: KeyringConfig = KeyringConfig()
    """Several keys for one service."""
    ui: UiConfig = UiConfig()
    """The dashboard."""
    socket: SocketConfig = SocketConfig()
    """The door that other terminals use."""
    pid_file: Path | None = None
    """Not supported: the state directory's lock file names the conductor's process."""
    state_backend_type: Literal["sqlite"] = "sqlite"
    """How the conductor remembers; there is one way."""
    state_db_path: Path | None = None
    """Not supported: the database is in the state directory; `MARIANNE_HOME` moves all of it."""
    config_file: Path | None = None
    """File that these settings came from; set by the program."""

    @model_validator(mode="before")
    @classmethod
    def _drop_use_baton(cls, data: Any) -> Any:
        if isinstance(data, dict) and "use_baton" in data:
            return {key: value for key, value in data.items() if key != "use_baton"}
        return data

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("log_file", "pid_file", "state_db_path")
    @classmethod
    def _absolute(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return None if path is None else absolute_path(path, info)


PROFILES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "dev": {
            "log_level": "debug",
            "max_concurrent_jobs": 2,
            "profiler": {"enabled": True, "strace_enabled": True, "interval_seconds": 2},
        },
        "minimal": {
            "max_concurrent_jobs": 2,
            "profiler": {"enabled": False},
            "learning": {"enabled": False},
        },
        "intensive": {
            "job_timeout_seconds": 172_800,
            "resource_limits": {"max_memory_mb": 16_384, "max_processes": 100},
        },
    }
)
"""Named sets of settings (`--profile`); they win over the file."""

_NOT_SUPPORTED: Final[tuple[tuple[tuple[Key, ...], str], ...]] = (
    (("socket", "path"), "the socket is always run/mzt.sock in the state directory"),
    (("pid_file",), "the lock file of the state directory names the conductor's process"),
    (("state_db_path",), "the database is in the state directory"),
)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedConfig:
    """Settings with the file they came from."""

    config: DaemonConfig
    source: Source | None
    """The file; None when there is none and the defaults hold."""
    problems: tuple[Problem, ...]
    """Warnings about settings that are read but not supported."""


def find_config_file(environ: Mapping[str, str]) -> Path | None:
    """The conductor.yaml of a person, or None (DESIGN, section 9).

    `~/.marianne/conductor.yaml` if it exists, else `$XDG_CONFIG_HOME/marianne/conductor.yaml`.
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    configs = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(configs):
        configs = os.path.join(home, ".config")
    for path in (
        Path(home, ".marianne", "conductor.yaml"),
        Path(configs, "marianne", "conductor.yaml"),
    ):
        if os.path.exists(path):
            return path
    return None


def load_daemon_config(
    path: Path | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> DaemonConfig:
    """The conductor's settings: defaults, then the file, then the profile.

    `path` is the file to read; None looks for it as `find_config_file` does. Raises InputError
    when the file cannot be read or the profile is unknown, ConfigError when the file is wrong.
    """
    return read_daemon_config(path, profile, environ).config


def read_daemon_config(
    path: Path | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """As `load_daemon_config`, with the file and the warnings about it."""
    overlay = _profile(profile)
    file = path or find_config_file(os.environ if environ is None else environ)
    if file is None:
        return LoadedConfig(DaemonConfig.model_validate(dict(overlay)), None, ())
    source = _read(file)
    merged = Source(file, source.text, _merge(source.data, overlay), source.marks)
    config = read_model(DaemonConfig, merged, ConfigError)
    refused = _open_folders(config, source)
    if refused:
        raise ConfigError(refused)
    config = config.model_copy(update={"config_file": Path(os.path.abspath(file))})
    return LoadedConfig(config, source, tuple(_unsupported(source)))


def _read(file: Path) -> Source:
    """The file; one that holds nothing but comments means the defaults."""
    try:
        return read_source(file)
    except InputError as error:
        if error.what == "the file is empty":
            return Source(file, "", {}, Marks(Position(1, 1), "{"))
        raise


def _profile(name: str | None) -> Mapping[str, Any]:
    if name is None:
        return {}
    if name not in PROFILES:
        close = near(name, PROFILES)
        raise InputError(
            f"there is no profile {name!r}",
            hint=f"did you mean {close[0]}?" if close else f"choose one of {', '.join(PROFILES)}",
        )
    return PROFILES[name]


def _merge(below: Mapping[Any, Any], above: Mapping[str, Any]) -> dict[Any, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and (old is None or isinstance(old, Mapping)):
            merged[key] = _merge(old or {}, value)
        elif not isinstance(value, Mapping):
            merged[key] = value
    return merged


def _open_folders(config: DaemonConfig, source: Source) -> list[Problem]:
    """Refuse a socket in a folder that other people can enter (DESIGN, section 9)."""
    path = config.socket.path
    if path is None:
        return []
    folder = path.expanduser().parent
    try:
        mode = folder.stat().st_mode
    except OSError:
        return []
    if not mode & 0o077:
        return []
    return [
        problem_at(
            source,
            ("socket", "path"),
            "V000",
            f"other people can enter {folder}, where the socket would be",
            hint="remove the line: the socket is run/mzt.sock in the private state directory",
        )
    ]


def _unsupported(source: Source) -> list[Problem]:
    return [
        problem_at(
            source,
            path,
            "V230",
            f"`{'.'.join(map(str, path))}` is not supported: {reason}",
            severity=Severity.WARNING,
            hint="remove the line; MARIANNE_HOME moves the whole state directory",
        )
        for path, reason in _NOT_SUPPORTED
        if source.marks.at(path) is not None
    ]
