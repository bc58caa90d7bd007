"""The database's schema, step by step, and the marks that make a file ours."""

from __future__ import annotations

APPLICATION_ID = 0x6D7A7431
"""`PRAGMA application_id` of every database of ours: "mzt1" in ASCII."""

# A few rules run through all tables:
# - Times are seconds since the epoch, unless a column's comment says otherwise.
# - What is rewritten often is small: texts of a run live beside it, in `submissions`.
# - run_id and seq are never used twice, even after clearing (AUTOINCREMENT): they name directories
#   and positions in a stream.
# - Each sheet's change of state keeps the counters of its run (triggers), so that a list of runs
#   never counts sheets.

_RUNS = """
CREATE TABLE runs (
  run_id       INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id       TEXT NOT NULL,
  run          INTEGER NOT NULL,            -- number within the job, from 1
  name         TEXT NOT NULL,               -- of the score
  score_path   TEXT NOT NULL,               -- absolute; a BLOB when it is not UTF-8
  workspace    TEXT NOT NULL,               -- absolute; a BLOB when it is not UTF-8
  status       TEXT NOT NULL,
  reason       TEXT,
  paused_by    TEXT,
  submitted_at REAL NOT NULL,
  started_at   REAL,
  finished_at  REAL,
  elapsed      REAL NOT NULL DEFAULT 0,     -- seconds that count against the job's timeout
  chain_depth  INTEGER,
  sheets_total INTEGER NOT NULL DEFAULT 0,
  completed    INTEGER NOT NULL DEFAULT 0,
  failed       INTEGER NOT NULL DEFAULT 0,
  skipped      INTEGER NOT NULL DEFAULT 0,
  cancelled    INTEGER NOT NULL DEFAULT 0,
  UNIQUE (job_id, run)
)"""

_JOBS = """
CREATE TABLE jobs (
  job_id     TEXT PRIMARY KEY,
  score_path TEXT NOT NULL,                 -- the file the id belongs to; a BLOB when not UTF-8
  last_run   INTEGER NOT NULL,              -- highest run number given so far
  created_at REAL NOT NULL
) WITHOUT ROWID"""

_SUBMISSIONS = """
CREATE TABLE submissions (
  run_id         INTEGER PRIMARY KEY,
  score          TEXT NOT NULL,             -- text of the score as submitted
  variables      TEXT NOT NULL,             -- JSON
  options        TEXT NOT NULL,             -- JSON: fresh, start_sheet, ...
  hook_config    TEXT,                      -- JSON
  concert_config TEXT                       -- JSON
)"""

_CHECKPOINTS = """
CREATE TABLE checkpoints (
  run_id        INTEGER PRIMARY KEY,
  current_sheet INTEGER,
  last_event_at REAL,
  hook_results  TEXT,                       -- JSON
  checkpoint    TEXT                        -- JSON
)"""

_SHEETS = """
CREATE TABLE sheets (
  run_id           INTEGER NOT NULL,
  num              INTEGER NOT NULL,
  movement         INTEGER,
  voice            INTEGER,
  instrument       TEXT NOT NULL,
  model            TEXT,
  description      TEXT,
  status           TEXT NOT NULL,
  reason           TEXT,
  attempts         INTEGER NOT NULL DEFAULT 0,
  retries_used     INTEGER NOT NULL DEFAULT 0,
  completions_used INTEGER NOT NULL DEFAULT 0,
  lost_in_row      INTEGER NOT NULL DEFAULT 0,
  blocked          INTEGER NOT NULL DEFAULT 0,
  mode             TEXT,                    -- of the next attempt; NULL = normal
  not_before       REAL,
  exit_code        INTEGER,                 -- of the last attempt that ended
  started_at       REAL,
  finished_at      REAL,
  PRIMARY KEY (run_id, num)
) WITHOUT ROWID"""

_ATTEMPTS = """
CREATE TABLE attempts (
  run_id        INTEGER NOT NULL,
  num           INTEGER NOT NULL,
  attempt       INTEGER NOT NULL,
  mode          TEXT NOT NULL,
  instrument    TEXT NOT NULL,
  model         TEXT,
  token         TEXT NOT NULL,
  argv_digest   TEXT,
  prompt_hash   TEXT,
  boot_id       TEXT NOT NULL,
  intended_at   REAL NOT NULL,
  started_at    REAL,
  deadline      REAL,                       -- seconds of the boot clock of boot_id
  finished_at   REAL,
  ended         TEXT,                       -- NULL until its end is known
  exit_code     INTEGER,
  signal        INTEGER,
  code          TEXT,
  reason        TEXT,
  pass_rate     REAL,
  input_tokens  INTEGER,
  output_tokens INTEGER,
  cost_usd      REAL,
  PRIMARY KEY (run_id, num, attempt)
) WITHOUT ROWID"""

_VALIDATIONS = """
CREATE TABLE validations (
  run_id        INTEGER NOT NULL,
  num           INTEGER NOT NULL,
  attempt       INTEGER NOT NULL,
  rule          INTEGER NOT NULL,
  rule_type     TEXT NOT NULL,
  description   TEXT,
  passed        INTEGER NOT NULL,
  stage         INTEGER NOT NULL,
  path          TEXT,
  pattern       TEXT,
  command       TEXT,
  expected      TEXT,
  actual        TEXT,
  reason        TEXT,
  category      TEXT,
  suggested_fix TEXT,
  tries         INTEGER NOT NULL,
  duration      REAL NOT NULL,              -- seconds
  PRIMARY KEY (run_id, num, attempt, rule)
) WITHOUT ROWID"""

