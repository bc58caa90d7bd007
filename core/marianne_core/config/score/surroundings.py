"""What surrounds the sheets: workspace, git isolation, shared context, logs, reviews."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, model_validator

from marianne_core.config.base import Pattern, Strict, broken_rule


class CrossSheetConfig(Strict):
    """What a sheet is told about the sheets before it."""

    auto_capture_stdout: bool = False
    """Offer the output of earlier sheets to templates as `previous_outputs`."""
    max_output_chars: int = Field(2000, gt=0)
    """Longest text taken from one output or file, in characters; the head is kept."""
    capture_files: list[str] = Field([])
    """Patterns of files (templates, relative to the workspace) offered as `previous_files`."""
    lookback_sheets: int = Field(3, ge=0)
    """How many sheets back outputs are taken from; 0 means all."""


class WorkspaceLifecycleConfig(Strict):
    """What happens to the workspace of an earlier run when a fresh one starts."""

    archive_on_fresh: bool = False
    """Move the old content of the workspace into the archive before a fresh run."""
    archive_dir: str = Field("archive", min_length=1)
    """Directory of the archives, relative to the workspace."""
    archive_naming: Literal["iteration", "timestamp"] = "iteration"
    """How archives are named: by a running number or by the time."""
    max_archives: int = Field(0, ge=0)
    """Archives to keep; older ones are removed. 0 keeps all."""
    preserve_patterns: list[str] = Field(
        [
            ".iteration",
            ".marianne-*",
            ".coverage",
            "archive/**",
            ".worktrees/**",
        ]
    )
    """Patterns of files, relative to the workspace, that stay where they are."""


class IsolationMode(StrEnum):
    """How a job is kept apart from the repository it works on."""

    NONE = "none"
    """It works in place."""
    WORKTREE = "worktree"
    """It works in a git worktree of its own."""


class IsolationConfig(Strict):
    """Work on a copy of the git repository."""

    enabled: bool = False
    """Run the job apart from the repository's working tree."""
    mode: IsolationMode = IsolationMode.WORKTREE
    """How: a git worktree, or not at all."""
    worktree_base: str | None = None
    """Directory for worktrees; `.worktrees` in the repository when not given."""
    branch_prefix: str = Field("marianne", pattern=r"^[a-zA-Z][a-zA-Z0-9_-]*$")
    """First part of the name of the job's branch."""
    source_branch: str | None = None
    """Branch or commit to start from; the current one when not given."""
    cleanup_on_success: bool = True
    """Remove the worktree after the run completed; its branch stays."""
    cleanup_on_failure: bool = False
    """Remove the worktree after the run failed; its branch stays."""
    lock_during_execution: bool = True
    """Lock the worktree while the run uses it, so that git does not prune it."""
    fallback_on_error: bool = True
    """Work in place when no worktree can be made; else the job fails."""


class LogConfig(Strict):
    """What the job logs."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Least important messages that are logged."""
    format: Literal["console", "json", "both"] = "console"
    """Text for people, JSON lines, or text on the console and JSON in the file."""
    file_path: str | None = None
    """File to log into; needed for `format: both`."""
    max_file_size_mb: float = Field(50, gt=0, le=1000)
    """Size at which a log file is closed and the next one begun, in MB."""
    backup_count: int = Field(5, ge=0, le=100)
    """Closed log files to keep."""
    include_timestamps: bool = True
    """Write the time into each line."""
    include_context: bool = True
    """Write job, sheet and instrument into each line."""

    @model_validator(mode="after")
    def _both_need_a_file(self) -> LogConfig:
        if self.format == "both" and self.file_path is None:
            raise broken_rule("`format: both` needs a file_path", "format")
        return self


class AIReviewConfig(Strict):
    """A second agent reads and scores the work."""

    enabled: bool = False
    """Have each sheet's work reviewed."""
    min_score: int = Field(60, ge=0, le=100)
    """Score below which `on_low_score` applies, 0 to 100."""
    target_score: int = Field(80, ge=0, le=100)
    """Score that counts as good; at least `min_score`."""
    on_low_score: Literal["retry", "warn", "fail"] = "warn"
    """What to do after a low score: try again, go on with a warning, or fail the sheet."""
    max_retry_for_review: int = Field(2, ge=0, le=5)
    """How many times a sheet is tried again because of a low score."""
    review_prompt_template: str | None = None
    """Jinja template of the reviewer's prompt; there is one built in."""

    @model_validator(mode="after")
    def _scores_in_order(self) -> AIReviewConfig:
        if self.target_score < self.min_score:
            raise broken_rule(
                f"target_score ({self.target_score}) is lower than min_score ({self.min_score})",
                "target_score" if "target_score" in self.model_fields_set else "min_score",
            )
        return self


class FeedbackConfig(Strict):
    """What agents tell about the score itself."""

    enabled: bool = False
    """Look for feedback in the output of sheets."""
    pattern: Pattern = r"(?s)FEEDBACK_START(.+?)FEEDBACK_END"
    """Regular expression whose first group is the feedback."""
    format: Literal["json", "yaml", "text"] = "json"
    """How the feedback is written."""


class CodeExecutionConfig(Strict):
    """Run code blocks from an agent's answer."""

    enabled: bool = False
    """Run them."""
    require_sandbox: bool = False
    """Refuse to run them where no sandbox (bwrap) is available."""
    timeout_seconds: float = Field(30.0, gt=0)
    """Seconds after which a code block is ended."""


class JudgmentConfig(Strict):
    """Let a model decide about sheets that would wait for a person."""

    enabled: bool = False
    """Ask a model before a sheet waits for a person."""
    instrument: str | None = Field(None, min_length=1)
    """Instrument that is asked; the score's when not given."""
    model: str | None = None
    """Model that is asked; the instrument's default when not given."""
    timeout_seconds: float = Field(120.0, gt=0)
    """Seconds to wait for the decision."""
    min_confidence: float = Field(0.8, ge=0, le=1)
    """Decisions below this confidence are left to a person, 0 to 1."""
    max_per_sheet: int = Field(1, ge=1)
    """Decisions per sheet; after these a person decides."""
    allow_accept: bool = False
    """Let the model accept a sheet whose validations failed."""
