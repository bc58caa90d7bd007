"""A stored validation report, as the rooms that decide and prompt know it."""

from __future__ import annotations

from marianne_core.model.outcome import FailureCategory, ValidationReport, ValidationResult
from marianne_core.remember.queries import Reader
from marianne_core.remember.rows import ValidationRow


def validation_report(reader: Reader, run_id: int, num: int, attempt: int) -> ValidationReport:
    """What the validations of an attempt said; empty when it had none or never got to them."""
    rows = reader.validations(run_id, num, attempt)
    return ValidationReport(tuple(_result(row) for row in rows))


def _result(row: ValidationRow) -> ValidationResult:
    category = None if row.category is None else FailureCategory(row.category)
    return ValidationResult(**row._replace(category=category)._asdict())
