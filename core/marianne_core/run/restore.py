"""From the store and the process table back to a working engine: the one way a conductor starts.

Every unfinished run is planned again from the text it was submitted with, every unfinished attempt
is looked at by the recovery table (design, section 4), and goes on where it stands. One run that
cannot be read or planned keeps no other from going on.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.load import Score, score_from_text
from marianne_core.config.profiles import Profiles
from marianne_core.decide.graph import SheetGraph
from marianne_core.decide.messages import SheetRecord, SheetTask
from marianne_core.decide.records import Records
from marianne_core.model.clock import Clock
from marianne_core.model.errors import JobSubmissionError, MztError
from marianne_core.model.outcome import Ended, Outcome, ValidationReport
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.plan.build import build_plan
from marianne_core.plan.sheets import Plan
from marianne_core.remember.home import Home
from marianne_core.remember.queries import Reader, open_reader
from marianne_core.remember.reports import validation_report
from marianne_core.remember.rows import AttemptRow, LimitRow, RunRow, SheetRow, Submission
from marianne_core.run.active import ActiveRun, LastAttempt
from marianne_core.run.attempt_files import AttemptFiles
from marianne_core.run.recovery import (
    Adopt,
    AttemptRecord,
    Exited,
    Finding,
    HeldByStranger,
    examine_all,
    never_ran,
)
from marianne_core.run.submission import tasks_of

UNFINISHED = tuple(status for status in JobStatus if not status.terminal)
"""Statuses of runs that are not over."""

_NEVER_RAN = Outcome(Ended.NEVER_RAN, reason="the conductor ended before it was started")
_OUTDONE = Outcome(Ended.LOST, reason="nobody knows how it ended: a later attempt was started")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What every part of one conductor works with."""

    home: Home
    profiles: Profiles
    settings: DaemonConfig
    clock: Clock


@dataclass(slots=True)
class RestoredRun:
    """A run as it was left, ready for the engine."""

    run: ActiveRun
    row: RunRow
    tasks: list[SheetTask]
    graph: SheetGraph
    start_sheet: int | None
    elapsed: float
    """Seconds of its timeout that it has used."""
    last_start: float | None
    """Boot clock, when a sheet started last; None if that does not count for the score."""
    last_end: float | None
    """Boot clock, when a sheet ended last; None if that does not count."""
    records: Records
    """Where each sheet stands."""
    corrected: list[int]
    """Sheets that the store shows otherwise than they stand."""
    started: list[tuple[AttemptRow, Finding]]
    """At most one a sheet: attempts that were started, and whose end nobody has written down."""
    closed: list[tuple[AttemptRow, Outcome]]
    """Other open attempts, with what shall be written down of them."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A run that cannot be read or planned any more, and why."""

    row: RunRow
    error: str
    sheets: Sequence[SheetRow]
    """All of its sheets, as far as they can be read."""
    open_attempts: Sequence[tuple[AttemptRow, Finding]]


def read_unfinished(shared: Shared) -> list[RestoredRun | SetAside]:
    """All runs that are not over, oldest first. Reads, plans and looks: call it in a thread."""
    with open_reader(shared.home) as reader:
        rows = reader.list_runs(statuses=UNFINISHED, limit=None)
        return _restored(reader, list(reversed(rows)), shared)


def read_limits(shared: Shared) -> list[LimitRow]:
    """Rate limits that still hold; call it in a thread."""
    with open_reader(shared.home) as reader:
        return reader.limits(shared.clock.wall())


def read_run(shared: Shared, run_id: int) -> RestoredRun | SetAside:
    """One stored run, over or not, as it stands in the store now; call it in a thread.

    Raises JobSubmissionError when it is not remembered any more.
    """
    with open_reader(shared.home) as reader:
        row = reader.run(run_id)
        if row is None:
            raise JobSubmissionError("this run is not remembered any more: it was cleared")
        return _restored(reader, [row], shared)[0]


def look_again(shared: Shared, row: RunRow) -> SetAside:
    """A run that was set aside, without trying to plan it: what is left of it to end."""
    with open_reader(shared.home) as reader, reader.snapshot():
        sheets, attempts = reader.sheets(row.run_id), reader.open_attempts(row.run_id)
    run_dir = shared.home.run_dir(row.run_id)
    findings = examine_all(_attempt_record(run_dir, attempt) for attempt in attempts)
    return SetAside(row, "", sheets, [(a, findings[a.token]) for a in attempts])


