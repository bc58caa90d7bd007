"""States of sheets and jobs, with the strings that files and the protocol carry."""

from __future__ import annotations

from enum import StrEnum


class SheetStatus(StrEnum):
    """Where a sheet stands. The eleven values are those of the existing protocol."""

    PENDING = "pending"
    """Not started; a `Wait` says why."""
    READY = "ready"
    """Kept for files and clients that name it; our sheets go from pending to in_progress."""
    DISPATCHED = "dispatched"
    """Kept like `READY`."""
    IN_PROGRESS = "in_progress"
    """An attempt is alive: preparing, running, or being validated."""
    WAITING = "waiting"
    """Parked by a rate limit."""
    RETRY_SCHEDULED = "retry_scheduled"
    """The last attempt was not good enough; another follows at a known time."""
    FERMATA = "fermata"
    """Waits for a person."""
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """True when nothing more will happen to the sheet by itself."""
        return self in _SHEET_TERMINAL


_SHEET_TERMINAL = frozenset(
    {SheetStatus.COMPLETED, SheetStatus.FAILED, SheetStatus.SKIPPED, SheetStatus.CANCELLED}
)


class JobStatus(StrEnum):
    """Where a run of a job stands."""

    QUEUED = "queued"
    """Accepted, and waits for one of the conductor's job slots."""
    PENDING = "pending"
    """Kept for clients that name it."""
    RUNNING = "running"
    PAUSING = "pausing"
    """No new sheet starts; running ones end first."""
    PAUSED = "paused"
    PAUSED_AT_CHAIN = "paused_at_chain"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLING = "cancelling"
    """The trees of its sheets are being ended."""
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """True when the run is over."""
        return self in _JOB_TERMINAL

    @property
    def active(self) -> bool:
        """True while the conductor works on the run or will by itself."""
        return self in _JOB_ACTIVE


_JOB_TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
_JOB_ACTIVE = frozenset(
    {
        JobStatus.QUEUED,
        JobStatus.PENDING,
        JobStatus.RUNNING,
        JobStatus.PAUSING,
        JobStatus.CANCELLING,
    }
)


class AttemptMode(StrEnum):
    """What an attempt is for."""

    NORMAL = "normal"
    COMPLETION = "completion"
    """The last attempt passed part of its validations: finish the rest."""
