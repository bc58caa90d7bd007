"""Look-ups in parsed JSON by a dotted path: `a.b`, `items[0].text`, `stats.*.tokens`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import regex

from marianne_core.model.errors import InputError

WILDCARD = "*"

_PART = regex.compile(r"(?P<key>[^.\[\]]+)|\[(?P<index>-?\d{1,9}|\*)\]")
_INDEX = regex.compile(r"[0-9]{1,9}")

Step = str | int
"""A key, an index, or `WILDCARD` (each value of a mapping, each item of a list)."""


@lru_cache(maxsize=256)
def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a dotted path. Raises InputError for a path that cannot be read.

    A part that is a bare number (`items.0`) indexes a list, and is a key in a mapping.
    """
    steps: list[Step] = []
    at = 0
    while at < len(path):
        if path[at] == "." and steps and at + 1 < len(path) and path[at + 1] not in ".[":
            at += 1
        elif path[at] != "[" and steps:
            break
        part = _PART.match(path, at)
        if part is None:
            break
        index = part["index"]
        steps.append(part["key"] if index is None else WILDCARD if index == "*" else int(index))
        at = part.end()
    if at < len(path) or not steps:
        raise InputError(
            f"{path!r} is not a path into JSON (stopped at character {at + 1})",
            hint="write keys with dots between them, [n] for an item, * for all: a.b, items[0].text",
        )
    return tuple(steps)


def first_key(path: str) -> str | None:
    """The key that an object must have if the path leads anywhere in it; None where that is open."""
    step = parse_path(path)[0]
    return step if isinstance(step, str) and step != WILDCARD else None


def find_all(data: object, path: str) -> Iterator[object]:
    """Every value that `path` names in `data`, in document order; nothing where it leads nowhere.

    Raises InputError for a path that cannot be read.
    """
    steps = parse_path(path)
    if WILDCARD in steps:
        yield from _walk(data, steps, 0)
        return
    value = _straight(data, steps)
    if value is not _NOTHING:
        yield value


def find_first(data: object, path: str) -> object | None:
    """The first value that `path` names, or None."""
    steps = parse_path(path)
    if WILDCARD in steps:
        return next(_walk(data, steps, 0), None)
    value = _straight(data, steps)
    return None if value is _NOTHING else value


_NOTHING = object()


def _straight(data: object, steps: tuple[Step, ...]) -> object:
    """What a path without wildcards names; `_NOTHING` where it leads nowhere."""
    for step in steps:
        if isinstance(data, dict):
            data = data.get(str(step), _NOTHING)
        elif isinstance(data, list) and (isinstance(step, int) or _INDEX.fullmatch(step)):
            index = int(step)
            data = data[index] if -len(data) <= index < len(data) else _NOTHING
        else:
            return _NOTHING
    return data


def _walk(data: object, steps: tuple[Step, ...], at: int) -> Iterator[object]:
    if at == len(steps):
        yield data
        return
    step = steps[at]
    if isinstance(data, dict):
        if step == WILDCARD:
            for value in data.values():
                yield from _walk(value, steps, at + 1)
        elif str(step) in data:
            yield from _walk(data[str(step)], steps, at + 1)
    elif isinstance(data, list):
        if step == WILDCARD:
            for value in data:
                yield from _walk(value, steps, at + 1)
        elif isinstance(step, int) or _INDEX.fullmatch(step):
            index = int(step)
            if -len(data) <= index < len(data):
                yield from _walk(data[index], steps, at + 1)
