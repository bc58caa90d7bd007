"""`mzt errors JOB`: every attempt that was not good enough, and what its validations said."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from marianne_core.model.errors import InputError
from marianne_core.model.outcome import Ended
from marianne_core.model.runs import JobRef
from marianne_core.model.states import SheetStatus
from marianne_core.remember.queries import Reader, open_reader
from marianne_core.remember.rows import AttemptRow, SheetRow, ValidationRow
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import JOB, json_option, sheet_option
from marianne_tui.cli.reading import check_sheet, find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import ascii_only, clock_time, counted, glyph, paint, wants_colour

_CODE = re.compile(r"E\d{3}")
_GOOD = (Ended.OK, Ended.SKIPPED, Ended.NEVER_RAN)


class Finding(NamedTuple):
    """One attempt that did not complete its sheet."""

    sheet: SheetRow
    attempt: AttemptRow
    validations: list[ValidationRow]
    """Those that did not pass."""

    @property
    def final(self) -> bool:
        """True for the last attempt of a sheet that failed."""
        return (
            self.sheet.status == SheetStatus.FAILED and self.attempt.attempt == self.sheet.attempts
        )


@click.command("errors", help="What went wrong in a job: attempts, validations, what to do.")
@click.argument("job", type=JOB)
@sheet_option("Only this sheet.")
@click.option("-c", "--code", help="Only this error code, for example E001.")
@click.option(
    "--final", is_flag=True, help="Only what made a sheet fail, not what a retry repaired."
)
@json_option
def command(job: JobRef, sheet: int | None, code: str | None, final: bool, as_json: bool) -> None:
    """Show findings in order of sheet and attempt, then the sheets that were blocked."""
    if code is not None and not _CODE.fullmatch(code := code.upper()):
        raise InputError(f"{code!r} is no error code", hint="codes look like E001")
    with open_reader(find_home()) as reader, reader.snapshot():
        run = reader.get_run(job)
        check_sheet(run, sheet)
        sheets = reader.sheets(run.run_id)
        findings = [
            finding
            for finding in _findings(reader, run.run_id, sheets, sheet)
            if (code is None or finding.attempt.code == code) and (finding.final or not final)
        ]
    blocked = [s for s in sheets if s.blocked and sheet in (None, s.num) and code is None]
    if as_json:
        print_json(
            {
                "job_id": run.job_id,
                "run": run.run,
                "status": str(run.status),
                "reason": run.reason,
                "errors": [_as_dict(finding) for finding in findings],
                "blocked": [{"sheet": s.num, "reason": s.reason} for s in blocked],
            }
        )
        return
    name = one_line(f"{run.job_id}#{run.run}")
    reason = f": {one_line(run.reason)}" if run.reason else ""
    click.echo(f"{name} {run.status}{reason}")
    for finding in findings:
        click.echo("\n".join(_lines(finding)))
    for skipped in blocked:
        mark = glyph(skipped.status, ascii_only=ascii_only(sys.stdout))
        click.echo(f"  {mark} sheet {skipped.num}: {one_line(skipped.reason)}")
    if not findings and not blocked:
        click.echo("  no errors")


def _findings(
    reader: Reader, run_id: int, sheets: list[SheetRow], only: int | None
) -> Iterator[Finding]:
    by_number = {sheet.num: sheet for sheet in sheets}
    for attempt in reader.attempts(run_id, only):
        if attempt.ended is None or attempt.num not in by_number:
            continue
        bad_rate = attempt.pass_rate is not None and attempt.pass_rate < 100
        if attempt.ended in _GOOD and not bad_rate:
            continue
        results = reader.validations(run_id, attempt.num, attempt.attempt)
        failed = [result for result in results if not result.passed]
        yield Finding(by_number[attempt.num], attempt, failed)


def _as_dict(finding: Finding) -> dict[str, Any]:
    attempt = finding.attempt
    return {
        "sheet": attempt.num,
        "attempt": attempt.attempt,
        "mode": str(attempt.mode),
        "instrument": attempt.instrument,
        "ended": attempt.ended,
        "code": attempt.code,
        "reason": attempt.reason,
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "finished_at": attempt.finished_at,
        "pass_rate": attempt.pass_rate,
        "final": finding.final,
        "validations": [
            {
                "rule": result.rule,
                "type": result.rule_type,
                "description": result.description,
                "path": result.path,
                "expected": result.expected,
                "actual": result.actual,
                "reason": result.reason,
                "category": result.category,
                "suggested_fix": result.suggested_fix,
            }
            for result in finding.validations
        ],
    }


def _lines(finding: Finding) -> list[str]:
    attempt = finding.attempt
    plain, colour = ascii_only(sys.stdout), wants_colour(sys.stdout)
    state = "failed" if finding.final else "retry_scheduled"
    mark = paint(glyph(state, ascii_only=plain), "red" if finding.final else "magenta", colour)
    parts = [f"sheet {attempt.num} attempt {attempt.attempt}", clock_time(attempt.finished_at)]
    if attempt.code:
        parts.append(one_line(attempt.code))
    head = f"  {mark} {' '.join(part for part in parts if part)}: {one_line(attempt.reason) or attempt.ended}"
    lines = [head]
    for result in finding.validations:
        what = result.description or f"{result.rule_type} {result.path or result.command or ''}"
        lines.append(f"      {one_line(what)}: {one_line(result.reason) or 'did not pass'}")
        if result.expected:
            lines.append(f"        expected {one_line(result.expected, 200)}")
        if result.actual:
            lines.append(f"        found    {one_line(result.actual, 200)}")
        if result.suggested_fix:
            lines.append(f"        hint: {one_line(result.suggested_fix)}")
    if finding.final:
        lines.append(f"      given up after {counted(attempt.attempt, 'attempt')}")
    return lines
