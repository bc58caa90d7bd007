"""The words after a prompt when part of the work is done already (completion mode).

Field reference, section 2.7, with the details of every rule.
"""

from __future__ import annotations

from marianne_core.model.outcome import FailureCategory, ValidationReport, ValidationResult

MAX_TEXT = 500
"""Characters of one expected or actual value that are quoted."""


def completion(report: ValidationReport) -> str:
    """What passed, what did not and how to mend it; empty when there is nothing to say."""
    if not report.results:
        return ""
    failed = report.failed
    passed = [result for result in report.results if result.passed]
    lines = [
        "---",
        "",
        "## Finish what is begun",
        "",
        f"An earlier attempt passed {len(passed)} of {len(report.results)} checks "
        f"({report.pass_rate:.0f} %). Its work is in the workspace. Keep what passed, and do the "
        "rest; do not begin again.",
    ]
    if passed:
        lines += ["", "Passed, leave as it is:"]
        lines += [f"- {result.description or result.rule_type}" for result in passed]
    if failed:
        lines += ["", "Not passed:"]
        for place, result in enumerate(failed, 1):
            lines += _details(place, result)
    return "\n".join(lines)


def _details(place: int, result: ValidationResult) -> list[str]:
    lines = [f"{place}. {result.description or result.rule_type}"]
    if result.category is FailureCategory.SKIPPED:
        lines.append("   Not looked at yet: an earlier stage of checks did not pass.")
        return lines
    for label, text in (
        ("Expected", result.expected),
        ("Found", result.actual),
        ("Why", result.reason),
        ("To mend it", result.suggested_fix),
    ):
        if text:
            lines.append(f"   {label}: {_cut(text)}")
    return lines


def _cut(text: str) -> str:
    line = text.strip().replace("\n", "\n   ")
    return line if len(line) <= MAX_TEXT else line[:MAX_TEXT].rstrip() + "…"
