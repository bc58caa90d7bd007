"""The rules `content_contains` and `content_regex`: searching files of any size in little memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import regex

from marianne_core.model.outcome import FailureCategory
from marianne_core.run.instrument.patterns import SEARCH_SECONDS, PatternTimeoutError, search
from marianne_core.run.instrument.tails import one_line
from marianne_core.run.validate.files import look_at, open_text, read_fault
from marianne_core.run.validate.verdict import Fault, Verdict

CHUNK = 1024 * 1024
"""Characters that are read at once when looking for a text."""
WINDOW = 4 * 1024 * 1024
"""Characters that a regular expression sees at once. A file up to this size is searched as one text.
A larger one is searched window by window; a match longer than `OVERLAP` that lies across the border
of two windows may be missed."""
OVERLAP = 1024 * 1024
"""Characters that a window has in common with the one before it."""
READ_SECONDS = 300.0
"""How long one look at one file may take, unless its rule names a time."""

_MORE = "\0 a"
"""Stands for text that is not read yet: a match up to the very end cannot run over all of these."""
_FALSE_ENDS = 100
"""How many matches that owe themselves to the cut are looked into before the next window is."""


class OutOfTimeError(Exception):
    """The time for one look is used up."""


class Deadline:
    """A point in time that a long read asks about."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """The time that was given."""
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left. Raises OutOfTimeError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        return left


def content_contains(path: Path, text: str, seconds: float | None = None) -> Verdict:
    """The rule `content_contains`: the file holds `text`, letter by letter.

    Line ends of every kind are the same. `seconds` limits the look.
    """
    needle = text.replace("\r\n", "\n").replace("\r", "\n")
    verdict = _look(
        path,
        f"{path.name} contains {_quoted(text)}",
        f"the text {_quoted(text)}",
        lambda file, deadline: _find_text(file, needle, deadline),
        seconds,
    )
    if verdict.category is FailureCategory.INCOMPLETE and (hint := _near_miss(path, needle)):
        return replace(verdict, reason=f"{verdict.reason}; {hint}")
    return verdict


def content_regex(
    path: Path,
    pattern: regex.Pattern[str],
    seconds: float | None = None,
    search_seconds: float = SEARCH_SECONDS,
) -> Verdict:
    """The rule `content_regex`: the pattern (compiled with MULTILINE) matches somewhere in the file.

    `seconds` limits the look as a whole, `search_seconds` the search of each window: a pattern that
    goes astray fails, it never hangs.
    """
    quoted = _quoted(pattern.pattern)
    expected = f"{path.name} matches {quoted}"
    try:
        return _look(
            path,
            expected,
            f"a match of {quoted}",
            lambda file, deadline: _find_match(file, pattern, deadline, search_seconds),
            seconds,
        )
    except PatternTimeoutError:
        return Verdict(
            False,
            expected,
            "the search did not end",
            f"the pattern {quoted} takes too much time or memory on {path.name}",
            FailureCategory.ERROR,
            "Write the pattern so that its parts cannot match one text in many ways, as (a|aa)+ can.",
            final=True,
        )


def _look(
    path: Path,
    expected: str,
    wanted: str,
    find: Callable[[TextIO, Deadline], bool],
    seconds: float | None,
) -> Verdict:
    seen = look_at(path)
    if isinstance(seen, Fault):
        return seen.verdict(expected)
    opened = open_text(path)
    if isinstance(opened, Fault):
        return opened.verdict(expected)
    deadline = Deadline(seconds or READ_SECONDS)
    try:
        with opened as file:
            found = find(file, deadline)
    except OSError as error:
        return read_fault(path, error).verdict(expected)
    except OutOfTimeError:
        return Verdict(
            False,
            expected,
            f"not found within {deadline.seconds:g} s",
            f"{path.name} has {seen.st_size} bytes; reading it took longer than"
            f" {deadline.seconds:g} s",
            FailureCategory.ERROR,
            "Look at a smaller file, or set the rule's timeout_seconds.",
            final=True,
        )
    if found:
        return Verdict(True, expected, "found")
    where = f"nowhere in its {seen.st_size} bytes" if seen.st_size else "the file is empty"
    return Verdict(
        False,
        expected,
        f"not found; {where}" if seen.st_size else where,
        f"{path.name} does not hold {wanted}",
        FailureCategory.INCOMPLETE,
        f"Add {wanted} to {path}.",
    )


def _find_text(file: TextIO, needle: str, deadline: Deadline) -> bool:
    keep = max(0, len(needle) - 1)
    size = max(CHUNK, len(needle))
    rest = ""
    while chunk := file.read(size):
        deadline.left()
        text = rest + chunk
        if needle in text:
            return True
        rest = text[-keep:] if keep else ""
    return not needle


def _near_miss(path: Path, needle: str) -> str:
    """A hint when a small file holds almost the text."""
    opened = open_text(path)
    if isinstance(opened, Fault):
        return ""
    try:
        with opened as file:
            text = file.read(CHUNK)
    except OSError:
        return ""
    if needle.casefold() in text.casefold():
        return "it does in other letter case"
    if " ".join(needle.split()) in " ".join(text.split()):
        return "it does with other spaces or line breaks"
    return ""


def _find_match(
    file: TextIO, pattern: regex.Pattern[str], deadline: Deadline, search_seconds: float
) -> bool:
    """Search window by window, so that line starts, line ends and look-behinds stay true.

    From the second window on the first character is there for context only: `^` and `\\b` see what
    stands before them, and `\\A` cannot match. A match that ends where its window ends may owe that
    to the cut (`\\Z`), so it is tried again with the text that follows.
    """
    text, start, step = file.read(WINDOW), 0, WINDOW - OVERLAP
    while True:
        follows = file.read(step)
        at, longer = start, ""
        for _ in range(_FALSE_ENDS):
            match = search(pattern, text, pos=at, seconds=min(search_seconds, deadline.left()))
            if match is None:
                break
            if not follows or match.end() < len(text):
                return True
            longer = longer or text + follows + (_MORE if len(follows) == step else "")
            if search(pattern, longer, pos=match.start(), anchored=True, seconds=search_seconds):
                return True
            at = match.start() + 1
        if not follows:
            return False
        cut = text.find("\n", len(text) - OVERLAP)
        text = text[cut if cut >= 0 else len(text) - OVERLAP :] + follows
        start = 1


def _quoted(text: str) -> str:
    return f'"{one_line(text, 120)}"'
