"""What can be written into the store: facts, as the engine states them.

Names differ from the baton's messages and effects on purpose: one happens, the other is kept.
All times are seconds since the epoch unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from marianne_core.model.events import Event
from marianne_core.model.outcome import Ended, Outcome, ValidationResult
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus


class Sync(IntEnum):
    """What a change must survive. A group of changes is written as its strictest member needs."""

    WRITE = 0
    """The death of this process. Enough for intents: a power cut ends their processes too."""
    LAZY = 1
    """Like WRITE at once, and a power cut at most 100 ms later: results."""
    DISK = 2
    """A power cut, before it counts as done: commands of a person."""


@dataclass(frozen=True, slots=True)
class SheetDraft:
    """A sheet of a plan, as it is when its run begins."""

    num: int
    instrument: str
    movement: int | None = None
    voice: int | None = None
    """Number of the instance within its movement."""
    model: str | None = None
    description: str = ""
    status: SheetStatus = SheetStatus.PENDING
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunDraft:
    """A submission: everything that is known of a run before it has a number."""

    score_path: str
    """Absolute. With it comes the job id (see `job_ids`)."""
    score: str
    """Text of the score as submitted."""
    name: str
    """The score's own name."""
    workspace: str
    """Absolute."""
    submitted_at: float
    status: JobStatus = JobStatus.QUEUED
    reason: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """What `--var` gave; JSON-safe."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """fresh, start_sheet, ...; JSON-safe."""
    chain_depth: int | None = None
    hook_config: Sequence[Mapping[str, Any]] | None = None
    concert_config: Mapping[str, Any] | None = None


class RunKey(NamedTuple):
    """The names of a run."""

    run_id: int
    """Unique over all jobs and all time; names the run's directory."""
    job_id: str
    run: int
    """Number within the job, from 1. Never given twice while the job is remembered."""


@dataclass(frozen=True, slots=True)
class SheetsAdded:
    """Sheets of a run that came after its submission."""

    run_id: int
    sheets: Sequence[SheetDraft]


@dataclass(frozen=True, slots=True)
class RunSaved:
    """Where a run stands now.

    The store derives `started_at` (first time RUNNING) and `finished_at` (the time it became
    terminal; none while it is not, so a run that is opened again has none).
    """

    run_id: int
    status: JobStatus
    at: float
    reason: str = ""
    paused_by: str | None = None
    """Who or what paused it; None also forgets an earlier one."""
    elapsed: float | None = None
    """Seconds that count against the job's timeout so far; None = as before."""
    counted_at: float | None = None
    """When `elapsed` was so much, in seconds of the boot clock, if the time goes on; None = it does
    not. Counts only together with `elapsed`."""
    final: JobStatus | None = None
    """With CANCELLING: what it will be when its sheets have ended; None = as before. Any other
    status forgets it."""


@dataclass(frozen=True, slots=True)
class ScoreReplaced:
    """The run goes on with another text of its score (modify, resume with a file)."""

    run_id: int
    score_path: str
    score: str
    workspace: str | None = None
    """None = as before."""


@dataclass(frozen=True, slots=True)
class SheetSaved:
    """Where a sheet stands now: the whole of it, nothing is kept from before but what is derived.

    The store derives `started_at` (first time IN_PROGRESS since it was last PENDING; none for a sheet
    that was skipped before anything of it was tried) and `finished_at` (the time it became terminal; none while it is not).
    """

    run_id: int
    num: int
    status: SheetStatus
    at: float
    reason: str = ""
    attempts: int = 0
    """Highest attempt number used."""
    retries_used: int = 0
    completions_used: int = 0
    lost_in_row: int = 0
    waits_used: int = 0
    blocked: bool = False
    mode: AttemptMode = AttemptMode.NORMAL
    """Of the living attempt, or of the next one."""
    not_before: float | None = None
    """No attempt before this time. Seconds since the epoch, so that it holds over a reboot."""
    instrument: str | None = None
    """None = as before; a fallback instrument otherwise."""
    model: str | None = None
    """Counts only together with `instrument`."""


@dataclass(frozen=True, slots=True)
class SheetsSaved:
    """Where many sheets stand now: like as many `SheetSaved` of sheets that were never attempted."""

    run_id: int
    blocks: Sequence[range]
    """Numbers of the sheets, as blocks of consecutive ones."""
    status: SheetStatus
    """Not IN_PROGRESS: that says something of each sheet."""
    at: float
    reason: str = ""
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class AttemptIntended:
    """An attempt is about to be started. Committed before anything is spawned.

    The same number again (after NEVER_RAN) replaces the earlier intent and all that it came to.
    """

    run_id: int
    num: int
    attempt: int
    at: float
    token: str
    boot_id: str
    instrument: str
    model: str | None = None
    mode: AttemptMode = AttemptMode.NORMAL
    argv_digest: str | None = None
    prompt_hash: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptBegun:
    """Its process exists."""

    run_id: int
    num: int
    attempt: int
    at: float
    deadline: float | None = None
    """Seconds of the boot clock (CLOCK_BOOTTIME) of the intent's boot id; None = no limit."""
    boot_id: str | None = None
    """Another boot than the intent's; None = the same."""
    argv_digest: str | None = None
    """None = as in the intent."""
    prompt_hash: str | None = None
    """None = as in the intent."""


@dataclass(frozen=True, slots=True)
class AttemptEnding:
    """The end of a living attempt was ordered. Written before its processes get a signal.

    A second order for the same attempt replaces the first.
    """

    run_id: int
    num: int
    attempt: int
    at: float
    ended: Ended
    """What its outcome shall say: TIMEOUT or CANCELLED."""
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """Its processes are gone and its end is known; a second one for the same attempt replaces it."""

    run_id: int
    num: int
    attempt: int
    at: float
    outcome: Outcome
    results: Sequence[ValidationResult] = ()
    """What its validations said, at most one per rule."""
    outputs: tuple[str, ...] = ()
    """Absolute paths of files that the result stands on (its stdout): they are on the disk before
    the row is. One that is missing or empty needs nothing."""


@dataclass(frozen=True, slots=True)
class EventHappened:
    """A line of the journal of events."""

    run_id: int
    """0 = it belongs to no run."""
    event: Event


@dataclass(frozen=True, slots=True)
class HookResults:
    """What the hooks of a run said."""

    run_id: int
    results: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class LimitMet:
    """A rate limit of an instrument and model. A later one takes the place of an earlier one."""

    instrument: str
    model: str | None
    """None = the whole instrument."""
    until: float
    by_clock: bool
    """As in `model.outcome.Limit`."""
    at: float
    """When it was told."""
    reason: str = ""
    run_id: int = 0
    num: int = 0
    """The sheet that met it."""


@dataclass(frozen=True, slots=True)
class LimitLifted:
    """A rate limit that was met does not count any more."""

    instrument: str
    model: str | None


Change = (
    SheetsAdded
    | RunSaved
    | ScoreReplaced
    | SheetSaved
    | SheetsSaved
    | AttemptIntended
    | AttemptBegun
    | AttemptEnding
    | AttemptFinished
    | EventHappened
    | HookResults
    | LimitMet
    | LimitLifted
)
