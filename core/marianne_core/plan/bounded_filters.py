"""Jinja's filters and tests, and methods of texts, with a measure before and after each."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from types import GeneratorType
from typing import Any

from jinja2 import Environment, pass_environment
from jinja2.filters import make_attrgetter

from marianne_core.plan.bounds import (
    MAX_CHARS,
    NODE,
    TEXT,
    BoundsError,
    Budget,
    budget,
    drawn,
    is_container,
    room_for,
    text_of,
)

_WIDE = re.compile(r"%[-+ #0]*(?:\d{6,}|\*)|[:.][^{}]*(?:\d{6,}|\{)")

_TAKING = frozenset({"first", "last", "length", "count", "default", "d", "attr", "random"})
"""Filters that cost the same for every size of what they are given."""
_DRAWING = frozenset({"map", "select", "reject", "selectattr", "rejectattr", "items", "reverse"})
"""Filters that take item after item, and only those that are asked for."""
_OF_LISTS = _DRAWING | {"list", "sort", "batch", "slice", "unique", "groupby", "dictsort", "sum"}
_OF_LISTS |= {"min", "max", "join"}
"""Filters that make no text of what they are given."""
_COSTS = {
    **{"urlize": 200, "wordwrap": 100, "title": 50, "pprint": 50, "striptags": 25},
    **{"wordcount": 25, "urlencode": 15, "tojson": 5},
    **{"sort": 100, "groupby": 100, "dictsort": 100, "unique": 50, "batch": 20, "slice": 20},
}
"""How much slower than a copy a filter is, about."""
_COMPARING = (
    *("eq", "==", "equalto", "ne", "!=", "lt", "<", "lessthan", "le", "<=", "gt", ">"),
    *("greaterthan", "ge", ">=", "in", "lower", "upper"),
)
"""Tests that look at all of what they are given."""
_LONGEST_WORD = 1000
"""Characters of a text that a filter puts in many times."""


def bounded_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The filters of an environment, each with its bounds."""
    replaced = {**filters, "join": _join}
    return {
        name: function if name in _TAKING else _bounded(name, function)
        for name, function in replaced.items()
    }


def bounded_tests(tests: Mapping[str, Any]) -> dict[str, Any]:
    """Those tests of an environment that need bounds, with them."""
    return {name: _bounded(name, tests[name]) for name in _COMPARING}


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    # Some are given their environment or context first.
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    costs = 0 if name in _DRAWING or name == "join" else _COSTS.get(name, 2)
    before = _BEFORE.get(name)
    of_text = bool(costs) and name not in _OF_LISTS

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        spent = budget()
        if before is not None:
            before(spent, *args[first:], **kwargs)
        if costs:
            given = args[first:] if first else args
            for value in (*given, *kwargs.values()) if kwargs else given:
                if isinstance(value, str):
                    spent.spend(len(value) * costs)
                elif is_container(value):
                    if of_text:
                        room_for(spent.extent(value))  # it may be made a text
                    spent.handle(value, costs)
        result = function(*args, **kwargs)
        if isinstance(result, GeneratorType):
            return drawn(result)
        return spent.made(result)

    return run


@pass_environment
def _join(environment: Environment, value: Any, d: Any = "", attribute: Any = None) -> str:
    """Join texts. Jinja's own, that stops before there is too much."""
    if attribute is not None:
        value = map(make_attrgetter(environment, attribute), value)
    return join_texts(d, map(text_of, value))


def join_texts(separator: Any, items: Any) -> str:
    """`separator.join(items)`, that stops before there is too much."""
    between = text_of(separator)
    size, parts = -len(between), []
    for item in items:
        size += len(item) + len(between)
        if size > MAX_CHARS:
            room_for(size)
        parts.append(item)
    budget().spend(len(parts) * NODE)
    return between.join(parts)


# --- what multiplies: measured before -----------------------------------------------------------


def _replaced(spent: Budget, text: Any, old: Any = "", new: Any = "", *_: Any, **kw: Any) -> None:
    text, old = text_of(text), text_of(kw.get("old", old))
    spent.spend(len(text))
    room_for(len(text) + text.count(old) * len(text_of(kw.get("new", new))))


def _indented(_: Budget, text: Any, width: Any = 4, *args: Any, **__: Any) -> None:
    text = text_of(text)
    wide = len(width) if isinstance(width, str) else int(width)
    room_for(len(text) + (text.count("\n") + 1) * wide)