def _restored(
    reader: Reader, rows: Iterable[RunRow], shared: Shared
) -> list[RestoredRun | SetAside]:
    """Planned first, then looked at together: what is seen of processes shall be fresh."""
    stored = [_stored(reader, row, shared) for row in rows]
    findings = examine_all(
        _attempt_record(shared.home.run_dir(each.row.run_id), attempt)
        for each in stored
        for attempt in each.open_attempts
    )
    return [_as_it_stands_or_aside(each, findings, reader, shared) for each in stored]


@dataclass(slots=True)
class _Stored:
    """What the store says of a run."""

    row: RunRow
    submission: Submission
    sheets: list[SheetRow]
    open_attempts: list[AttemptRow]
    plan: Plan | None = None
    tasks: list[SheetTask] | None = None
    graph: SheetGraph | None = None
    error: str = ""


def _stored(reader: Reader, row: RunRow, shared: Shared) -> _Stored:
    stored = _Stored(row, Submission("", {}, {}, None, None), [], [])
    try:
        with reader.snapshot():
            stored.row = reader.run(row.run_id) or row
            stored.sheets = reader.sheets(row.run_id)
            stored.open_attempts = reader.open_attempts(row.run_id)
            stored.submission = reader.submission(row.run_id) or stored.submission
        stored.plan = build_plan(
            _as_submitted(stored.submission, row),
            shared.profiles,
            workspace=Path(row.workspace),
            variables=stored.submission.variables,
            thinking_method=shared.settings.default_thinking_method,
        )
        _check_sheets(stored, shared.profiles)
        shared.home.run_dir(row.run_id).mkdir(mode=0o700, parents=True, exist_ok=True)
        stored.tasks = tasks_of(stored.plan)
        stored.graph = SheetGraph(stored.tasks)
    except Exception as error:
        stored.error = _told(row, error)
    return stored


def _check_sheets(stored: _Stored, profiles: Profiles) -> None:
    """Raise MztError when the plan has other sheets than were stored, or one that may still run has
    no instrument to play it any more."""
    assert stored.plan is not None
    total = stored.plan.total_sheets
    if [sheet.num for sheet in stored.sheets] != list(range(1, total + 1)):
        raise MztError(f"its score now makes {total} sheets, and not those that are stored")
    done = {sheet.num for sheet in stored.sheets if sheet.status is SheetStatus.COMPLETED}
    for name in {sheet.instrument for sheet in stored.plan.sheets if sheet.num not in done}:
        found = profiles.resolve(name)
        if found.profile is None:
            raise MztError(f"the instrument {name!r} cannot be played: {found.reason}")


def _as_submitted(submission: Submission, row: RunRow) -> Score:
    """The score as it was, its template file included, which may be gone or changed by now."""
    score = score_from_text(submission.score, Path(row.score_path))
    template = submission.options.get("template")
    if not isinstance(template, str):
        return score
    prompt = score.config.prompt.model_copy(update={"template": template, "template_file": None})
    return replace(score, config=score.config.model_copy(update={"prompt": prompt}))


def _as_it_stands_or_aside(
    stored: _Stored, findings: dict[str, Finding], reader: Reader, shared: Shared
) -> RestoredRun | SetAside:
    row = stored.row
    if not stored.error:
        try:
            return _as_it_stands(stored, findings, reader, shared)
        except Exception as error:
            stored.error = _told(row, error)
    return SetAside(
        row, stored.error, stored.sheets, [(a, findings[a.token]) for a in stored.open_attempts]
    )


def _told(row: RunRow, error: Exception) -> str:
    """What is wrong with a run, in one line. Whatever it is, the others go on."""
    if isinstance(error, MztError):
        return str(error).splitlines()[0]
    _log.error(
        "restore.run_unreadable", extra={"job_id": row.job_id, "run": row.run}, exc_info=error
    )
    return f"what is stored of it cannot be read: {type(error).__name__}: {error}"


