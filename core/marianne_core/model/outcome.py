"""How an attempt ended, and what the validations said: facts that `run/` reports to `decide/`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Ended(StrEnum):
    """The ways an attempt can end."""

    OK = "ok"
    """The instrument succeeded; `pass_rate` says how the validations went."""
    FAILED = "failed"
    """The instrument failed, was killed by a signal, or could not be started."""
    TIMEOUT = "timeout"
    """It ran longer than the sheet's timeout; its tree was ended (E001)."""
    CANCELLED = "cancelled"
    """A person, or the end of its job, ended it."""
    SKIPPED = "skipped"
    """`skip_when` or `skip_when_command` said so before anything was started."""
    LOST = "lost"
    """Nobody knows how it ended (its shim or the machine died), or what it had to say (the disk was
    full); not the sheet's fault."""
    NEVER_RAN = "never_ran"
    """Recovery proved that it was never started; it counts for nothing."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A service refuses an instrument and model for a while: it is used up, or asked too often."""

    seconds: float | None = None
    """Until it may be asked again, from when it is told; None = the service does not say."""
    by_clock: bool = False
    """A date or a time of day was told, and not a duration: it moves with the wall clock."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt."""

    ended: Ended
    pass_rate: float = 100.0
    """Validations passed, percent of all that apply to the sheet (100 if there are none)."""
    code: str | None = None
    """Error code of the field reference, section 4.5, e.g. "E001"; None for a success."""
    reason: str = ""
    """One line for a person: what happened."""
    retriable: bool = True
    """False: another attempt cannot help (program not found, template broken, ...)."""
    min_delay: float = 0.0
    """Seconds that must pass before another attempt, whatever the score's backoff says."""
    exit_code: int | None = None
    signal: int | None = None
    """Signal number when the shim reported 128+n."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    limit: Limit | None = None
    """It failed because a rate limit refused it, which is no fault of the sheet."""


class FailureCategory(StrEnum):
    """Why a validation did not pass (field reference, section 5)."""

    MISSING = "missing"
    STALE = "stale"
    INCOMPLETE = "incomplete"
    MALFORMED = "malformed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """What one rule said about one attempt."""

    rule: int
    """Position of the rule in the score's `validations`, from 0."""
    rule_type: str
    description: str
    passed: bool
    stage: int = 1
    path: str | None = None
    """Absolute path that was looked at, or None."""
    pattern: str | None = None
    command: str | None = None
    expected: str = ""
    actual: str = ""
    reason: str = ""
    """Why it failed, one line; "" when it passed."""
    category: FailureCategory | None = None
    suggested_fix: str = ""
    tries: int = 1
    """How often the rule was looked at (retry_count)."""
    duration: float = 0.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All results of one attempt's validations."""

    results: tuple[ValidationResult, ...] = field(default=())

    @property
    def pass_rate(self) -> float:
        """Percent of rules that passed; 100 when no rule applies."""
        if not self.results:
            return 100.0
        return 100.0 * sum(r.passed for r in self.results) / len(self.results)

    @property
    def failed(self) -> tuple[ValidationResult, ...]:
        """The results that did not pass, in order."""
        return tuple(r for r in self.results if not r.passed)
