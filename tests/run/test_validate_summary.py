from __future__ import annotations

from typing import Any

import pytest

from marianne_core.model.outcome import (
    Ended,
    FailureCategory,
    Outcome,
    ValidationReport,
    ValidationResult,
)
from marianne_core.run.validate.summary import with_report

OK = Outcome(Ended.OK, exit_code=0, input_tokens=3)


def _result(passed: bool, kind: str = "file_exists", **fields: Any) -> ValidationResult:
    return ValidationResult(0, kind, "", passed, **fields)


def test_a_full_pass_changes_nothing() -> None:
    assert with_report(OK, ValidationReport()) == OK
    assert with_report(OK, ValidationReport((_result(True),))) == OK


def test_failures_are_counted_and_the_first_is_told() -> None:
    report = ValidationReport(
        (
            _result(False, reason="skipped", category=FailureCategory.SKIPPED),
            _result(False, "content_contains", reason="no title", path="/f"),
            _result(True),
            _result(True),
        )
    )
    outcome = with_report(OK, report)
    assert outcome.ended is Ended.OK
    assert (outcome.pass_rate, outcome.code) == (50.0, "E202")
    assert outcome.reason == "2 of 4 validations failed: no title"
    assert outcome.input_tokens == 3


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (_result(False, path="/f", category=FailureCategory.MISSING), "E201"),
        (
            _result(False, "content_regex", path="/f", category=FailureCategory.MISSING),
            "E201",
        ),
        (_result(False, "content_regex", path="/f", category=FailureCategory.ERROR), "E209"),
        (
            _result(False, "command_succeeds", command="x", category=FailureCategory.INCOMPLETE),
            "E203",
        ),
    ],
)
def test_codes(result: ValidationResult, code: str) -> None:
    assert with_report(OK, ValidationReport((result,))).code == code
