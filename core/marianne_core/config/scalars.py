"""What a piece of plain YAML text means: a number, true, false, nothing, or itself."""

from __future__ import annotations

import math
import re
from typing import Final

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, bool | None]] = {
    spelling: value
    for word, value in (
        ("true", True),
        ("yes", True),
        ("on", True),
        ("false", False),
        ("no", False),
        ("off", False),
        ("null", None),
        ("~", None),
        ("", None),
    )
    for spelling in (word, word.capitalize(), word.upper())
}
_INT: Final = re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)\Z")
_FLOAT: Final = re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?\Z")
_SPECIAL: Final = {
    **{
        f"{sign}.{word}": float(f"{sign}inf")
        for sign in ("", "+", "-")
        for word in ("inf", "Inf", "INF")
    },
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_MAX_DIGITS: Final = 400

SCALAR_TAGS: Final = {
    "!": "text",
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:int": "an integer",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "null",
}
"""Tags that a person may write, and what they ask for."""


def plain_value(text: str) -> Scalar:
    """What unquoted text means. Raises ValueError for an integer of absurd length.

    Rules of YAML 1.1, as existing files expect (`yes` is true, `0660` is octal), without dates and
    base-60 numbers, which are text.
    """
    if not text:
        return None
    first = text[0]
    if first.isalpha() or first == "~":
        return _WORDS.get(text, text)
    if first in "+-.0123456789":
        number = _number(text)
        if number is not None:
            return number
    return text


def key_of(text: str) -> str | int:
    """What an unquoted key means: an integer, or the text itself."""
    if text[:1] in "+-0123456789" and _INT.match(text) and len(text) <= _MAX_DIGITS:
        value = _integer(text)
        if value is not None:
            return value
    return text


def tagged_value(text: str, tag: str) -> Scalar:
    """What text with one of `SCALAR_TAGS` means. Raises ValueError when it is not of that kind."""
    kind = SCALAR_TAGS[tag]
    if kind == "text":
        return text
    value = plain_value(text)
    if kind == "a number" and type(value) is int:
        return float(value)
    fits = {
        "an integer": type(value) is int,
        "a number": type(value) is float,
        "true or false": type(value) is bool,
        "null": value is None,
    }
    if not fits[kind]:
        raise ValueError(text)
    return value


def _number(text: str) -> int | float | None:
    if _INT.match(text):
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"an integer of {len(text)} digits is too long")
        return _integer(text)
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    return _SPECIAL.get(text)


def _integer(text: str) -> int | None:
    digits = text.replace("_", "").lower()
    sign = -1 if digits[0] == "-" else 1
    digits = digits.lstrip("+-")
    prefixes = {"0b": 2, "0o": 8, "0x": 16}
    base = prefixes.get(digits[:2])
    if base is not None:
        return sign * int(digits[2:], base) if digits[2:] else None
    if len(digits) > 1 and digits[0] == "0":
        return sign * int(digits, 8)
    return sign * int(digits) if digits else None
