"""Regular expressions that people write: does one compile, and what is wrong if not."""

from __future__ import annotations

import warnings

import regex


def pattern_error(pattern: str) -> str:
    """What is wrong with a regular expression, or "" when it compiles.

    Patterns run with the `regex` package, which has a time limit; so it is the judge here, too.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            regex.compile(pattern, regex.MULTILINE)
    except regex.error as error:
        return str(error)
    except (RecursionError, OverflowError):
        return "it is nested too deeply or has too large a repeat count"
    return ""
