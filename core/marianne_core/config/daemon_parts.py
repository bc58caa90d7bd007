"""The blocks of conductor.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from marianne_core.config.base import Strict, absolute_path, broken_rule
from marianne_core.config.score.instruments import BackendConfig


def _permission_bits(value: Any) -> Any:
    if isinstance(value, str) and value.removeprefix("0o").isdecimal():
        return int(value.removeprefix("0o"), 8)
    return value


class SocketConfig(Strict):
    """The door that other terminals use."""

    path: Path | None = None
    """Not supported: the socket is always `run/mzt.sock` in the state directory."""
    permissions: Annotated[int, BeforeValidator(_permission_bits)] = Field(0o600, ge=0)
    """Mode of the socket, in octal; nothing beyond 0600 is accepted."""
    backlog: int = Field(5, ge=1)
    """Connections that may wait to be accepted."""

    @field_validator("permissions")
    @classmethod
    def _for_its_owner_alone(cls, mode: int) -> int:
        if mode & ~0o600:
            raise broken_rule(
                f"the mode {mode:#o} of the socket would let others in",
                hint="remove the line: the socket's mode is 0600",
            )
        return mode


class ResourceLimitConfig(Strict):
    """Use of the machine at which the conductor starts nothing more."""

    max_memory_mb: int | None = Field(None, ge=512)
    """Memory of the conductor and all sheets, in MB; 80 % of the machine's (or of the control
    group's) when not given."""
    max_processes: int | None = Field(None, ge=5)
    """Processes of all sheets; the system's limit when not given."""
    max_api_calls_per_minute: int = Field(60, ge=1)
    """Attempts per minute of instruments that talk to a model."""


class ObserverConfig(Strict):
    """What is recorded about files and processes of running jobs."""

    enabled: bool = True
    """Record at all."""
    watch_interval_seconds: float = Field(2.0, ge=0.5)
    """Seconds between two looks."""
    snapshot_ttl_hours: int = Field(168, ge=1)
    """Hours that snapshots of finished jobs are kept."""
    max_queue_size: int = Field(1000, ge=100)
    """Events that may wait for a slow reader."""
    persist_events: bool = True
    """Keep the events in the workspace, too."""
    exclude_patterns: list[str] = Field(
        [".git/", "__pycache__/", "node_modules/", ".venv/", "*.pyc"]
    )
    """Files whose changes do not count."""
    coalesce_window_seconds: float = Field(2.0, ge=0)
    """Changes of one file within so many seconds count as one."""
    max_timeline_bytes: int = Field(10_485_760, ge=4096)
    """Largest recording of a job, in bytes."""


class SemanticLearningConfig(Strict):
    """A model that draws lessons from finished sheets."""

    enabled: bool = True
    """Draw lessons."""
    instrument: str = Field("claude-code", min_length=1)
    """Instrument that is asked."""
    model: str | None = None
    """Model that is asked; the instrument's default when not given."""
    timeout_seconds: float = Field(120.0, gt=0)
    """Seconds to wait for an answer."""
    backend: BackendConfig | None = None
    """The older way to say who is asked."""
    analyze_on: list[Literal["success", "failure"]] = Field(["success", "failure"], min_length=1)
    """Sheets that are looked at."""
    max_concurrent_analyses: int = Field(3, ge=1, le=20)
    """Most sheets looked at at once."""
    entropy_threshold: float = Field(0.1, ge=0, le=1)
    """Entropy of the lessons below which a warning is given, 0 to 1."""
    exploration_budget: float = Field(0.15, ge=0.05, le=0.5)
    """Share of sheets that try an unproven lesson."""
    entropy_check_interval_seconds: float = Field(3600.0, ge=60)
    """Seconds between two looks at the entropy."""

    @model_validator(mode="after")
    def _each_once(self) -> SemanticLearningConfig:
        if len(set(self.analyze_on)) != len(self.analyze_on):
            raise broken_rule("a value stands twice in analyze_on", "analyze_on")
        return self


class ProfilerRetentionConfig(Strict):
    """How long measurements are kept."""

    full_resolution_hours: int = Field(24, ge=1)
    """Hours that every measurement is kept."""
    downsampled_days: int = Field(7, ge=1)
    """Days that averages are kept."""
    events_days: int = Field(30, ge=1)
    """Days that events of processes are kept."""


class AnomalyConfig(Strict):
    """What counts as unusual."""

    memory_spike_threshold: float = Field(1.5, gt=1)
    """Growth of memory, as a factor."""
    memory_spike_window_seconds: float = Field(30.0, gt=0)
    """Seconds in which it grows so much."""
    runaway_cpu_threshold: float = Field(90.0, ge=50, le=100)
    """Use of a processor, in percent."""
    runaway_duration_seconds: float = Field(60.0, gt=0)
    """Seconds that it lasts."""


