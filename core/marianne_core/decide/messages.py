"""What goes into the baton (messages) and what comes out of it (effects): facts and orders, no code.

All times are seconds of one clock that never goes back, the one whose value is given to
`Baton.handle` as `now`. `run_id` is the number of a run in the store, unique over all jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.model.waits import Wait, WaitReason

if TYPE_CHECKING:
    from marianne_core.decide.graph import SheetGraph
    from marianne_core.decide.records import Records


@dataclass(frozen=True, slots=True)
class SheetTask:
    """What the decisions need to know of one sheet."""

    num: int
    """Number of the sheet within its score, from 1."""
    deps: tuple[range, ...] = ()
    """Blocks of consecutive sheet numbers; every sheet in every block must be finished first."""
    instrument: str = "cli"
    """Resolved profile name."""
    model: str | None = None
    """Model of the instrument, or None for its default."""
    timeout: float = 0.0
    """Seconds an attempt may take; the engine turns it into `AttemptStarted.deadline`."""
    raw: bool = False
    """The instrument takes the prompt as it is (`cli`): it has no default limit of its own."""


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """The settings of a score that decide when and how often its sheets run."""

    max_retries: int = 3
    """Retries after the first try."""
    base_delay: float = 10.0
    """Seconds before the first retry."""
    max_delay: float = 3600.0
    """No delay of the score's backoff is longer, in seconds."""
    exponential_base: float = 2.0
    jitter: bool = True
    """Each delay is taken uniformly from 50 to 100 % of its length."""
    max_completion_attempts: int = 5
    completion_delay: float = 5.0
    """Seconds before an attempt that completes a partly passed one."""
    completion_threshold: float = 50.0
    """Percent of validations that must have passed for completion mode."""
    max_waits: int = 24
    """How often a sheet waits for the end of a rate limit before it fails."""
    limit_wait: float = 3600.0
    """Seconds to wait for the end of a rate limit that does not say when it ends."""
    max_concurrent: int = 1
    """Sheets of this run at once."""
    fail_fast: bool = False
    """After a failed sheet nothing new starts (already combined with `parallel.enabled`)."""
    stagger: float = 0.0
    """Seconds between two starts of this run."""
    pause_between: float = 0.0
    """Seconds after the last running sheet ended before the next one starts."""
    job_timeout: float | None = None
    """Seconds the run may take, time spent paused or queued not counted; None = no bound."""
    priority: int = 5
    """1 to 10; a higher number gets a larger share (see `lanes.weight_of`)."""


@dataclass(frozen=True, slots=True)
class SheetRecord:
    """What is remembered of a sheet: it is stored with every change and given back at a restart."""

    status: SheetStatus = SheetStatus.PENDING
    attempt: int = 0
    """Highest attempt number used; 0 before the first. What never ran, and a clean skip, give their
    numbers back."""
    retries_used: int = 0
    """Tries that failed and were followed by another."""
    completions_used: int = 0
    """Partly passed attempts that were followed by one in completion mode."""
    lost_in_row: int = 0
    """Attempts in a row whose end nobody knows."""
    waits_used: int = 0
    """Attempts that a rate limit stopped and that were followed by another."""
    not_before: float | None = None
    """The next attempt does not start before this time."""
    alive: bool = False
    """An attempt (`attempt`) is alive and holds its slot; at a restart: it is adopted."""
    blocked: bool = False
    """SKIPPED because something failed, not because the score said so."""
    reason: str = ""
    """One line for a person: why it is as it is."""
    mode: AttemptMode = AttemptMode.NORMAL
    """Mode of the living attempt, or of the next one."""

    @property
    def untried(self) -> bool:
        """Nothing of it was tried before the living, or the next, attempt: it may be skipped."""
        return not (
            self.retries_used or self.completions_used or self.lost_in_row or self.waits_used
        )


PRISTINE = SheetRecord()
"""The record of every sheet that nothing happened to yet."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the conductor allows over all runs."""

    max_concurrent_sheets: int = 25
    max_concurrent_jobs: int = 15
    instruments: Mapping[tuple[str, str | None], int | None] = field(default_factory=dict)
    """Sheets at once per (instrument, model); (instrument, None) bounds all models together that
    have no entry of their own; a value of None = unlimited."""
    default_instrument: int | None = 4
    """For an instrument without an entry; it does not count for raw instruments."""


