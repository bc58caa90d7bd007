"""What a sheet must have made to count as done."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from marianne_core.config.base import BrokenRule, SheetNumber, Strict, broken_rules
from marianne_core.config.patterns import pattern_error

_NEEDS = {
    "file_exists": ("path",),
    "file_modified": ("path",),
    "content_contains": ("path", "pattern"),
    "content_regex": ("path", "pattern"),
    "command_succeeds": ("command",),
}


class ValidationRule(Strict):
    """One thing that is looked at after a sheet ran."""

    type: Literal[
        "file_exists", "file_modified", "content_contains", "content_regex", "command_succeeds"
    ]
    """What is checked: a file exists, was modified by the sheet, contains a text, matches a
    regular expression, or a command ends with status 0."""
    path: str | None = None
    """File to look at, relative to the workspace; `{workspace}` and other names are replaced."""
    pattern: str | None = None
    """Text to find (`content_contains`) or regular expression to match (`content_regex`)."""
    description: str | None = None
    """What the rule is for, shown in results and in the prompt."""
    command: str | None = None
    """Command for bash; status 0 passes. `{workspace}` and other names are replaced, quoted."""
    working_directory: str | None = None
    """Directory the command runs in, relative to the workspace; else the workspace."""
    stage: int = Field(1, ge=1, le=10)
    """Rules run stage by stage; the first stage that fails stops the later ones."""
    condition: str | None = None
    """Sheets the rule is for: an expression such as `stage == 2 and instance == 1`."""
    sheet: SheetNumber | None = None
    """The one sheet the rule is for; short for `condition: sheet_num == N`."""
    retry_count: int = Field(3, ge=0, le=10)
    """How many times a rule that failed is looked at again."""
    retry_delay_ms: int = Field(200, ge=0, le=5000)
    """Milliseconds between two looks."""
    timeout_seconds: float | None = Field(None, gt=0)
    """Seconds after which a command is ended and the rule fails; 3600 when not given."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> ValidationRule:
        rules = [
            BrokenRule(f"a {self.type} rule needs `{name}`", code="V008")
            for name in _NEEDS[self.type]
            if getattr(self, name) is None
        ]
        if self.type == "content_regex" and self.pattern is not None:
            error = pattern_error(self.pattern)
            if error:
                rules.append(
                    BrokenRule(f"the pattern does not compile: {error}", ("pattern",), "V007")
                )
        if rules:
            raise broken_rules(rules)
        return self
