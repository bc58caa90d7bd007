"""Regular expressions that people write: compiled quietly, searched with a time limit."""

from __future__ import annotations

import warnings
from functools import lru_cache

import regex

SEARCH_SECONDS = 5.0
"""How long one search may take. Ordinary patterns need milliseconds for megabytes."""


class PatternError(ValueError):
    """The text is not a regular expression; its message says why."""


class PatternTimeoutError(Exception):
    """A search did not end within its time limit."""


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str, flags: int = 0) -> regex.Pattern[str]:
    """Compile with the `regex` package. Raises PatternError.

    The package's warnings about future syntax are no help to anyone at run time. Silencing them
    touches a setting of the whole process, so call this from one thread, the event loop's.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return regex.compile(pattern, flags)
    except regex.error as error:
        raise PatternError(str(error)) from error
    except (RecursionError, OverflowError) as error:
        raise PatternError("it is nested too deeply or has too large a repeat count") from error


def search(
    pattern: regex.Pattern[str],
    text: str,
    *,
    pos: int = 0,
    anchored: bool = False,
    seconds: float = SEARCH_SECONDS,
) -> regex.Match[str] | None:
    """First match from `pos` on (with `anchored`: exactly there), or None.

    Raises PatternTimeoutError after `seconds`.

    The interpreter is free meanwhile (`concurrent`), so a search in a thread never holds up the
    event loop.
    """
    look = pattern.match if anchored else pattern.search
    try:
        return look(text, pos, timeout=seconds, concurrent=True)
    except TimeoutError as error:
        raise PatternTimeoutError(pattern.pattern) from error
    except MemoryError as error:  # the package gives up on a huge backtracking stack this way
        raise PatternTimeoutError(pattern.pattern) from error
