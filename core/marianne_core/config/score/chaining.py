"""What happens after a run: hooks, chains of scores, notifications."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from marianne_core.config.base import BrokenRule, Strict, broken_rules


class PostSuccessHookConfig(Strict):
    """Something to do after the run completed."""

    type: Literal["run_job", "run_command", "run_script"]
    """Submit another score, run a shell command, or run a program."""
    job_path: str | None = None
    """Score to submit (`run_job`), relative to this score file."""
    job_workspace: str | None = None
    """Workspace of the submitted score."""
    inherit_learning: bool = True
    """Hand what was learned to the submitted score."""
    command: str | None = Field(None, max_length=4096)
    """Command or program to run; `{workspace}`, `{job_id}`, `{sheet_count}` are replaced."""
    working_directory: str | None = None
    """Directory the command runs in; the workspace when not given."""
    description: str | None = None
    """What the hook is for, shown in results."""
    on_failure: Literal["continue", "abort"] = "continue"
    """After a failed hook: go on with the next one, or leave the rest out."""
    timeout_seconds: float = Field(300.0, gt=0)
    """Seconds after which a command is ended."""
    detached: bool = False
    """Do not wait for the submitted score; it is never waited for now."""
    fresh: bool = False
    """Submit the score as a fresh run."""
    pause_before_chain: bool = False
    """Wait for a person (`mzt resume`) before the score is submitted."""

    @model_validator(mode="after")
    def _has_its_target(self) -> PostSuccessHookConfig:
        needed = "job_path" if self.type == "run_job" else "command"
        if not getattr(self, needed):
            raise broken_rules([BrokenRule(f"a {self.type} hook needs `{needed}`")])
        return self


class ConcertConfig(Strict):
    """Limits on chains of scores that submit each other."""

    enabled: bool = False
    """Apply the limits to this score's `run_job` hooks."""
    max_chain_depth: int = Field(5, ge=1, le=100)
    """Longest chain, in scores."""
    cooldown_between_jobs_seconds: float = Field(5.0, ge=0)
    """Seconds to wait before the next score is submitted."""
    inherit_workspace: bool = True
    """Let the next score work in this score's workspace."""
    concert_log_path: str | None = None
    """File that notes each link of the chain."""
    abort_concert_on_hook_failure: bool = False
    """End the chain when a hook failed."""


class NotificationConfig(Strict):
    """Tell a person what happened."""

    type: Literal["desktop", "slack", "webhook", "email"]
    """How."""
    on_events: list[
        Literal[
            "job_start",
            "sheet_start",
            "sheet_complete",
            "sheet_failed",
            "job_complete",
            "job_failed",
            "job_paused",
        ]
    ] = Field(["job_complete", "job_failed"])
    """What a person is told about."""
    config: dict[str, Any] = Field({})
    """Settings of the way: `url`, `webhook_url`, `channel`, `timeout` and so on."""
