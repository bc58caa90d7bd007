"""Learning from earlier runs, grounding checks and checkpoints that ask a person."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from marianne_core.config.base import SheetNumber, Strict, broken_rule

Fraction = Annotated[float, Field(ge=0, le=1)]


class ExplorationBudgetConfig(Strict):
    """How much room there is for unproven patterns, and how it changes."""

    enabled: bool = False
    """Let the share of unproven patterns change over time."""
    floor: Fraction = 0.05
    """Smallest share, 0 to 1."""
    ceiling: Fraction = 0.5
    """Largest share, 0 to 1; at least `floor`."""
    decay_rate: Fraction = 0.95
    """Factor by which the share shrinks from run to run."""
    boost_amount: Fraction = 0.1
    """What is added to the share when patterns become too much alike."""
    initial_budget: Fraction = 0.15
    """Share at the beginning, between `floor` and `ceiling`."""

    @model_validator(mode="after")
    def _in_order(self) -> ExplorationBudgetConfig:
        if self.floor > self.ceiling:
            raise broken_rule(
                f"floor ({self.floor:g}) is above ceiling ({self.ceiling:g})",
                "floor" if "floor" in self.model_fields_set else "ceiling",
            )
        return self


class EntropyResponseConfig(Strict):
    """What happens when the patterns in use become too much alike."""

    enabled: bool = False
    """Answer low entropy at all."""
    entropy_threshold: Fraction = 0.3
    """Entropy below which there is an answer, 0 to 1."""
    cooldown_seconds: int = Field(3600, ge=0)
    """Seconds between two answers."""
    boost_budget: bool = True
    """Give unproven patterns more room."""
    revisit_quarantine: bool = True
    """Look again at patterns that were put aside."""
    max_quarantine_revisits: int = Field(3, ge=0)
    """Patterns to look at again in one answer."""


class AutoApplyConfig(Strict):
    """Use trusted patterns without asking."""

    enabled: bool = False
    """Use them."""
    trust_threshold: Fraction = 0.85
    """Trust a pattern needs, 0 to 1."""
    max_patterns_per_sheet: int = Field(3, ge=1)
    """Most patterns used in one prompt."""
    require_validated_status: bool = True
    """Use only patterns that were validated."""
    log_applications: bool = True
    """Log each use."""


class LearningConfig(Strict):
    """What the job learns from earlier runs and leaves for later ones."""

    enabled: bool = True
    """Learn at all."""
    outcome_store_type: Literal["json", "sqlite"] = "json"
    """How outcomes are stored."""
    outcome_store_path: str | None = None
    """Where outcomes are stored; the conductor's own place when not given."""
    min_confidence_threshold: Fraction = 0.3
    """Confidence below which a finding is left out, 0 to 1."""
    high_confidence_threshold: Fraction = 0.7
    """Confidence from which a finding counts as sure, 0 to 1; above the minimum."""
    escalation_enabled: bool = False
    """Ask a person when confidence is low."""
    use_global_patterns: bool = True
    """Use patterns learned from other jobs."""
    exploration_rate: Fraction = 0.15
    """Share of sheets that try an unproven pattern, 0 to 1."""
    exploration_min_priority: Fraction = 0.05
    """Priority an unproven pattern needs, 0 to 1."""
    entropy_alert_threshold: Fraction = 0.5
    """Entropy below which a warning is given, 0 to 1."""
    entropy_check_interval: int = Field(100, ge=1)
    """Uses of patterns between two looks at the entropy."""
    auto_apply_enabled: bool = False
    """Short for `auto_apply: {enabled: true}`."""
    auto_apply_trust_threshold: Fraction = 0.85
    """Short for `auto_apply: {trust_threshold: ...}`."""
    exploration_budget: ExplorationBudgetConfig = ExplorationBudgetConfig()
    """Room for unproven patterns."""
    entropy_response: EntropyResponseConfig = EntropyResponseConfig()
    """Answer to patterns that become too much alike."""
    auto_apply: AutoApplyConfig | None = None
    """Use of trusted patterns without asking."""


class GroundingHookConfig(Strict):
    """One check of what an agent claims against what is there."""

    type: Literal["file_checksum"] = "file_checksum"
    """Kind of check."""
    name: str | None = None
    """Name of the check, for results."""
    expected_checksums: dict[str, str] = Field({})
    """Files, relative to the workspace, and the checksums they must have."""
    checksum_algorithm: Literal["sha256", "md5"] = "sha256"
    """How checksums are computed."""


class GroundingConfig(Strict):
    """Checks after each sheet that validations cannot express."""

    enabled: bool = False
    """Run the checks."""
    hooks: list[GroundingHookConfig] = Field([])
    """The checks, in order."""
    fail_on_grounding_failure: bool = True
    """Fail a sheet whose check failed."""
    escalate_on_failure: bool = True
    """Ask a person after a failed check."""
    timeout_seconds: float = Field(30.0, gt=0)
    """Seconds a check may take."""


class CheckpointTriggerConfig(Strict):
    """When a sheet waits for a person before it starts."""

    name: str = Field(min_length=1)
    """Name of the trigger, shown when it fires."""
    sheet_nums: list[SheetNumber] | None = None
    """Fires for these sheets."""
    prompt_contains: list[str] | None = None
    """Fires when the prompt contains one of these texts."""
    min_retry_count: int | None = Field(None, ge=0)
    """Fires from this retry on."""
    requires_confirmation: bool = True
    """Wait for a person; else only a warning is given."""
    message: str = ""
    """What the person is told."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> CheckpointTriggerConfig:
        if not self.sheet_nums and not self.prompt_contains and self.min_retry_count is None:
            raise broken_rule(
                "a trigger needs at least one of sheet_nums, prompt_contains, min_retry_count"
            )
        return self


class CheckpointConfig(Strict):
    """Points at which a person is asked."""

    enabled: bool = False
    """Ask."""
    triggers: list[CheckpointTriggerConfig] = Field([])
    """When to ask; at least one when enabled."""

    @model_validator(mode="after")
    def _enabled_needs_a_trigger(self) -> CheckpointConfig:
        if self.enabled and not self.triggers:
            raise broken_rule("checkpoints are enabled, but there is no trigger", "enabled")
        return self
