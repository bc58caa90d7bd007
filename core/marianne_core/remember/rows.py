"""What readers get: the rows of the store as typed tuples."""

from __future__ import annotations

from typing import Any, NamedTuple

from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus


class RunRow(NamedTuple):
    """One run of a job. Times are seconds since the epoch."""

    run_id: int
    job_id: str
    run: int
    """Number within the job, from 1."""
    name: str
    score_path: str
    workspace: str
    status: JobStatus
    reason: str
    paused_by: str | None
    submitted_at: float
    started_at: float | None
    finished_at: float | None
    elapsed: float
    """Seconds that count against the job's timeout."""
    chain_depth: int | None
    sheets_total: int
    completed: int
    failed: int
    skipped: int
    cancelled: int
    final: JobStatus | None
    """While it is being ended (CANCELLING): what it will be then; None = nobody said."""
    counted_at: float | None
    """Boot clock, when `elapsed` was saved and its time went on; None = it is not counted."""


class SheetRow(NamedTuple):
    """One sheet of a run."""

    num: int
    movement: int | None
    voice: int | None
    instrument: str
    model: str | None
    description: str
    status: SheetStatus
    reason: str
    attempts: int
    retries_used: int
    completions_used: int
    lost_in_row: int
    blocked: bool
    mode: AttemptMode
    not_before: float | None
    exit_code: int | None
    """Of the last attempt that ended."""
    started_at: float | None
    finished_at: float | None
    waits_used: int = 0


class AttemptRow(NamedTuple):
    """One attempt of a sheet."""

    num: int
    attempt: int
    mode: AttemptMode
    instrument: str
    model: str | None
    token: str
    argv_digest: str | None
    prompt_hash: str | None
    boot_id: str
    intended_at: float
    started_at: float | None
    deadline: float | None
    """Seconds of the boot clock of `boot_id`."""
    finished_at: float | None
    ended: str | None
    """A value of `model.outcome.Ended`; None while its end is not known."""
    exit_code: int | None
    signal: int | None
    code: str | None
    reason: str
    pass_rate: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    ending: str | None
    """Its end was ordered while it lived: what its outcome shall say, a value of
    `model.outcome.Ended`; None = nobody ordered it."""
    ending_reason: str
    """Why its end was ordered, one line."""
    ending_at: float | None
    """When its end was ordered."""


class ValidationRow(NamedTuple):
    """What one rule said about one attempt: the fields of `model.outcome.ValidationResult`.

    `reports.validation_report` makes that of it.
    """

    rule: int
    rule_type: str
    description: str
    passed: bool
    stage: int
    path: str | None
    pattern: str | None
    command: str | None
    expected: str
    actual: str
    reason: str
    category: str | None
    """A value of `model.outcome.FailureCategory`."""
    suggested_fix: str
    tries: int
    duration: float
    """Seconds."""


class LimitRow(NamedTuple):
    """A rate limit that was met. Times are seconds since the epoch."""

    instrument: str
    model: str | None
    """None = the whole instrument."""
    until: float
    by_clock: bool
    """A date or a time of day was told, and not a duration."""
    reason: str
    told_at: float
    run_id: int
    """Whose sheet met it."""
    num: int


class EventRow(NamedTuple):
    """One line of the journal of events."""

    seq: int
    """Grows over all runs; give the last one back to read on."""
    run_id: int
    sheet: int
    time: float
    kind: str
    data: dict[str, Any]


class Submission(NamedTuple):
    """What was submitted."""

    score: str
    variables: dict[str, Any]
    options: dict[str, Any]
    hook_config: list[dict[str, Any]] | None
    concert_config: dict[str, Any] | None


class Totals(NamedTuple):
    """What the attempts of a run used, together."""

    attempts: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


class Unfinished(NamedTuple):
    """A run that was not over when its conductor ended: all that the next one needs."""

    run: RunRow
    submission: Submission
    sheets: list[SheetRow]
    """All sheets of the run, in order."""
    open_attempts: list[AttemptRow]
    """Attempts whose end is not known, in order of sheet and attempt."""