# --- messages: in -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunAdded:
    """A run begins, or is taken over from an earlier conductor.

    To take over several runs without starting anything too early, send `HoldDispatch` first and
    lift it when all is told.
    """

    run_id: int
    job_id: str
    policy: RunPolicy
    tasks: Sequence[SheetTask]
    restored: Mapping[int, SheetRecord] | Records = field(default_factory=dict)
    """Records of an earlier conductor; sheets without one are untouched. `Records`, made beforehand
    (in a thread), spare the loop the work of a run of many sheets."""
    start_sheet: int | None = None
    """Sheets with a lower number are skipped, and count as done."""
    paused_by: str | None = None
    """The run was paused and stays so."""
    elapsed: float = 0.0
    """Seconds that count against `job_timeout` already (`RunView.elapsed`)."""
    last_start: float | None = None
    """When a sheet started last; `RunPolicy.stagger` counts from there."""
    last_end: float | None = None
    """When a sheet ended last; `RunPolicy.pause_between` counts from there."""
    ended: JobStatus | None = None
    """The run is over; it is loaded only so that `RetryRun` or `ResumeRun` can open it again."""
    closing: JobStatus | None = None
    """The run was being ended (CANCELLING) and has this status at its end; its living attempts are
    ordered to end (again)."""
    reason: str = ""
    """Why it was being ended."""
    graph: SheetGraph | None = None
    """`SheetGraph(tasks)`, if it was made beforehand (in a thread, for a large score). It serves the
    first registration; a run that is opened again after its end needs none either."""


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """The attempt's process exists, or its preparation has begun to count."""

    run_id: int
    num: int
    attempt: int
    deadline: float
    """When it must be over. Sent for adopted attempts too."""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The attempt is over and its processes are gone; sent exactly once for every `Launch`."""

    run_id: int
    num: int
    attempt: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class PauseRun:
    """Start nothing new of this run; running sheets go on."""

    run_id: int
    by: str
    """Who or what: "a person", "sheet 3 was lost three times"."""


@dataclass(frozen=True, slots=True)
class ResumeRun:
    """Go on; a failed or cancelled run is opened again as `RetryRun(run_id, None)` does."""

    run_id: int


@dataclass(frozen=True, slots=True)
class CancelRun:
    """End all trees of the run, then the run."""

    run_id: int
    reason: str = "cancelled"


@dataclass(frozen=True, slots=True)
class RetryRun:
    """Run sheets again, with fresh retry budgets.

    Without a number: all that failed, were blocked or cancelled. With one: that sheet and everything
    downstream of it. Sheets that run at the moment are left alone.
    """

    run_id: int
    sheet: int | None = None
    graph: SheetGraph | None = None
    """A fresh `SheetGraph` of the run's tasks, if it was made beforehand; only a run that goes on
    while its sheets are put back needs it."""


@dataclass(frozen=True, slots=True)
class RunForgotten:
    """The run is over and nobody asks for it any more; ignored while it is not over."""

    run_id: int


@dataclass(frozen=True, slots=True)
class HoldDispatch:
    """Start nothing at all (draining, full disk) until the same message comes with None."""

    wait: Wait | None


@dataclass(frozen=True, slots=True)
class LimitsChanged:
    """New limits; what runs above them goes on."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class ParkInstrument:
    """Start nothing on this instrument for a while; a later message replaces an earlier one."""

    instrument: str
    until: float | None = None
    """When it comes back by itself; None = with `UnparkInstrument`."""
    model: str | None = None
    """Only this model; None = the whole instrument."""
    reason: WaitReason = WaitReason.RATE_LIMIT
    """What views show: RATE_LIMIT, BREAKER, PRESSURE or BUDGET."""


@dataclass(frozen=True, slots=True)
class UnparkInstrument:
    """The instrument may be used again; None = all of them."""

    instrument: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: `Baton.next_wake` is due."""


Message = (
    RunAdded
    | AttemptStarted
    | AttemptEnded
    | PauseRun
    | ResumeRun
    | CancelRun
    | RetryRun
    | RunForgotten
    | HoldDispatch
    | LimitsChanged
    | ParkInstrument
    | UnparkInstrument
    | Tick
)


# --- effects: out -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Launch:
    """Start this attempt now. Its slot is taken until `AttemptEnded`."""

    run_id: int
    num: int
    attempt: int
    mode: AttemptMode


@dataclass(frozen=True, slots=True)
class Kill:
    """End the attempt's tree; then report it with `AttemptEnded`. Ordered once per attempt."""

    run_id: int
    num: int
    attempt: int
    ended: Ended
    """What the attempt's outcome shall say: TIMEOUT or CANCELLED."""
    reason: str


@dataclass(frozen=True, slots=True)
class SheetChanged:
    """Remember and show the sheet as `record` says."""

    run_id: int
    num: int
    record: SheetRecord
    reason: str = ""
    """Same as `record.reason`, for the event line."""
    until: float | None = None
    """Same as `record.not_before`: when something happens by itself."""


@dataclass(frozen=True, slots=True)
class SheetsChanged:
    """Remember and show all these sheets as `record` says.

    Comes for many sheets at once that have nothing of their own (no attempt, nothing used), before
    and after. Few are told one by one, with `SheetChanged`.
    """

    run_id: int
    blocks: tuple[range, ...]
    """Their numbers, lowest first."""
    record: SheetRecord


@dataclass(frozen=True, slots=True)
class RunChanged:
    """Remember and show the run as it now is. A terminal status is the last effect of a run."""

    run_id: int
    status: JobStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InstrumentParked:
    """A rate limit was met: nothing starts on this instrument (and model) before a time.

    To be remembered: a later conductor must be told with `ParkInstrument`.
    """

    run_id: int
    """The run and the sheet that met it."""
    num: int
    instrument: str
    model: str | None
    """Only this model; None = the whole instrument."""
    until: float
    by_clock: bool
    """As in `model.outcome.Limit`: when the wall clock is set anew, the time moves with it."""
    reason: str
    """What the service said, one line."""


Effect = Launch | Kill | SheetChanged | SheetsChanged | RunChanged | InstrumentParked
