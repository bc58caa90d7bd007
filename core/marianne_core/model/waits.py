"""Why a sheet or a job waits, and for how long: one type for every view."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WaitReason(StrEnum):
    """What stands between a sheet and its start."""

    DEPENDENCY = "dependency"
    SLOT = "slot"
    """All sheet slots of the conductor are taken."""
    JOB_SLOT = "job_slot"
    """The score allows no more sheets at once (`parallel`)."""
    INSTRUMENT_SLOT = "instrument_slot"
    """The instrument (and model) allows no more sheets at once."""
    QUEUED = "queued"
    """All job slots of the conductor are taken."""
    RETRY = "retry"
    STAGGER = "stagger"
    PACING = "pacing"
    RATE_LIMIT = "rate_limit"
    PRESSURE = "pressure"
    BUDGET = "budget"
    BREAKER = "breaker"
    PAUSED = "paused"
    DRAINING = "draining"
    """The conductor starts no new sheets because it is about to leave."""
    DISK = "disk"
    """The store, or a run's directory, cannot be written; nothing new starts until it can."""
    HELD = "held"
    """The attempt's lock is held by a process this conductor cannot see."""


_WORDS = {
    WaitReason.DEPENDENCY: "waits for {blocker}",
    WaitReason.SLOT: "waits for a free sheet slot ({blocker})",
    WaitReason.JOB_SLOT: "waits: the score runs at most {blocker} at once",
    WaitReason.INSTRUMENT_SLOT: "waits for a free slot of {blocker}",
    WaitReason.QUEUED: "waits for a free job slot ({blocker})",
    WaitReason.RETRY: "retry after {blocker}",
    WaitReason.STAGGER: "staggered start",
    WaitReason.PACING: "pause between sheets",
    WaitReason.RATE_LIMIT: "parked by a rate limit of {blocker}",
    WaitReason.PRESSURE: "held back by pressure: {blocker}",
    WaitReason.BUDGET: "held back by the budget: {blocker}",
    WaitReason.BREAKER: "the circuit breaker of {blocker} is open",
    WaitReason.PAUSED: "paused by {blocker}",
    WaitReason.DRAINING: "the conductor is draining",
    WaitReason.DISK: "the disk cannot be written: {blocker}",
    WaitReason.HELD: "held by a process this conductor cannot see ({blocker})",
}


@dataclass(frozen=True, slots=True)
class Wait:
    """One reason why something does not run now."""

    reason: WaitReason
    until: float | None = None
    """When it ends by itself, in seconds of the clock that `decide/` was given; None = on an event."""
    blocker: str = ""
    """What it waits for, in words: "sheet 3", "claude-code", "2 of 2"."""

    def words(self, now: float | None = None) -> str:
        """One line for a person; with `now` (same clock as `until`) it names the seconds left."""
        blocker = self.blocker or "something"
        left = None
        if self.until is not None and now is not None:
            left = f"{max(0.0, self.until - now):.0f} s"
        if left is not None and self.reason is WaitReason.RETRY:
            # What failed can be told at length; what changes comes first, where it is seen.
            return f"retry in {left} after {blocker}"
        text = _WORDS[self.reason].format(blocker=blocker)
        return text if left is None else f"{text}, {left} left"