def _as_it_stands(
    stored: _Stored, findings: dict[str, Finding], reader: Reader, shared: Shared
) -> RestoredRun:
    row = stored.row
    assert stored.plan is not None
    assert stored.tasks is not None
    assert stored.graph is not None
    run_dir = shared.home.run_dir(row.run_id)
    run = ActiveRun(row.run_id, row.job_id, row.run, stored.plan, run_dir, row.status, row.reason)
    start = stored.submission.options.get("start_sheet")
    open_attempts: dict[int, list[AttemptRow]] = {}
    for attempt in stored.open_attempts:
        open_attempts.setdefault(attempt.num, []).append(attempt)
    records: dict[int, SheetRecord] = {}
    corrected, started, closed = [], [], []
    for sheet in stored.sheets:
        attempts = open_attempts.get(sheet.num, ())
        current = _started(sheet, attempts, findings)
        if current is not None:
            started.append((current, findings[current.token]))
        for each in attempts:
            if each is not current:
                ran = not sheet.status.terminal and not never_ran(findings[each.token])
                closed.append((each, _OUTDONE if ran else _NEVER_RAN))
        record = _record(sheet, current, shared.clock)
        if record is not None:
            records[sheet.num] = record
            run.remember(sheet.num, record.status, record.attempt)
            if (record.status, record.attempt) != (sheet.status, sheet.attempts):
                corrected.append(sheet.num)
    if stored.plan.config.sheet.skip_when:
        for attempt in reader.attempts(row.run_id):
            rate = 0.0 if attempt.pass_rate is None else attempt.pass_rate
            run.lasts[attempt.num] = LastAttempt(attempt.attempt, attempt.exit_code, rate)
    for num, record in records.items():
        if record.mode is AttemptMode.COMPLETION and not record.status.terminal:
            run.reports[num] = _last_report(reader, row.run_id, num, record)
    return RestoredRun(
        run,
        row,
        stored.tasks,
        stored.graph,
        start if isinstance(start, int) else None,
        _elapsed(row, run_dir, started, shared.clock),
        *_last_moments(stored.plan, reader, row, shared.clock),
        Records(stored.graph.sheets, records),
        corrected,
        started,
        closed,
    )


def _elapsed(
    row: RunRow, run_dir: Path, started: Iterable[tuple[AttemptRow, Finding]], clock: Clock
) -> float:
    """What a run has used of its timeout: as it was saved, and since then what its sheets ran.

    They ran while no conductor was there, and longer than the last one that was killed could save.
    """
    until = [_ran_until(run_dir, attempt, finding, clock) for attempt, finding in started]
    if row.counted_at is None or not until:
        return row.elapsed
    return row.elapsed + max(0.0, max(until) - row.counted_at)


def _ran_until(run_dir: Path, attempt: AttemptRow, finding: Finding, clock: Clock) -> float:
    """Boot clock; 0 where nobody knows."""
    if _lives(finding):
        return clock.now()
    if isinstance(finding, Exited):
        with contextlib.suppress(OSError):
            status = os.stat(AttemptFiles(run_dir, attempt.num, attempt.attempt).name("st"))
            return clock.now() - max(0.0, clock.wall() - status.st_mtime)
    return 0.0


def _last_moments(
    plan: Plan, reader: Reader, row: RunRow, clock: Clock
) -> tuple[float | None, float | None]:
    """When a sheet started and ended last, by the boot clock, if the score keeps sheets apart."""
    if not plan.config.pause_between_sheets_seconds and not plan.config.parallel.stagger_delay_ms:
        return None, None
    began, ended = reader.last_moments(row.run_id)
    passed = clock.now() - clock.wall()
    return (
        None if began is None else began + passed,
        None if ended is None else ended + passed,
    )


def _record(sheet: SheetRow, current: AttemptRow | None, clock: Clock) -> SheetRecord | None:
    """Where a sheet stands whose open attempt `current` was started; None if it is untouched."""
    untouched = sheet.status is SheetStatus.PENDING and not sheet.attempts and not sheet.reason
    if current is None and untouched:
        return None
    status, attempt, not_before = sheet.status, sheet.attempts, None
    if sheet.not_before is not None:
        not_before = clock.now() + sheet.not_before - clock.wall()
    if current is not None:
        status, attempt, not_before = SheetStatus.IN_PROGRESS, current.attempt, None
    elif status is SheetStatus.IN_PROGRESS:
        # Launched, and nothing of it was started: its number is given again.
        status, attempt = SheetStatus.PENDING, max(0, attempt - 1)
    return SheetRecord(
        status=status,
        attempt=attempt,
        retries_used=sheet.retries_used,
        completions_used=sheet.completions_used,
        lost_in_row=sheet.lost_in_row,
        waits_used=sheet.waits_used,
        not_before=not_before,
        alive=current is not None,
        blocked=sheet.blocked,
        reason=sheet.reason,
        mode=sheet.mode,
    )


def _started(
    sheet: SheetRow, open_attempts: Sequence[AttemptRow], findings: dict[str, Finding]
) -> AttemptRow | None:
    """The open attempt that the sheet goes on with: one that lives, else the latest that ran."""
    if sheet.status.terminal:
        return None  # its end is written together with its attempt's: these are unused intents
    ran = [row for row in open_attempts if not never_ran(findings[row.token])]
    return max(ran, key=lambda row: (_lives(findings[row.token]), row.attempt), default=None)


def _lives(finding: Finding) -> bool:
    return isinstance(finding, Adopt | HeldByStranger)


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
