"""The whole score."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from marianne_core.config.base import SheetNumber, Strict, absolute_path, broken_rule
from marianne_core.config.read import ScoreError, read_model
from marianne_core.config.score.chaining import (
    ConcertConfig,
    NotificationConfig,
    PostSuccessHookConfig,
)
from marianne_core.config.score.execution import (
    CircuitBreakerConfig,
    CostLimitConfig,
    ParallelConfig,
    RateLimitConfig,
    RetryConfig,
    StaleDetectionConfig,
)
from marianne_core.config.score.extras import (
    AgentCard,
    BridgeConfig,
    ConductorConfig,
    SpecCorpusConfig,
    TechniqueConfig,
)
from marianne_core.config.score.instruments import (
    BackendConfig,
    InstrumentConfig,
    InstrumentDef,
    MovementDef,
)
from marianne_core.config.score.learning import CheckpointConfig, GroundingConfig, LearningConfig
from marianne_core.config.score.prompt import PromptConfig
from marianne_core.config.score.shape import refuse_other_shapes
from marianne_core.config.score.sheet import SheetConfig
from marianne_core.config.score.surroundings import (
    AIReviewConfig,
    CodeExecutionConfig,
    CrossSheetConfig,
    FeedbackConfig,
    IsolationConfig,
    JudgmentConfig,
    LogConfig,
    WorkspaceLifecycleConfig,
)
from marianne_core.config.score.validation import ValidationRule
from marianne_core.config.source import Source, parse_source, read_source

MAX_SHEETS = 1_000_000
"""Most sheets of a score, after fan-out: such a plan takes about a gigabyte of memory."""
DEFAULT_INSTRUMENT = "claude-code"
"""Instrument of a score that names none (DESIGN, section 9)."""
LEGACY_BACKEND_TYPE = "claude_cli"
"""What `backend.type` is when it is not written; an alias of the default instrument."""


class JobConfig(Strict):
    """A score: what is to be done, by whom, in which order, and how it is checked."""

    name: str = Field(min_length=1)
    """Name of the score. The job's id is the name of its file, not this."""
    description: str | None = None
    """What the score is for, shown in views."""
    workspace: Path
    """Directory the instruments work in, relative to the score file; `~/workspaces/NAME` when not
    given."""
    instrument: str | None = Field(None, min_length=1)
    """Instrument or alias that plays the sheets; `claude-code` when not given."""
    instrument_config: InstrumentConfig = Field({})
    """Settings of the instrument, for example `timeout_seconds` and `model`."""
    instrument_fallbacks: list[str] = Field([])
    """Instruments to use, in order, when the first one cannot go on."""
    instruments: dict[str, InstrumentDef] = Field({})
    """Aliases: names of this score for instruments with settings."""
    movements: dict[SheetNumber, MovementDef] = Field({})
    """Names and instruments of stages, by stage number."""
    sheet: SheetConfig
    """How the work is cut into sheets."""
    prompt: PromptConfig
    """What the agents are told."""
    spec: SpecCorpusConfig = SpecCorpusConfig()
    """The specification the work is measured against."""
    retry: RetryConfig = RetryConfig()
    """When sheets are tried again."""
    rate_limit: RateLimitConfig = RateLimitConfig()
    """How rate limits are recognised and waited for."""
    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    """When a failing instrument is left alone."""
    cost_limits: CostLimitConfig = CostLimitConfig()
    """How much the work may cost."""
    stale_detection: StaleDetectionConfig = StaleDetectionConfig()
    """When a silent sheet is ended."""
    parallel: ParallelConfig = ParallelConfig()
    """How many sheets run at once."""
    learning: LearningConfig = LearningConfig()
    """What is learned from earlier runs."""
    grounding: GroundingConfig = GroundingConfig()
    """Checks that validations cannot express."""
    checkpoints: CheckpointConfig = CheckpointConfig()
    """When a person is asked before a sheet starts."""
    ai_review: AIReviewConfig = AIReviewConfig()
    """Reviews of the work by a second agent."""
    logging: LogConfig = LogConfig()
    """What the job logs."""
    workspace_lifecycle: WorkspaceLifecycleConfig = WorkspaceLifecycleConfig()
    """What happens to an old workspace."""
    isolation: IsolationConfig = IsolationConfig()
    """Work on a copy of the git repository."""
    cross_sheet: CrossSheetConfig | None = None
    """What sheets are told about earlier sheets; nothing when not given."""
    feedback: FeedbackConfig = FeedbackConfig()
    """What agents tell about the score."""
    conductor: ConductorConfig = ConductorConfig()
    """Who leads the work."""
    bridge: BridgeConfig | None = None
    """A local model with tools."""
    techniques: dict[str, TechniqueConfig] = Field({})
    """Skills that sheets can be given, by name."""
    agent_card: AgentCard | None = None
    """How the agent presents itself to others."""
    validations: list[ValidationRule] = Field([])
    """What sheets must have made."""
    notifications: list[NotificationConfig] = Field([])
    """Who is told what."""
    on_success: list[PostSuccessHookConfig] = Field([])
    """What to do after the run completed."""
    concert: ConcertConfig = ConcertConfig()
    """Limits on chains of scores."""
    code_execution: CodeExecutionConfig = CodeExecutionConfig()
    """Run code blocks from agents' answers."""
    judgment: JudgmentConfig = JudgmentConfig()
    """Let a model decide about sheets that wait for a person."""
    backend: BackendConfig = BackendConfig()
    """The older way to choose an instrument and its timeouts."""
    state_backend: Literal["json", "sqlite"] = "sqlite"
    """Where older conductors kept their state; this one has one database."""
    state_path: str | None = None
    """File of that state."""
    pause_between_sheets_seconds: int = Field(0, ge=0)
    """Seconds to wait after a sheet before the next one starts, when no other is running."""

    @model_validator(mode="before")
    @classmethod
    def _workspace_by_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("workspace") is None:
            name = str(data.get("name") or "score").replace("/", "-")
            if name in (".", ".."):
                name = "score"
            return {**data, "workspace": f"~/workspaces/{name}"}
        return data

    @field_validator("workspace")
    @classmethod
    def _workspace_is_absolute(cls, path: Path, info: ValidationInfo) -> Path:
        return absolute_path(path, info)

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> JobConfig:
        if self.instrument is not None and self.backend.type != LEGACY_BACKEND_TYPE:
            raise broken_rule(
                f"both `instrument: {self.instrument}` and `backend.type: {self.backend.type}` "
                "choose an instrument",
                "instrument",
                hint="remove backend.type: `instrument` is the newer name",
            )
        return self

    @model_validator(mode="after")
    def _not_too_many_sheets(self) -> JobConfig:
        if self.sheet_count <= MAX_SHEETS:
            return self
        # The largest number is the one that was likely not meant.
        stages = self.sheet.stages
        counts: dict[tuple[str | int, ...], int] = {("sheet", "total_items"): stages}
        for stage, count in self.sheet.fan_out.items():
            counts["sheet", "fan_out", stage] = count if stage <= stages else 0
        for stage, movement in self.movements.items():
            counts["movements", stage, "voices"] = (movement.voices or 0) * (stage <= stages)
        raise broken_rule(
            f"the score has {self.sheet_count:,} sheets; at most {MAX_SHEETS:,} are possible",
            *max(counts, key=lambda place: counts[place]),
            hint="a larger `size` gives each sheet more items",
        )

    @property
    def sheet_count(self) -> int:
        """Number of sheets: stages after fan-out; `voices` of a movement count like `fan_out`."""
        voices = {number: each.voices or 1 for number, each in self.movements.items()}
        stages = self.sheet.stages
        wide = {**voices, **self.sheet.fan_out}
        return stages + sum(count - 1 for stage, count in wide.items() if stage <= stages)

    def voices_of(self, stage: int) -> int:
        """Number of sheets of one stage, at least 1."""
        movement = self.movements.get(stage)
        return self.sheet.fan_out.get(stage) or (movement and movement.voices) or 1

    @property
    def primary_instrument(self) -> str:
        """Instrument or alias of sheets that have no other: `instrument`, else `backend.type`."""
        if self.instrument is not None:
            return self.instrument
        if "type" in self.backend.model_fields_set:
            return self.backend.type
        return DEFAULT_INSTRUMENT

    def behind(self, name: str) -> tuple[str, list[str]]:
        """The instrument that a name stands for, and the score's aliases on the way to it."""
        aliases: list[str] = []
        while name in self.instruments and name not in aliases:
            aliases.append(name)
            name = self.instruments[name].profile
        return name, aliases

    @classmethod
    def from_source(cls, source: Source) -> JobConfig:
        """The score that a file holds. Raises ScoreError with everything that is wrong with it."""
        refuse_other_shapes(source)
        return read_model(cls, source, ScoreError)

    @classmethod
    def from_yaml(cls, path: str | Path) -> JobConfig:
        """Read a score file; relative paths in it are relative to its folder.

        Raises InputError when it cannot be read, ScoreError when it is not a score.
        """
        return cls.from_source(read_source(Path(path)))

    @classmethod
    def from_yaml_string(cls, text: str) -> JobConfig:
        """Read a score from its text; relative paths are relative to the current directory.

        Raises InputError when it is not YAML, ScoreError when it is not a score.
        """
        return cls.from_source(parse_source(text, None))
