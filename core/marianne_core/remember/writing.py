"""How each change becomes rows: the only place with SQL that changes runs, sheets and attempts.

Nothing here begins or ends a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from marianne_core.model.outcome import ValidationResult
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.remember.changes import (
    AttemptBegun,
    AttemptEnding,
    AttemptFinished,
    AttemptIntended,
    Change,
    EventHappened,
    HookResults,
    LimitLifted,
    LimitMet,
    RunSaved,
    ScoreReplaced,
    SheetsAdded,
    SheetSaved,
    SheetsSaved,
)
from marianne_core.remember.job_ids import path_to_store
from marianne_core.remember.lanes import Row, Rows, Statement, as_json, short

_ADD_SHEET = Statement(
    "sheets",
    "INSERT INTO sheets (run_id, num, instrument, movement, voice, model, description, status,"
    " reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
_COUNT_SHEETS = Statement(
    "totals", "UPDATE runs SET sheets_total = sheets_total + ? WHERE run_id = ?"
)
_SAVE_RUN = Statement(
    "runs",
    "UPDATE runs SET reason = ?, paused_by = ?, elapsed = COALESCE(?, elapsed),"
    " counted_at = CASE WHEN ? THEN ? ELSE counted_at END,"
    " started_at = COALESCE(started_at, ?),"
    " finished_at = CASE WHEN status = ? THEN COALESCE(finished_at, ?) ELSE ? END,"
    " final = CASE WHEN ? THEN COALESCE(?, final) END, status = ? WHERE run_id = ?",
)

_REPLACE_PATHS = Statement(
    "paths",
    "UPDATE runs SET score_path = ?, workspace = COALESCE(?, workspace) WHERE run_id = ?",
)
_REPLACE_SCORE = Statement("submissions", "UPDATE submissions SET score = ? WHERE run_id = ?")
_SAVE_SHEET = Statement(
    "sheets",
    "UPDATE sheets SET reason = ?, attempts = ?, retries_used = ?, completions_used = ?,"
    " lost_in_row = ?, waits_used = ?, blocked = ?, mode = ?, not_before = ?,"
    " started_at = CASE WHEN ? THEN NULL ELSE COALESCE(started_at, ?) END,"
    " finished_at = CASE WHEN status = ? THEN COALESCE(finished_at, ?) ELSE ? END,"
    " status = ? WHERE run_id = ? AND num = ?",
)
_SAVE_SHEETS = Statement(
    "sheets",
    "UPDATE sheets SET reason = ?, attempts = 0, retries_used = 0, completions_used = 0,"
    " lost_in_row = 0, waits_used = 0, blocked = ?, mode = NULL, not_before = NULL,"
    " started_at = CASE WHEN ? THEN NULL ELSE started_at END,"
    " finished_at = CASE WHEN status = ? THEN COALESCE(finished_at, ?) ELSE ? END,"
    " status = ? WHERE run_id = ? AND num BETWEEN ? AND ?",
)
_SET_MARK = Statement("sheets", "INSERT OR REPLACE INTO marks (name, value) VALUES ('bulk', 0)")
_LIFT_MARK = Statement("sheets", "DELETE FROM marks WHERE name = 'bulk'")
_COUNT_ANEW = Statement(
    "sheets",
    "UPDATE runs SET (completed, failed, skipped, cancelled) = ("
    "SELECT total(status = 'completed'), total(status = 'failed'), total(status = 'skipped'),"
    " total(status = 'cancelled') FROM sheets WHERE run_id = runs.run_id) WHERE run_id = ?",
)
_SET_INSTRUMENT = Statement(
    "instruments", "UPDATE sheets SET instrument = ?, model = ? WHERE run_id = ? AND num = ?"
)
_SET_EXIT_CODE = Statement(
    "exit codes", "UPDATE sheets SET exit_code = ? WHERE run_id = ? AND num = ?"
)
_INTEND = Statement(
    "attempts",
    "INSERT OR REPLACE INTO attempts (run_id, num, attempt, intended_at, token, boot_id,"
    " instrument, model, mode, argv_digest, prompt_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
_BEGIN = Statement(
    "attempts",
    "UPDATE attempts SET started_at = ?, deadline = ?, boot_id = COALESCE(?, boot_id),"
    " argv_digest = COALESCE(?, argv_digest), prompt_hash = COALESCE(?, prompt_hash)"
    " WHERE run_id = ? AND num = ? AND attempt = ?",
)
_END = Statement(
    "attempts",
    "UPDATE attempts SET ending = ?, ending_reason = ?, ending_at = ?"
    " WHERE run_id = ? AND num = ? AND attempt = ?",
)
_FINISH = Statement(
    "attempts",
    "UPDATE attempts SET finished_at = ?, ended = ?, exit_code = ?, signal = ?, code = ?,"
    " reason = ?, pass_rate = ?, input_tokens = ?, output_tokens = ?, cost_usd = ?"
    " WHERE run_id = ? AND num = ? AND attempt = ?",
)
_VALIDATED = Statement(
    "validations",
    "INSERT OR REPLACE INTO validations (run_id, num, attempt, rule, rule_type, description,"
    " passed, stage, path, pattern, command, expected, actual, reason, category, suggested_fix,"
    " tries, duration) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
_HAPPENED = Statement(
    "events", "INSERT INTO events (run_id, sheet, time, kind, data) VALUES (?, ?, ?, ?, ?)"
)
_HOOKS_SAID = Statement(
    "checkpoints",
    "INSERT INTO checkpoints (run_id, hook_results) VALUES (?, ?)"
    " ON CONFLICT (run_id) DO UPDATE SET hook_results = excluded.hook_results",
)
_LIMIT = Statement(
    "limits",
    "INSERT OR REPLACE INTO limits (instrument, model, until, by_clock, reason, told_at, run_id,"
    " num) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
)
_LIFT = Statement("limits", "DELETE FROM limits WHERE instrument = ? AND model = ?")


def apply(
    connection: sqlite3.Connection, changes: Iterable[Change], *, clean: bool = False
) -> None:
    """Write the changes within the transaction that is open.

    A new state of a run, sheet or attempt that is not there (cleared meanwhile) has no effect.
    Raises sqlite3.Error, and UnicodeEncodeError for text that only `clean` can write.
    """
    rows = Rows()
    for change in changes:
        _PUT[type(change)](rows, change)
    rows.write(connection, clean=clean)


def saved_run(c: RunSaved) -> tuple[str, Row]:
    """SQL and parameters that write a new state of a run."""
    finished = c.at if c.status.terminal else None
    return _SAVE_RUN.sql, (
        short(c.reason),
        c.paused_by,
        c.elapsed,
        int(c.elapsed is not None),
        c.counted_at,
        c.at if c.status is JobStatus.RUNNING else None,
        c.status.value,
        finished,
        finished,
        int(c.status is JobStatus.CANCELLING),
        None if c.final is None else c.final.value,
        c.status.value,
        c.run_id,
    )


def _mode(mode: AttemptMode) -> str | None:
    return None if mode is AttemptMode.NORMAL else mode.value


def _put_sheets(rows: Rows, change: SheetsAdded) -> None:
    run_id = change.run_id
    rows.put(_COUNT_SHEETS, (len(change.sheets), run_id))
    for s in change.sheets:
        rows.put(
            _ADD_SHEET,
            (
                run_id,
                s.num,
                s.instrument,
                s.movement,
                s.voice,
                s.model,
                short(s.description),
                s.status.value,
                short(s.reason),
            ),
        )


def _put_run(rows: Rows, c: RunSaved) -> None:
    rows.put(_SAVE_RUN, saved_run(c)[1])


def _put_score(rows: Rows, c: ScoreReplaced) -> None:
    workspace = None if c.workspace is None else path_to_store(c.workspace)
    rows.put(_REPLACE_PATHS, (path_to_store(c.score_path), workspace, c.run_id))
    rows.put(_REPLACE_SCORE, (c.score, c.run_id))


def _put_sheet(rows: Rows, c: SheetSaved) -> None:
    status = c.status.value
    finished = c.at if c.status.terminal else None
    never_started = c.status is SheetStatus.SKIPPED and not c.attempts
    rows.put(
        _SAVE_SHEET,
        (
            short(c.reason),
            c.attempts,
            c.retries_used,
            c.completions_used,
            c.lost_in_row,
            c.waits_used,
            int(c.blocked),
            _mode(c.mode),
            c.not_before,
            int(c.status is SheetStatus.PENDING or never_started),
            c.at if c.status is SheetStatus.IN_PROGRESS else None,
            status,
            finished,
            finished,
            status,
            c.run_id,
            c.num,
        ),
    )
    if c.instrument is not None:
        rows.put(_SET_INSTRUMENT, (c.instrument, c.model, c.run_id, c.num))


def _put_alike(rows: Rows, c: SheetsSaved) -> None:
    status = c.status.value
    finished = c.at if c.status.terminal else None
    pending = int(c.status is SheetStatus.PENDING)
    alike = (short(c.reason), int(c.blocked), pending, status, finished, finished, status)
    rows.put(_SET_MARK, ())
    for block in c.blocks:
        rows.put(_SAVE_SHEETS, (*alike, c.run_id, block.start, block.stop - 1))
    rows.put(_COUNT_ANEW, (c.run_id,))
    rows.put(_LIFT_MARK, ())


def _put_intent(rows: Rows, c: AttemptIntended) -> None:
    rows.put(
        _INTEND,
        (
            c.run_id,
            c.num,
            c.attempt,
            c.at,
            c.token,
            c.boot_id,
            c.instrument,
            c.model,
            c.mode.value,
            c.argv_digest,
            c.prompt_hash,
        ),
    )


def _put_begun(rows: Rows, c: AttemptBegun) -> None:
    rows.put(
        _BEGIN,
        (
            c.at,
            c.deadline,
            c.boot_id,
            c.argv_digest,
            c.prompt_hash,
            c.run_id,
            c.num,
            c.attempt,
        ),
    )


def _put_ending(rows: Rows, c: AttemptEnding) -> None:
    rows.put(_END, (c.ended.value, short(c.reason), c.at, c.run_id, c.num, c.attempt))


def _put_finished(rows: Rows, c: AttemptFinished) -> None:
    o = c.outcome
    rows.put(
        _FINISH,
        (
            c.at,
            o.ended.value,
            o.exit_code,
            o.signal,
            o.code,
            short(o.reason),
            o.pass_rate,
            o.input_tokens,
            o.output_tokens,
            o.cost_usd,
            c.run_id,
            c.num,
            c.attempt,
        ),
    )
    rows.put(_SET_EXIT_CODE, (o.exit_code, c.run_id, c.num))
    for result in c.results:
        rows.put(_VALIDATED, (c.run_id, c.num, c.attempt, *_validation(result)))


def _validation(r: ValidationResult) -> Row:
    return (
        r.rule,
        r.rule_type,
        short(r.description),
        int(r.passed),
        r.stage,
        r.path,
        r.pattern,
        r.command,
        short(r.expected),
        short(r.actual),
        short(r.reason),
        None if r.category is None else r.category.value,
        short(r.suggested_fix),
        r.tries,
        r.duration,
    )


def _put_event(rows: Rows, c: EventHappened) -> None:
    e = c.event
    data = as_json(e.data) if e.data else None
    rows.put(_HAPPENED, (c.run_id, e.sheet_num, e.timestamp, e.event, data))


def _put_hooks(rows: Rows, c: HookResults) -> None:
    rows.put(_HOOKS_SAID, (c.run_id, as_json(c.results)))


def _put_limit(rows: Rows, c: LimitMet) -> None:
    limited = (c.instrument, c.model or "")
    rows.put(
        _LIMIT,
        (*limited, c.until, int(c.by_clock), short(c.reason), c.at, c.run_id, c.num),
    )


def _put_lifted(rows: Rows, c: LimitLifted) -> None:
    rows.put(_LIFT, (c.instrument, c.model or ""))


_PUT: dict[type, Callable[[Rows, Any], None]] = {
    SheetsAdded: _put_sheets,
    RunSaved: _put_run,
    ScoreReplaced: _put_score,
    SheetSaved: _put_sheet,
    SheetsSaved: _put_alike,
    AttemptIntended: _put_intent,
    AttemptBegun: _put_begun,
    AttemptEnding: _put_ending,
    AttemptFinished: _put_finished,
    EventHappened: _put_event,
    HookResults: _put_hooks,
    LimitMet: _put_limit,
    LimitLifted: _put_lifted,
}
