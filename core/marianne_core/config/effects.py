"""Fields that are read but do nothing yet. The table is to shrink to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.fields import Model, fields_of
from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.load import Score
from marianne_core.config.marks import Key
from marianne_core.config.read import problem_at
from marianne_core.config.score.job import JobConfig
from marianne_core.config.source import Source
from marianne_core.model.problem import Problem, Severity

PREFIXES: Final[Mapping[Model, str]] = {
    JobConfig: "",
    InstrumentProfile: "profile:",
    DaemonConfig: "conductor.yaml:",
}
"""What stands before a path of the table: nothing for scores."""

_LIMITS = "comes with waiting for rate limits"
_FALLBACKS = "comes with the failure policy; until then it is only planned and shown"
_BREAKER = "comes with the circuit breaker"
_COST = "comes with counting costs"
_STALE = "comes with detecting silent sheets"
_LEARNING = "comes with learning from earlier runs"
_PERSON = "comes with questions to a person"
_HOOKS = "comes with chains of scores"
_NO_TOOLS = "has no use here: a model behind HTTP gets no tools"
_MCP = "comes with MCP servers"
_SKILLS = "comes with specifications and techniques"
_WATCH = "comes with watching processes and files"
_LOGS = "comes with the conductor's log files"
_DAEMON = "comes with the conductor in the background"
_DASHBOARD = "comes with the dashboard"
_SCREEN = "comes with instruments that are driven through their screen"
_OLD = "has no use here: one database in the state directory remembers everything"

NOT_YET_IN_EFFECT: Final[Mapping[str, str]] = {
    # Scores.
    "instrument_fallbacks": _FALLBACKS,
    "movements.instrument_fallbacks": _FALLBACKS,
    "sheet.per_sheet_fallbacks": _FALLBACKS,
    "parallel.budget_partition": _COST,
    "spec": _SKILLS,
    "sheet.spec_tags": _SKILLS,
    "techniques": _SKILLS,
    "agent_card": "comes with agents that call each other",
    "rate_limit.detection_patterns": _LIMITS,
    "rate_limit.max_quota_waits": _LIMITS,
    "circuit_breaker": _BREAKER,
    "cost_limits": _COST,
    "stale_detection": _STALE,
    "learning": _LEARNING,
    "grounding": "comes with grounding checks",
    "checkpoints": _PERSON,
    "judgment": _PERSON,
    "ai_review": "comes with reviews by a second agent",
    "feedback": "comes with feedback about scores",
    "logging": _LOGS,
    "isolation": "comes with git worktrees",
    "conductor": _PERSON,
    "bridge": "comes with tools for models behind HTTP",
    "code_execution": "comes with running code from answers",
    "notifications": "comes with notifications",
    "on_success": _HOOKS,
    "concert": _HOOKS,
    "state_backend": _OLD,
    "state_path": _OLD,
    "backend.output_format": "has no use here: the instrument's profile says how output is read",
    "backend.max_output_capture_bytes": "has no use here: all output is kept",
    "backend.recursive_light": "is not supported: recursive_light cannot be played",
    "backend.ollama.dynamic_tools": _NO_TOOLS,
    "backend.ollama.compression_level": _NO_TOOLS,
    "backend.ollama.max_tool_iterations": _NO_TOOLS,
    "backend.ollama.health_check_timeout": "has no use here: the server is asked at once",
    **{
        f"{block}.{setting}": reason
        for block in (
            "instrument_config",
            "instruments.config",
            "movements.instrument_config",
            "sheet.per_sheet_instrument_config",
        )
        for setting, reason in (
            ("interactive", _SCREEN),
            ("output_format", "has no use here: the instrument's profile says how output is read"),
        )
    },
    # Instrument profiles.
    "profile:code_mode": "comes with running code from answers",
    "profile:models.context_window": "comes with checks of prompts before they are sent",
    "profile:models.cost_per_1k_input": _COST,
    "profile:models.cost_per_1k_output": _COST,
    "profile:cli.interactive": _SCREEN,
    "profile:cli.command.start_new_session": "has no use here: every instrument has its own session",
    "profile:cli.command.mcp_config_flag": _MCP,
    "profile:cli.command.mcp_config_prefix_args": _MCP,
    "profile:cli.command.mcp_config_workspace_path": _MCP,
    "profile:cli.command.mcp_config_workspace_merge_key": _MCP,
    # conductor.yaml.
    "conductor.yaml:config_file": "is set by the program",
    "conductor.yaml:shutdown_timeout_seconds": _DAEMON,
    "conductor.yaml:on_restart": _DAEMON,
    "conductor.yaml:on_conductor_death": _DAEMON,
    "conductor.yaml:fallback_after_seconds": _LIMITS,
    "conductor.yaml:max_job_history": "comes with clearing by age and number",
    "conductor.yaml:retention": "comes with clearing by age and number",
    "conductor.yaml:daily_budget": _COST,
    "conductor.yaml:logging": _LOGS,
    "conductor.yaml:monitor_interval_seconds": _WATCH,
    "conductor.yaml:resource_limits": _WATCH,
    "conductor.yaml:preflight": "comes with checks of prompts before they are sent",
    "conductor.yaml:observer": _WATCH,
    "conductor.yaml:profiler": _WATCH,
    "conductor.yaml:learning": _LEARNING,
    "conductor.yaml:mcp_pool": _MCP,
    "conductor.yaml:keyring": "comes with several keys for one service",
    "conductor.yaml:ui": _DASHBOARD,
    "conductor.yaml:socket.path": "is not supported: the socket is in the state directory",
    "conductor.yaml:socket.permissions": "has no use here: the socket is open to its owner alone",
    "conductor.yaml:socket.backlog": _DAEMON,
    "conductor.yaml:pid_file": "is not supported: the state directory's lock names the process",
    "conductor.yaml:state_backend_type": _OLD,
    "conductor.yaml:state_db_path": "is not supported: the database is in the state directory",
}
"""Accepted fields without an effect, and why. An entry covers everything below it."""


def reason_without_effect(path: str) -> str | None:
    """Why a field (a dotted path, with the prefix of its file) does nothing, or None if it does."""
    prefix, colon, keys = path.rpartition(":")
    parts = keys.split(".")
    for length in range(1, len(parts) + 1):
        reason = NOT_YET_IN_EFFECT.get(f"{prefix}{colon}{'.'.join(parts[:length])}")
        if reason is not None:
            return reason
    return None


def block_of(path: str) -> str:
    """Path of the block that a field stands in; "" at the top of its file."""
    prefix, colon, keys = path.rpartition(":")
    block = keys.rpartition(".")[0]
    return f"{prefix}{colon}{block}" if block else ""


def effect_words(reason: str) -> str:
    """A reason of the table as the end of a sentence: `not yet in effect: it comes with ...`."""
    return f"{'not yet in effect' if reason.startswith('comes') else 'has no effect'}: it {reason}"


def accepted_not_in_effect(score: Score) -> list[Problem]:
    """The fields that a score writes and that do nothing yet, in the order of the file."""
    return without_effect(score.source, JobConfig)


def without_effect(source: Source, model: type[BaseModel]) -> list[Problem]:
    """The fields that a file of one of `PREFIXES`' models writes and that do nothing yet."""
    prefix = PREFIXES[model]
    problems = [
        problem_at(
            source,
            source.marks.key(keys) or keys,
            "V240",
            f"`{path}` is accepted, but {effect_words(reason)}",
            severity=Severity.INFO,
        )
        for keys, path in _written(source.data, model)
        if (reason := NOT_YET_IN_EFFECT.get(f"{prefix}{path}")) is not None
    ]
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def _written(
    data: Any, model: Model, keys: tuple[Key, ...] = (), prefix: str = ""
) -> Iterator[tuple[tuple[Key, ...], str]]:
    """What a file writes: the keys that lead to each field, and its dotted path."""
    if not isinstance(data, dict):
        return
    by_key = {field.key: field for field in fields_of(model)}
    for key, value in data.items():
        field = by_key.get(str(key))
        if field is None:
            continue
        path = f"{prefix}{field.key}"
        yield (*keys, key), path
        if field.inner is not None:
            for more, block in _blocks(value, (*keys, key), field.layers):
                yield from _written(block, field.inner, more, f"{path}.")


def _blocks(
    value: Any, keys: tuple[Key, ...], layers: int
) -> Iterator[tuple[tuple[Key, ...], Any]]:
    """What lies below `layers` maps and lists, with the keys that lead there."""
    if layers == 0:
        yield keys, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value or ())
    for key, item in items:
        yield from _blocks(item, (*keys, key), layers - 1)
