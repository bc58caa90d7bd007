"""The words between the scheduler and whoever asks it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum


class SheetEnd(StrEnum):
    """How a reported sheet stands, as far as others depend on it."""

    DONE = "done"
    SKIPPED = "skipped"
    """Cleanly: dependents run as if it were done."""
    FAILED = "failed"
    """Dependents never run."""
    RETRY = "retry"
    """It comes back, at once or at a given time."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A sheet that has a slot now."""

    job: Hashable
    num: int
    generation: int
    """Of the job's registration; a report may name it."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Sheets that will never run, and the sheet that really failed."""

    sheets: range
    """Consecutive numbers."""
    by: int
