"""Which id a score file's runs get: the file's stem, owned by the first file that used it."""

from __future__ import annotations

import os
import re
import sqlite3

_NOT_IN_ID = re.compile(r"[#/\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
"""`#` parts the id from the run's number; the others are not fit for a line of text."""


_IDS = "SELECT job_id FROM jobs ORDER BY created_at DESC LIMIT 1000"


def stem_of(score_path: str) -> str:
    """The id that a score file would like to have: its name without directory and ending.

    White space, `#` and whatever cannot be printed become "-".
    """
    stem = os.path.splitext(os.path.basename(score_path))[0]
    return _NOT_IN_ID.sub("-", stem).strip("-") or "score"


def owned_id(connection: sqlite3.Connection, score_path: str) -> str | None:
    """The id that belongs to this absolute path, or None when it has none yet."""
    row = connection.execute(
        "SELECT job_id FROM jobs WHERE score_path = ? ORDER BY created_at, job_id LIMIT 1",
        (path_to_store(score_path),),
    ).fetchone()
    return None if row is None else str(row[0])


def id_for(connection: sqlite3.Connection, score_path: str) -> str:
    """The id that a run of this absolute path has or would get.

    "hello" for the first file of that stem, "hello-2" for the next one, and so on; an id that was
    given stays with its file until its runs are cleared (DESIGN, section 9).
    """
    owned = owned_id(connection, score_path)
    if owned is not None:
        return owned
    stem = stem_of(score_path)
    candidate, number = stem, 1
    while connection.execute("SELECT 1 FROM jobs WHERE job_id = ?", (candidate,)).fetchone():
        number += 1
        candidate = f"{stem}-{number}"
    return candidate


def near_id(connection: sqlite3.Connection, typed: str) -> str | None:
    """The id that is meant by what is no id: a score's path, another spelling, a beginning."""
    owned = owned_id(connection, os.path.abspath(typed))
    if owned is not None:
        return owned
    ids = {str(job_id).lower(): str(job_id) for (job_id,) in connection.execute(_IDS)}
    wanted = stem_of(typed).lower()
    begun = [known for known in ids if known.startswith(wanted)]
    if wanted in ids or len(begun) == 1:
        return ids[wanted if wanted in ids else begun[0]]
    import difflib  # seldom wanted, and the fast commands import this module

    near = difflib.get_close_matches(wanted, ids, n=1)
    return ids[near[0]] if near else None


def path_to_store(path: str) -> str | bytes:
    """A path as the database keeps it: text, or its bytes when they are not UTF-8."""
    if path.isascii():
        return path
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def path_from_store(value: str | bytes) -> str:
    """The path again, with surrogates for what is not UTF-8 (as `os.fsdecode` makes them)."""
    return value if isinstance(value, str) else os.fsdecode(value)
