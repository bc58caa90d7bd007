"""Say in a person's words what pydantic found wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from marianne_core.config.base import BrokenRule
from marianne_core.config.fields import (
    field_docs,
    fields_of,
    first_sentence,
    model_at,
    walk_fields,
)

Path = tuple[str | int, ...]

_FEW: Final = 14
"""Blocks of at most so many keys are listed when an unknown key looks like none of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, not yet tied to a line."""

    path: Path
    """Keys that lead to it."""
    message: str
    hint: str = ""
    code: str = "V000"
    """V000 is "does not fit the schema"."""
    at_key: bool = False
    """The key itself is wrong, not its value."""


def explain(details: ErrorDetails, model: type[BaseModel], data: Any) -> list[Finding]:
    """One complaint of pydantic as findings; a validator may report several at once."""
    path: Path = tuple(details["loc"])
    kind = details["type"]
    context: Mapping[str, Any] = details.get("ctx", {})
    if kind == "broken_rule":
        rules: Iterable[BrokenRule] = context["rules"]
        return [_broken(rule, path) for rule in rules]
    if path and path[-1] == "[key]":
        return [_wrong_key(path[:-1], kind)]
    if kind == "extra_forbidden":
        return [_unknown_key(path, model)]
    if kind == "missing":
        return [_missing(path, model)]
    return [_wrong_value(path, kind, context, details["input"], model)]


def dotted(path: Iterable[str | int]) -> str:
    """A path as people write it: `sheet.fan_out.2`, `validations[0].path`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def near(word: str, words: Iterable[str]) -> list[str]:
    """The names that look most like `word`, best first, at most three.

    A name that `word` begins counts, too: `on` is like `on_success`.
    """
    shape = word.lower().replace("-", "_")
    by_shape = {name.lower().replace("-", "_"): name for name in words}
    found = difflib.get_close_matches(shape, by_shape, n=3, cutoff=0.6)
    found += [name for name in sorted(by_shape) if name.startswith(f"{shape}_")]
    return [by_shape[name] for name in dict.fromkeys(found)][:3]


def _broken(rule: BrokenRule, path: Path) -> Finding:
    return Finding((*path, *rule.at), rule.message, rule.hint, rule.code)


def _wrong_key(path: Path, kind: str) -> Finding:
    *above, key = path
    message = f"the key {str(key)!r} of `{dotted(above)}` must be "
    if kind == "string_type":
        return Finding(path, f"{message}text", f'put it in quotes: "{key}"', at_key=True)
    message += "a whole number" + (" of at least 1" if kind.startswith("greater") else "")
    return Finding(path, message, at_key=True)


def _unknown_key(path: Path, model: type[BaseModel]) -> Finding:
    *above, key = path
    block = model_at(model, tuple(above))
    name = str(key)
    message = f"unknown key `{name}`"
    if above:
        message += f" in `{dotted(above)}`"
    docs = field_docs(block) if block else {}
    close = near(name, docs)
    elsewhere = homes(name, model)
    hint = ""
    if close and (not elsewhere or close[0].replace("-", "_") == name.replace("-", "_")):
        hint = f"did you mean `{close[0]}`? {docs[close[0]]}".strip()
    elif elsewhere:
        hint = f"`{name}` belongs to {' or '.join(f'`{home}`' for home in elsewhere[:3])}"
    elif close:
        hint = f"did you mean `{close[0]}`? {docs[close[0]]}".strip()
    elif block is not None and len(block.model_fields) <= _FEW:
        hint = "known keys: " + ", ".join(field.key for field in fields_of(block))
    else:
        hint = "no known key is like it; `mzt fields` lists them all"
    return Finding(path, message, hint, at_key=True)


def homes(key: str, model: type[BaseModel]) -> list[str]:
    """Blocks in which `key` is a field, those nearest to the top first, as dotted paths."""
    found = {field.path.rpartition(".")[0] for field in walk_fields(model) if field.key == key}
    found = {home for home in found if home and home.partition(".")[0] != "backend"}
    return sorted(found, key=lambda home: (home != "instrument_config", home.count("."), home))


def _missing(path: Path, model: type[BaseModel]) -> Finding:
    *above, key = path
    block = model_at(model, tuple(above))
    doc = field_docs(block).get(str(key), "") if block else ""
    where = f" in `{dotted(above)}`" if above else ""
    return Finding(path, f"`{key}` is missing{where}", first_sentence(doc))


_WANTED: Final = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "path": "a path",
    "set": "a list",
    "finite": "a finite number",
    "frozen": "a list",
}
_BOUNDS: Final = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _wrong_value(
    path: Path, kind: str, context: Mapping[str, Any], value: Any, model: type[BaseModel]
) -> Finding:
    name = f"`{dotted(path)}`" if path else "the file"
    hint = _doc(path, model)
    is_ = _describe(value)
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return Finding(path, f"{name} must be {words} {context[key]:g}, not {is_}", hint)
    if kind in ("literal_error", "enum"):
        choices = str(context.get("expected", "")).replace("'", "")
        close = near(str(value), choices.replace(" or ", ", ").split(", "))
        hint = f"did you mean `{close[0]}`?" if close else hint
        return Finding(path, f"{name} must be {choices}, not {is_}", hint)
    if kind == "string_too_short":
        return Finding(path, f"{name} must not be empty", hint)
    if kind == "string_too_long":
        limit = context.get("max_length")
        return Finding(path, f"{name} is longer than {limit} characters", hint)
    if kind == "too_short":
        return Finding(path, f"{name} needs at least {context.get('min_length')} entries", hint)
    if kind == "string_pattern_mismatch":
        pattern = context.get("pattern")
        return Finding(path, f"{name} must look like {pattern}, not {is_}", hint)
    wanted = "a number" if kind == "bool_as_number" else _WANTED.get(kind.partition("_")[0])
    if wanted is None:
        return Finding(path, f"{name}: {context.get('error', kind)}", hint)
    if wanted == "text" and isinstance(value, int | float):
        hint = f'put it in quotes: "{is_}"'
    if wanted == "a list" and isinstance(value, str | int | float):
        hint = f"write [{value}]"
    if value is None:
        return Finding(path, f"{name} is empty; it must be {wanted}", "fill it, or remove the line")
    return Finding(path, f"{name} must be {wanted}, not {is_}", hint)


def _doc(path: Path, model: type[BaseModel]) -> str:
    for length in range(len(path), 0, -1):
        block = model_at(model, path[: length - 1])
        if block is not None:
            return first_sentence(field_docs(block).get(str(path[length - 1]), ""))
    return ""


def _describe(value: Any) -> str:
    if value is True or value is False:
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple | set):
        return "a list"
    return str(value)
