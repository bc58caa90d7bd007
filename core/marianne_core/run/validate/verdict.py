"""What one look at one rule found, before it is filed as a result."""

from __future__ import annotations

from dataclasses import dataclass

from marianne_core.model.outcome import FailureCategory


@dataclass(frozen=True, slots=True)
class Verdict:
    """One look at one rule."""

    passed: bool
    expected: str
    """What should be, in words."""
    actual: str
    """What is, in words."""
    reason: str = ""
    """Why it did not pass, one line."""
    category: FailureCategory | None = None
    fix: str = ""
    """What to do about it."""
    final: bool = False
    """True: looking again would find the same (a time limit was used up)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a file cannot be looked at."""

    actual: str
    reason: str
    category: FailureCategory
    fix: str

    def verdict(self, expected: str, *, final: bool = False) -> Verdict:
        """The verdict on a rule that needs the file."""
        return Verdict(False, expected, self.actual, self.reason, self.category, self.fix, final)