class CorrelationConfig(Strict):
    """Search for what failures have in common."""

    interval_minutes: int = Field(30, ge=5)
    """Minutes between two searches."""
    min_sample_size: int = Field(5, ge=2)
    """Jobs a finding must rest on."""


class ProfilerConfig(Strict):
    """Measurements of the machine and of the sheets' processes."""

    enabled: bool = True
    """Measure."""
    interval_seconds: float = Field(5.0, ge=1)
    """Seconds between two measurements."""
    strace_enabled: bool = False
    """Count system calls of sheets all the time."""
    strace_full_on_demand: bool = True
    """Allow a full trace of a process when a person asks for it."""
    gpu_enabled: bool = False
    """Measure graphics processors, too."""
    storage_path: Path | None = None
    """Database of measurements; in the state directory when not given."""
    jsonl_path: Path | None = None
    """File of measurements for other programs; in the state directory when not given."""
    jsonl_max_bytes: int = Field(52_428_800, ge=1_048_576)
    """Size at which that file is begun anew, in bytes."""
    retention: ProfilerRetentionConfig = ProfilerRetentionConfig()
    """How long measurements are kept."""
    anomaly: AnomalyConfig = AnomalyConfig()
    """What counts as unusual."""
    correlation: CorrelationConfig = CorrelationConfig()
    """Search for what failures have in common."""

    @field_validator("storage_path", "jsonl_path")
    @classmethod
    def _absolute(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return None if path is None else absolute_path(path, info)


class PreflightConfig(Strict):
    """Checks of a prompt before it is sent."""

    token_warning_threshold: int = Field(50_000, ge=0)
    """Estimated tokens from which a warning is given; 0 never."""
    token_error_threshold: int = Field(150_000, ge=0)
    """Estimated tokens from which a prompt is refused; 0 never."""

    @model_validator(mode="after")
    def _warn_first(self) -> PreflightConfig:
        warning, error = self.token_warning_threshold, self.token_error_threshold
        if warning and error and warning >= error:
            raise broken_rule(
                f"token_warning_threshold ({warning}) must be below "
                f"token_error_threshold ({error})",
                "token_warning_threshold"
                if "token_warning_threshold" in self.model_fields_set
                else "token_error_threshold",
            )
        return self


class McpServerEntry(Strict):
    """A server with tools that several agents share."""

    command: str = Field(min_length=1)
    """Program that is the server."""
    transport: Literal["stdio"] = "stdio"
    """How it is spoken to."""
    socket: str = Field(min_length=1)
    """Socket that agents reach it by."""
    restart_policy: Literal["on-failure", "always", "never"] = "on-failure"
    """When it is started again after it ended."""


class McpPoolConfig(Strict):
    """Servers with tools that the conductor runs."""

    servers: dict[str, McpServerEntry] = Field({})
    """The servers, by name."""


class KeyEntry(Strict):
    """A key for a service."""

    path: str = Field(min_length=1)
    """File that holds the key."""
    label: str = Field(min_length=1)
    """Name of the key, for views."""


class InstrumentKeys(Strict):
    """Keys of one instrument."""

    keys: list[KeyEntry] = Field(min_length=1)
    """The keys."""
    rotation: Literal["least-recently-rate-limited", "round-robin"] = "least-recently-rate-limited"
    """Which one is used next."""


class KeyringConfig(Strict):
    """Several keys for one service, used in turn."""

    instruments: dict[str, InstrumentKeys] = Field({})
    """Keys by the name of the instrument."""


class DaemonLogConfig(Strict):
    """Files of the conductor's log."""

    root: Path | None = None
    """Directory of the log files; in the state directory when not given."""
    event_log_name: str | None = None
    """Name of the file of events."""
    max_size_mb: float = Field(50, gt=0)
    """Size at which a file is closed and the next one begun, in MB."""
    backup_count: int = Field(5, ge=0)
    """Closed files to keep."""
    compress: bool = True
    """Compress closed files."""
    retention_days: int = Field(14, ge=1)
    """Days that closed files are kept."""

    @field_validator("root")
    @classmethod
    def _absolute(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return None if path is None else absolute_path(path, info)


class RetentionConfig(Strict):
    """How long finished runs are remembered; `max_job_history` bounds their number."""

    history_days: int | None = Field(None, ge=1)
    """Days that finished runs are remembered; no limit when not given."""
    attempt_files_days: int | None = Field(None, ge=1)
    """Days that prompts and outputs of finished runs are kept; as long as the runs when not
    given."""


class UiConfig(Strict):
    """The dashboard."""

    keymap: dict[str, str] = Field({})
    """Keys of actions: the action's id to one or several keys, separated by commas."""
    theme: str | None = Field(None, min_length=1)
    """Name of the colour theme; chosen by the terminal when not given."""
    glyphs: Literal["unicode", "ascii"] | None = None
    """Signs for states; chosen by the locale when not given."""
    mouse: bool = True
    """Use the mouse."""
    confirm: bool = True
    """Ask before something is cancelled or removed."""
