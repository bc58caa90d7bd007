"""One finding about a file that a person wrote."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem is. Only an error refuses a run."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and what to do about it."""

    severity: Severity
    code: str
    """V-code of the field reference, section 8.3, or one of ours."""
    message: str
    file: str = ""
    line: int | None = None
    """From 1."""
    column: int | None = None
    """From 1."""
    hint: str = ""

    @property
    def where(self) -> str:
        """`file:line:column`, as far as it is known."""
        parts = [self.file] if self.file else []
        parts += [str(n) for n in (self.line, self.column) if n is not None]
        return ":".join(parts)
