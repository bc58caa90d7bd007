"""`--var KEY=VALUE`: prompt variables from the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable

import yaml

from marianne_core.model.errors import InputError

Scalar = str | int | float | bool


def parse_variables(pairs: Iterable[str]) -> dict[str, Scalar]:
    """Read `KEY=VALUE` pairs; the last of a key counts. Raises InputError for anything else.

    A value is read as the YAML of a score would read it (`3` is a number, `yes` is true, `"3"` is
    text); what is not a plain scalar there stays text.
    """
    found: dict[str, Scalar] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.isidentifier():
            raise InputError(
                f"--var {pair!r} is not KEY=VALUE",
                hint="a key is a name that templates can use, for example --var who=Ada",
            )
        found[key] = _scalar(text)
    return found


def _scalar(text: str) -> Scalar:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return value if isinstance(value, str | int | float | bool) else text
