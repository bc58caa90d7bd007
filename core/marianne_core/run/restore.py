"""From the store and the process table back to a working engine: the one way a conductor starts.

Every unfinished run is planned again from the text it was submitted with, every unfinished attempt
is looked at by the recovery table (design, section 4), and goes on where it stands.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from marianne_core.config.load import Score, score_from_text
from marianne_core.config.profiles import Profiles
from marianne_core.decide.messages import SheetRecord
from marianne_core.model.clock import Clock
from marianne_core.model.errors import MztError
from marianne_core.model.outcome import Ended, Outcome, ValidationReport
from marianne_core.model.states import AttemptMode, SheetStatus
from marianne_core.plan.build import build_plan
from marianne_core.plan.rules import rules_for
from marianne_core.remember.home import Home
from marianne_core.remember.queries import Reader, open_reader
from marianne_core.remember.reports import validation_report
from marianne_core.remember.rows import AttemptRow, RunRow, SheetRow, Submission
from marianne_core.run.active import ActiveRun, LastAttempt, Playing
from marianne_core.run.attempt_files import AttemptFiles
from marianne_core.run.musician import Musician
from marianne_core.run.recovery import (
    Adopt,
    AttemptRecord,
    Exited,
    Finding,
    HeldByStranger,
    MustEnd,
    OtherBoot,
    examine_all,
)
from marianne_core.run.validate.baseline import Baseline

Part = Callable[[Playing], Awaitable[Outcome]]
"""What is left to do of an attempt."""


@dataclass(frozen=True, slots=True)
class RestoredRun:
    """A run as it was left."""

    run: ActiveRun
    row: RunRow
    records: dict[int, SheetRecord]
    options: Mapping[str, object]
    open_attempts: tuple[AttemptRow, ...]
    """At most one a sheet: attempts whose end nobody has written down."""
    unused: tuple[AttemptRow, ...]
    """Intents of sheets that are over, which were never needed."""
    corrected: set[int]
    """Sheets that the store shows in progress, and that are not."""

    def started(self, row: AttemptRow) -> None:
        """An open attempt was started, perhaps after the last that the store says of its sheet."""
        record = self.records[row.num]
        if record.status is not SheetStatus.IN_PROGRESS:
            self.corrected.add(row.num)
            self.records[row.num] = replace(record, status=SheetStatus.IN_PROGRESS, not_before=None)

    def never_ran(self, row: AttemptRow) -> None:
        """An open attempt was never started: its sheet is as it was before, nothing counted."""
        record = self.records[row.num]
        status = record.status
        if status is SheetStatus.IN_PROGRESS:
            status = SheetStatus.PENDING
            self.corrected.add(row.num)
        self.records[row.num] = replace(
            record, status=status, attempt=row.attempt - 1, alive=False, reason=""
        )
        self.run.remember(row.num, status, row.attempt - 1)


def restore_run(
    row: RunRow,
    submission: Submission,
    sheets: list[SheetRow],
    open_attempts: list[AttemptRow],
    *,
    reader: Reader,
    profiles: Profiles,
    thinking_method: str | None,
    runs_dir: Path,
    clock: Clock,
) -> RestoredRun:
    """Plan a stored run again and put its sheets where they stood.

    Raises InputError when its score is not understood any more (a newer version is stricter, an
    instrument's profile is gone).
    """
    score = _as_submitted(submission, row)
    plan = build_plan(
        score,
        profiles,
        workspace=Path(row.workspace),
        variables=submission.variables,
        thinking_method=thinking_method,
    )
    run = ActiveRun(
        row.run_id, row.job_id, row.run, plan, runs_dir / str(row.run_id), row.status, row.reason
    )
    last_open = {attempt.num: attempt for attempt in open_attempts}
    records = {}
    corrected = set()
    for sheet in sheets:
        record = _record(sheet, last_open.get(sheet.num), clock)
        if record is not None:
            records[sheet.num] = record
            run.remember(sheet.num, record.status, record.attempt)
            if sheet.status is SheetStatus.IN_PROGRESS and not record.alive:
                corrected.add(sheet.num)
    if score.config.sheet.skip_when:
        for attempt in reader.attempts(row.run_id):
            rate = 0.0 if attempt.pass_rate is None else attempt.pass_rate
            run.lasts[attempt.num] = LastAttempt(attempt.attempt, attempt.exit_code, rate)
    for num, record in records.items():
        if record.mode is AttemptMode.COMPLETION and not record.status.terminal:
            run.reports[num] = _last_report(reader, row.run_id, num, record)
    alive = tuple(a for num, a in last_open.items() if records[num].alive)
    unused = tuple(a for num, a in last_open.items() if not records[num].alive)
    return RestoredRun(run, row, records, submission.options, alive, unused, corrected)


def _as_submitted(submission: Submission, row: RunRow) -> Score:
    """The score as it was, its template file included, which may be gone or changed by now."""
    score = score_from_text(submission.score, Path(row.score_path))
    template = submission.options.get("template")
    if not isinstance(template, str):
        return score
    prompt = score.config.prompt.model_copy(update={"template": template, "template_file": None})
    return replace(score, config=score.config.model_copy(update={"prompt": prompt}))


@dataclass(frozen=True, slots=True)
class NotRestored:
    """A run that cannot be planned any more, and why."""

    row: RunRow
    error: MztError
    ended: tuple[SheetRow, ...] = ()
    """Sheets that the store shows in progress, though nothing of them runs any more."""


def read_unfinished(home: Home, **how: Any) -> list[RestoredRun | NotRestored]:
    """All runs that are not over, oldest first. Reads and plans: call it in a thread.

    `how` is what `restore_run` needs besides the rows.
    """
    with open_reader(home) as reader:
        return [
            _restored_or_not(u.run, u.submission, u.sheets, u.open_attempts, reader, how)
            for u in reader.unfinished_runs()
        ]


def read_run(home: Home, row: RunRow, **how: Any) -> RestoredRun:
    """One stored run, over or not. Raises as `restore_run`; call it in a thread."""
    with open_reader(home) as reader:
        submission = reader.submission(row.run_id) or Submission("", {}, {}, None, None)
        open_attempts = reader.open_attempts(row.run_id)
        sheets = reader.sheets(row.run_id)
        return restore_run(row, submission, sheets, open_attempts, reader=reader, **how)


def _restored_or_not(
    row: RunRow,
    submission: Submission,
    sheets: list[SheetRow],
    open_attempts: list[AttemptRow],
    reader: Reader,
    how: Mapping[str, Any],
) -> RestoredRun | NotRestored:
    try:
        return restore_run(row, submission, sheets, open_attempts, reader=reader, **how)
    except MztError as error:
        run_dir = how["runs_dir"] / str(row.run_id)
        records = {a.num: _attempt_record(run_dir, a) for a in open_attempts}
        found = examine_all(records.values())
        alive = {
            num
            for num, record in records.items()
            if isinstance(found[record.token], Adopt | HeldByStranger)
        }
        ended = [s for s in sheets if s.status is SheetStatus.IN_PROGRESS and s.num not in alive]
        return NotRestored(row, error, tuple(ended))


def _record(sheet: SheetRow, attempt: AttemptRow | None, clock: Clock) -> SheetRecord | None:
    """What the baton shall know of a sheet; None for one that nothing happened to yet."""
    if sheet.status is SheetStatus.PENDING and attempt is None and not sheet.attempts:
        return None
    alive = attempt is not None and not sheet.status.terminal
    status = sheet.status
    if status is SheetStatus.IN_PROGRESS and not alive:
        # Launched, but its intent was never committed: nothing was started.
        status = SheetStatus.PENDING
    not_before = None
    if sheet.not_before is not None:
        not_before = clock.now() + sheet.not_before - clock.wall()
    return SheetRecord(
        status=status,
        attempt=max(sheet.attempts, attempt.attempt if attempt else 0),
        retries_used=sheet.retries_used,
        completions_used=sheet.completions_used,
        lost_in_row=sheet.lost_in_row,
        not_before=not_before,
        alive=alive,
        blocked=sheet.blocked,
        reason=sheet.reason,
        mode=sheet.mode,
    )


def _last_report(reader: Reader, run_id: int, num: int, record: SheetRecord) -> ValidationReport:
    """What the validations said that the next attempt in completion mode shall mend."""
    for attempt in range(record.attempt, 0, -1):
        if (report := validation_report(reader, run_id, num, attempt)).results:
            return report
    return ValidationReport()


def _attempt_record(run_dir: Path, attempt: AttemptRow) -> AttemptRecord:
    """An open attempt, as the recovery table looks at it."""
    files = AttemptFiles(run_dir, attempt.num, attempt.attempt)
    return AttemptRecord(attempt.token, files, attempt.boot_id)


def examine_attempts(restored: Iterable[RestoredRun]) -> dict[str, Finding]:
    """What became of all open attempts, by token. Looks at files and processes: call it in a thread."""
    return examine_all(
        _attempt_record(run.run.run_dir, row) for run in restored for row in run.open_attempts
    )


def take_up(
    restored: RestoredRun, row: AttemptRow, finding: Finding, musician: Musician
) -> tuple[Playing, Part]:
    """An open attempt that was started, with what is left to do of it by what was found."""
    attempt = Playing(restored.run, row.num, row.attempt, row.mode, row.token, first_try=False)
    attempt.intended = True
    attempt.started_at = row.started_at or row.intended_at
    attempt.baseline = _stored_baseline(attempt)
    attempt.deadline = row.deadline or 0.0
    match finding:
        case Exited() | OtherBoot(exit_status=int()):
            part: Part = musician.conclude
            if isinstance(finding, OtherBoot):
                part = partial(_after_a_reboot, musician=musician)
            return attempt, part
        case Adopt(pid):
            attempt.pid = pid
            return attempt, musician.adopt
        case HeldByStranger():
            return attempt, musician.adopt
        case MustEnd(pid, _):
            attempt.pid = pid
            return attempt, partial(_end_then_lost, musician=musician)
        case _:
            return attempt, _lost


def _stored_baseline(attempt: Playing) -> Baseline:
    """What the musician wrote before the attempt, or its start where that is gone."""
    try:
        with open(attempt.files.name("base"), encoding="utf-8") as file:
            return Baseline.from_dict(json.load(file))
    except (OSError, ValueError):
        return Baseline.since(attempt.started_at)


async def _lost(attempt: Playing) -> Outcome:
    return Outcome(Ended.LOST, reason="nobody knows how it ended: its shim or the machine died")


async def _end_then_lost(attempt: Playing, *, musician: Musician) -> Outcome:
    await musician.make_sure_it_is_over(attempt)
    return Outcome(Ended.LOST, reason="its shim was killed; what was left of it was ended")


async def _after_a_reboot(attempt: Playing, *, musician: Musician) -> Outcome:
    """An exit line of another boot may stand for output that never reached the disk."""
    outcome = await musician.conclude(attempt)
    if outcome.ended is Ended.OK and (
        outcome.pass_rate < 100.0 or not rules_for(attempt.run.plan, attempt.num)
    ):
        return await _lost(attempt)
    return outcome
