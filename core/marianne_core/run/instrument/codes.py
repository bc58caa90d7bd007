"""Error codes: their words, and whether another try can help (field reference, section 4.5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code."""

    code: str
    meaning: str
    retriable: bool
    delay: float
    """Seconds that the table names before another try."""

    @property
    def min_delay(self) -> float:
        """Seconds that must pass whatever the score says.

        The score's own backoff decides; only the codes that tell of somebody else's limits or of
        the net (E1xx, E9xx) are a minimum (DESIGN, section 9).
        """
        return self.delay if self.code[1] in "19" else 0.0


_TABLE = (
    ErrorCode("E001", "execution timeout", True, 60),
    ErrorCode("E002", "killed", True, 30),
    ErrorCode("E003", "crashed", False, 0),
    ErrorCode("E004", "interrupted", False, 0),
    ErrorCode("E005", "out of memory", False, 0),
    ErrorCode("E006", "stale", True, 120),
    ErrorCode("E009", "execution failed", True, 10),
    ErrorCode("E101", "API rate limit", True, 3600),
    ErrorCode("E102", "rate limit", True, 900),
    ErrorCode("E103", "no capacity", True, 300),
    ErrorCode("E104", "quota exhausted", True, 3600),
    ErrorCode("E201", "a file is missing", True, 5),
    ErrorCode("E202", "a file's content does not match", True, 5),
    ErrorCode("E203", "a validation command failed", True, 10),
    ErrorCode("E204", "a validation took too long", True, 30),
    ErrorCode("E209", "a validation failed", True, 5),
    ErrorCode("E301", "configuration invalid", False, 0),
    ErrorCode("E302", "configuration missing", False, 0),
    ErrorCode("E303", "configuration path wrong", False, 0),
    ErrorCode("E304", "configuration unreadable", False, 0),
    ErrorCode("E305", "MCP configuration wrong", False, 0),
    ErrorCode("E306", "command-line mode wrong", False, 0),
    ErrorCode("E401", "state corrupt", False, 0),
    ErrorCode("E402", "state could not be loaded", True, 5),
    ErrorCode("E403", "state could not be saved", True, 5),
    ErrorCode("E404", "state of another version", False, 0),
    ErrorCode("E501", "instrument unreachable", True, 30),
    ErrorCode("E502", "instrument refused the credentials", False, 0),
    ErrorCode("E503", "instrument answered nonsense", True, 15),
    ErrorCode("E504", "instrument answered too late", True, 60),
    ErrorCode("E505", "instrument not found", False, 0),
    ErrorCode("E601", "a path is wrong", False, 0),
    ErrorCode("E602", "the prompt is too large", False, 0),
    ErrorCode("E603", "the working directory is gone", False, 0),
    ErrorCode("E604", "the validations cannot be set up", False, 0),
    ErrorCode("E901", "connection failed", True, 30),
    ErrorCode("E902", "name look-up failed", True, 30),
    ErrorCode("E903", "secure connection failed", True, 30),
    ErrorCode("E904", "network timeout", True, 60),
    ErrorCode("E999", "unknown", True, 30),
)

CODES = {code.code: code for code in _TABLE}
"""Every code by its name. E104's delay holds where no time of reset is known."""
