"""What a report means for its attempt: one code and one line."""

from __future__ import annotations

from dataclasses import replace

from marianne_core.model.outcome import (
    FailureCategory,
    Outcome,
    ValidationReport,
    ValidationResult,
)
from marianne_core.run.instrument.tails import one_line

_CODES = {
    "file_exists": "E201",
    "file_modified": "E201",
    "content_contains": "E202",
    "content_regex": "E202",
    "command_succeeds": "E203",
}


def with_report(outcome: Outcome, report: ValidationReport) -> Outcome:
    """The outcome of an attempt that succeeded, after its validations.

    The code is that of the first failure (field reference, section 4.5); the reason counts the
    failures and tells the first.
    """
    failed = [r for r in report.failed if r.category is not FailureCategory.SKIPPED]
    if not failed:
        return replace(outcome, pass_rate=report.pass_rate)
    total, bad = len(report.results), len(report.failed)
    reason = f"{bad} of {total} validations failed: {failed[0].reason}"
    return replace(
        outcome, pass_rate=report.pass_rate, code=code_of(failed[0]), reason=one_line(reason, 400)
    )


def code_of(result: ValidationResult) -> str:
    """The error code of a failed validation."""
    if result.category is FailureCategory.MISSING and result.path is not None:
        return "E201"
    if result.category is FailureCategory.ERROR:
        return "E209" if result.command is None else "E203"
    return _CODES.get(result.rule_type, "E209")
