"""How sheets are tried, retried, limited and run side by side."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from marianne_core.config.base import Pattern, Strict, broken_rule


class RetryConfig(Strict):
    """When a sheet is tried again, and how long to wait before."""

    max_retries: int = Field(3, ge=0)
    """How many times a sheet runs again after its first try failed. 0 means one try."""
    base_delay_seconds: float = Field(10.0, gt=0)
    """Wait before the first retry, in seconds."""
    max_delay_seconds: float = Field(3600.0, gt=0)
    """The longest wait before any retry, in seconds; at least `base_delay_seconds`."""
    exponential_base: float = Field(2.0, gt=1)
    """Factor by which the wait grows with each further retry."""
    jitter: bool = True
    """Shorten each wait by a random part of up to half, so that sheets do not retry in step."""
    max_completion_attempts: int = Field(5, ge=0)
    """How many times a sheet that passed part of its validations is asked to finish the rest."""
    completion_delay_seconds: float = Field(5.0, ge=0)
    """Wait before a completion attempt, in seconds."""
    completion_threshold_percent: float = Field(50.0, gt=0, le=100)
    """Percent of validations that must pass for a completion attempt instead of a retry."""

    @model_validator(mode="after")
    def _delays_in_order(self) -> RetryConfig:
        if self.base_delay_seconds > self.max_delay_seconds:
            raise broken_rule(
                f"base_delay_seconds ({self.base_delay_seconds:g}) is longer than "
                f"max_delay_seconds ({self.max_delay_seconds:g})",
                "base_delay_seconds",
            )
        return self


class RateLimitConfig(Strict):
    """What counts as a rate limit, and how long the score is willing to wait for one."""

    detection_patterns: list[Pattern] = Field(
        [
            r"rate.?limit",
            r"usage.?limit",
            r"quota",
            r"too many requests",
            r"429",
            r"capacity",
            r"try again later",
        ]
    )
    """Regular expressions that mark output as a rate limit, upper and lower case alike."""
    wait_minutes: int = Field(60, ge=1)
    """Minutes to wait when the limit does not say when it ends."""
    max_waits: int = Field(24, ge=1)
    """How many times a sheet waits for a rate limit before it fails."""
    max_quota_waits: int = Field(48, ge=1)
    """How many times a sheet waits for a used-up quota before it fails."""


class CircuitBreakerConfig(Strict):
    """When an instrument that keeps failing is left alone for a while."""

    enabled: bool = True
    """Stop using an instrument after several failures in a row."""
    failure_threshold: int = Field(5, ge=1, le=100)
    """Failures in a row that open the breaker."""
    recovery_timeout_seconds: float = Field(300.0, gt=0, le=3600)
    """Seconds before an open breaker lets one sheet try again."""
    cross_workspace_coordination: bool = True
    """Share what is known about limits with the other jobs of the conductor."""
    honor_other_jobs_rate_limits: bool = True
    """Wait also for limits that other jobs met; off when coordination is off."""

    @model_validator(mode="before")
    @classmethod
    def _alone_means_alone(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("cross_workspace_coordination") is False:
            return {**data, "honor_other_jobs_rate_limits": False}
        return data


class CostLimitConfig(Strict):
    """How much money a sheet and a run may cost."""

    enabled: bool = False
    """Enforce the limits; on by itself when a limit is written and this is not."""
    max_cost_per_sheet: float | None = Field(None, gt=0)
    """Most that one sheet may cost over all its attempts, in US dollars."""
    max_cost_per_job: float | None = Field(None, gt=0)
    """Most that one run may cost, in US dollars."""
    cost_per_1k_input_tokens: float = Field(0.003, ge=0)
    """Price of 1,000 input tokens in US dollars where the instrument's profile has none."""
    cost_per_1k_output_tokens: float = Field(0.015, ge=0)
    """Price of 1,000 output tokens in US dollars where the instrument's profile has none."""
    warn_at_percent: float = Field(80.0, gt=0, le=100)
    """Percent of a limit at which a warning is given."""

    @model_validator(mode="before")
    @classmethod
    def _limit_switches_on(cls, data: Any) -> Any:
        if isinstance(data, dict) and "enabled" not in data:
            limits = (data.get("max_cost_per_sheet"), data.get("max_cost_per_job"))
            if any(limit is not None for limit in limits):
                return {**data, "enabled": True}
        return data

    @model_validator(mode="after")
    def _enabled_needs_a_limit(self) -> CostLimitConfig:
        if self.enabled and self.max_cost_per_sheet is None and self.max_cost_per_job is None:
            raise broken_rule(
                "cost limits are enabled, but no limit is given",
                "enabled",
                hint="add max_cost_per_job or max_cost_per_sheet",
            )
        return self


class StaleDetectionConfig(Strict):
    """When a sheet that shows no sign of life is ended."""

    enabled: bool = False
    """End sheets that neither write output nor change a file for too long."""
    idle_timeout_seconds: float = Field(300.0, gt=0)
    """Seconds without a sign of life after which a sheet counts as idle."""
    check_interval_seconds: float = Field(30.0, gt=0)
    """Seconds between two looks; shorter than `idle_timeout_seconds`."""
    max_idle_checks_before_kill: int = Field(3, ge=1)
    """Looks in a row that must find the sheet idle before it is ended."""

    @model_validator(mode="after")
    def _looks_often_enough(self) -> StaleDetectionConfig:
        if self.check_interval_seconds >= self.idle_timeout_seconds:
            raise broken_rule(
                f"check_interval_seconds ({self.check_interval_seconds:g}) must be shorter than "
                f"idle_timeout_seconds ({self.idle_timeout_seconds:g})",
                "check_interval_seconds"
                if "check_interval_seconds" in self.model_fields_set
                else "idle_timeout_seconds",
            )
        return self


class ParallelConfig(Strict):
    """How many sheets of this score run at once."""

    enabled: bool = False
    """Run sheets side by side as far as their dependencies allow; off means one at a time."""
    max_concurrent: int = Field(3, ge=1, le=20)
    """Most sheets of this score that run at once."""
    fail_fast: bool = True
    """After a sheet failed for good, start no more sheets and skip the rest."""
    budget_partition: bool = True
    """Share the cost budget between sheets that run at once; only true is accepted."""
    stagger_delay_ms: int = Field(0, ge=0, le=5000)
    """Milliseconds between the starts of two sheets of this score."""

    @model_validator(mode="after")
    def _budget_is_shared(self) -> ParallelConfig:
        if not self.budget_partition:
            raise broken_rule(
                "budget_partition: false is not supported",
                "budget_partition",
                hint="remove the line: one budget holds for all sheets of a run",
            )
        return self
