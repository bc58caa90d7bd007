"""The short way of `mzt list` and `mzt status`, which shells and scripts call over and over.

Click takes longer to import than these commands to answer. So their plain forms are read here;
whatever is not understood (help, abbreviations, mistakes) goes to click, which knows the same
options and calls the same functions. A test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus

_LIST_FLAGS = {"-a": "show_all", "--all": "show_all", "--json": "as_json"}
_LIST_VALUES = {"-s": "statuses", "--status": "statuses", "-l": "limit", "--limit": "limit"}
_STATUS_FLAGS = {"-a": "every_sheet", "--all": "every_sheet", "--json": "as_json"}
_STATUSES = frozenset(str(status) for status in JobStatus)


def fast_call(arguments: Sequence[str]) -> Callable[[], None] | None:
    """What a command line of `list` or `status` asks for, ready to be called; None = ask click."""
    if not arguments or arguments[0] not in ("list", "status"):
        return None
    listing = arguments[0] == "list"
    read = _read(
        arguments[1:],
        _LIST_FLAGS if listing else _STATUS_FLAGS,
        _LIST_VALUES if listing else {},
    )
    if read is None:
        return None
    flags, values, rest = read
    options = dict.fromkeys(flags, True)
    if listing:
        return None if rest else _list_call(options, values)
    if len(rest) > 1:
        return None
    from marianne_tui.cli.standing import show_status

    return partial(show_status, JobRef.parse(rest[0]) if rest else None, **options)


def _list_call(
    options: dict[str, bool], values: Sequence[tuple[str, str]]
) -> Callable[[], None] | None:
    from marianne_tui.cli.listing import DEFAULT_LIMIT, show_list

    statuses = [value for name, value in values if name == "statuses"]
    limits = [value for name, value in values if name == "limit"]
    limit = limits[-1] if limits else str(DEFAULT_LIMIT)
    if not _STATUSES.issuperset(statuses) or not limit.isdecimal() or not 0 < len(limit) < 10:
        return None
    if int(limit) < 1:
        return None
    return partial(show_list, statuses=statuses, limit=int(limit), **options)


def _read(
    arguments: Sequence[str], flags: Mapping[str, str], values: Mapping[str, str]
) -> tuple[list[str], list[tuple[str, str]], list[str]] | None:
    """Flags, options with their values, and the rest; None when anything is not understood."""
    found: list[str] = []
    given: list[tuple[str, str]] = []
    rest: list[str] = []
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        name, equals, value = argument.partition("=")
        if argument in flags:
            found.append(flags[argument])
        elif argument in values and waiting:
            given.append((values[argument], waiting.pop()))
        elif equals and name.startswith("--") and name in values:
            given.append((values[name], value))
        elif argument.startswith("-"):
            return None
        else:
            rest.append(argument)
    return found, given, rest