_EVENTS = """
CREATE TABLE events (
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id INTEGER NOT NULL,                  -- 0 = of no run
  sheet  INTEGER NOT NULL,                  -- 0 = of the whole run
  time   REAL NOT NULL,
  kind   TEXT NOT NULL,
  data   TEXT                               -- JSON object; NULL = empty
)"""

_MARKS = """
CREATE TABLE marks (                        -- written only to sync the disk or to try it
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID"""

_COUNT_NEW = """
CREATE TRIGGER sheet_added AFTER INSERT ON sheets
WHEN new.status IN ('completed', 'failed', 'skipped', 'cancelled')
BEGIN
  UPDATE runs SET
    completed = completed + (new.status = 'completed'),
    failed    = failed    + (new.status = 'failed'),
    skipped   = skipped   + (new.status = 'skipped'),
    cancelled = cancelled + (new.status = 'cancelled')
  WHERE run_id = new.run_id;
END"""

_COUNT_CHANGED = """
CREATE TRIGGER sheet_changed AFTER UPDATE OF status ON sheets
WHEN old.status <> new.status AND (
  old.status IN ('completed', 'failed', 'skipped', 'cancelled') OR
  new.status IN ('completed', 'failed', 'skipped', 'cancelled'))
BEGIN
  UPDATE runs SET
    completed = completed + (new.status = 'completed') - (old.status = 'completed'),
    failed    = failed    + (new.status = 'failed')    - (old.status = 'failed'),
    skipped   = skipped   + (new.status = 'skipped')   - (old.status = 'skipped'),
    cancelled = cancelled + (new.status = 'cancelled') - (old.status = 'cancelled')
  WHERE run_id = new.run_id;
END"""

VERSION_1: tuple[str, ...] = (
    _RUNS,
    _JOBS,
    _SUBMISSIONS,
    _CHECKPOINTS,
    _SHEETS,
    _ATTEMPTS,
    _VALIDATIONS,
    _EVENTS,
    "CREATE INDEX events_of_run ON events (run_id)",
    _MARKS,
    _COUNT_NEW,
    _COUNT_CHANGED,
)
"""The statements that make an empty database one of version 1."""

# Comparisons, not IN: SQLite would make the list anew for every row.
_COUNT_NEW_2 = """
CREATE TRIGGER sheet_added AFTER INSERT ON sheets
WHEN new.status = 'completed' OR new.status = 'failed'
  OR new.status = 'skipped' OR new.status = 'cancelled'
BEGIN
  UPDATE runs SET
    completed = completed + (new.status = 'completed'),
    failed    = failed    + (new.status = 'failed'),
    skipped   = skipped   + (new.status = 'skipped'),
    cancelled = cancelled + (new.status = 'cancelled')
  WHERE run_id = new.run_id;
END"""

_COUNT_CHANGED_2 = """
CREATE TRIGGER sheet_changed AFTER UPDATE OF status ON sheets
WHEN old.status <> new.status AND (
  new.status = 'completed' OR new.status = 'failed' OR
  new.status = 'skipped' OR new.status = 'cancelled' OR
  old.status = 'completed' OR old.status = 'failed' OR
  old.status = 'skipped' OR old.status = 'cancelled')
  AND NOT EXISTS (SELECT 1 FROM marks WHERE name = 'bulk')
BEGIN
  UPDATE runs SET
    completed = completed + (new.status = 'completed') - (old.status = 'completed'),
    failed    = failed    + (new.status = 'failed')    - (old.status = 'failed'),
    skipped   = skipped   + (new.status = 'skipped')   - (old.status = 'skipped'),
    cancelled = cancelled + (new.status = 'cancelled') - (old.status = 'cancelled')
  WHERE run_id = new.run_id;
END"""

VERSION_2: tuple[str, ...] = (
    "ALTER TABLE runs ADD COLUMN final TEXT",
    "ALTER TABLE attempts ADD COLUMN ending TEXT",
    "ALTER TABLE attempts ADD COLUMN ending_reason TEXT",
    "ALTER TABLE attempts ADD COLUMN ending_at REAL",
    "DROP TRIGGER sheet_added",
    _COUNT_NEW_2,
    "DROP TRIGGER sheet_changed",
    _COUNT_CHANGED_2,
)
"""What a run that is being ended (status cancelling) will be then, and the ordered end of an attempt
that lives: a value of `model.outcome.Ended`, why, and when. NULL = nobody ordered it.

Whoever changes many sheets at once sets the mark `bulk` meanwhile, and counts once at the end: the
trigger would take seven times as long as the change itself."""

VERSION_3: tuple[str, ...] = ("ALTER TABLE runs ADD COLUMN counted_at REAL",)
"""When `elapsed` was as it is stored, in seconds of the boot clock, while the time goes on: what a
run has used by now is known also after its conductor was killed. NULL = its time is not counted."""

_LIMITS = """
CREATE TABLE limits (
  instrument TEXT NOT NULL,
  model      TEXT NOT NULL,                 -- '' = the whole instrument
  until      REAL NOT NULL,
  by_clock   INTEGER NOT NULL,              -- a date or a time of day was told, no duration
  reason     TEXT,
  told_at    REAL NOT NULL,
  run_id     INTEGER NOT NULL,              -- whose sheet met it; may be cleared by now
  num        INTEGER NOT NULL,
  PRIMARY KEY (instrument, model)
) WITHOUT ROWID"""

VERSION_4: tuple[str, ...] = (
    _LIMITS,
    "ALTER TABLE sheets ADD COLUMN waits_used INTEGER NOT NULL DEFAULT 0",
)
"""Rate limits that were met, one of each instrument and model, and how often each sheet waited."""

TABLES_OF_A_RUN: tuple[str, ...] = (
    "events",
    "validations",
    "attempts",
    "sheets",
    "checkpoints",
    "submissions",
    "runs",
)
"""All tables with rows of one run, `runs` last."""