def _wrapped(_: Budget, text: Any, *args: Any, **kwargs: Any) -> None:
    _short_words(_, None, *args, **kwargs)
    between = kwargs.get("wrapstring") or (args[2] if len(args) > 2 else None) or "\n"
    # At worst, every character gets a line of its own.
    room_for(len(text_of(text)) * len(text_of(between)))


def _short_words(_: Budget, text: Any, *args: Any, **kwargs: Any) -> None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, TEXT) and len(value) > _LONGEST_WORD:
            raise BoundsError("a text that a filter puts in many times is too long")


def _formatted(_: Budget, text: Any, *args: Any, **kwargs: Any) -> None:
    percent(text, kwargs or args)


def _short_indent(spent: Budget, value: Any, indent: Any = None, **_: Any) -> None:
    if isinstance(indent, int) and abs(indent) > _LONGEST_WORD:
        raise BoundsError(f"{indent} is too large a size")
    # The deeper a value, the wider its lines; it has at most as many as characters.
    room_for(spent.extent(value) * max(1, indent if isinstance(indent, int) else 1))


def _precise(_: Budget, value: Any, precision: Any = 0, *args: Any, **__: Any) -> None:
    if isinstance(precision, int) and abs(precision) > _LONGEST_WORD:
        raise BoundsError(f"{precision} is too large a precision")


def _of_numbers(_: Budget, value: Any, *args: Any, **kwargs: Any) -> None:
    small(*args, *kwargs.values())


def _added(spent: Budget, items: Any, attribute: Any = None, start: Any = 0) -> None:
    # Lists are copied again for each that is added.
    if isinstance(start, list | tuple) and isinstance(items, list | tuple):
        spent.spend(len(items) * sum(len(i) for i in items if isinstance(i, list | tuple)))


_BEFORE: dict[str, Callable[..., None]] = {
    "replace": _replaced,
    "indent": _indented,
    "wordwrap": _wrapped,
    "urlize": _short_words,
    "format": _formatted,
    "tojson": _short_indent,
    "round": _precise,
    "center": _of_numbers,
    "batch": _of_numbers,
    "slice": _of_numbers,
    "sum": _added,
}


def check_method(
    owner: str | bytes, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Refuse a call of a text's method that would make an immense text."""
    small(*args, *kwargs.values())
    spent = budget()
    spent.handle(owner)
    for value in args:
        spent.handle(value)
    if name == "join" and args and isinstance(args[0], list):
        room_for(spent.extent(args[0]) + len(args[0]) * len(owner))
    elif name == "replace" and len(args) > 1 and isinstance(args[0], type(owner)):
        room_for(len(owner) + owner.count(args[0]) * len(args[1]))  # type: ignore[arg-type]
    elif name == "expandtabs":
        size = kwargs.get("tabsize", args[0] if args else 8)
        tab = "\t" if isinstance(owner, str) else b"\t"
        room_for(len(owner) + owner.count(tab) * int(size))  # type: ignore[arg-type]
    elif name == "translate" and args and isinstance(args[0], Mapping):
        longest = max((len(v) for v in args[0].values() if isinstance(v, str)), default=1)
        room_for(len(owner) * longest)
    elif name in ("format", "format_map"):
        narrow(owner)
        largest = max(map(spent.extent, (*args, *kwargs.values())), default=0)
        room_for(len(owner) + owner.count("{") * largest)  # type: ignore[arg-type]


def percent(text: Any, values: Any) -> None:
    """Refuse `text % values` if that would make an immense text."""
    narrow(text)
    if isinstance(text, TEXT):
        times = text.count("%(" if isinstance(text, str) else b"%(")  # type: ignore[arg-type]
        room_for(len(text) + budget().extent(values) * max(1, times))


def small(*values: Any) -> None:
    """Refuse numbers that ask for a text of an unreasonable size."""
    for value in values:
        if isinstance(value, int) and abs(value) > MAX_CHARS:
            raise BoundsError(f"{value} is too large a size")


def narrow(text: Any) -> None:
    """Refuse format strings that ask for an unreasonable width: `%9999999d`, `{:>9999999}`."""
    if isinstance(text, str) and ("%" in text or "{" in text) and _WIDE.search(text):
        raise BoundsError("a width in a format string is too large")
