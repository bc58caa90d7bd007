"""Parts of events that may be anything, and what is said of them in short."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from marianne_core.read.printable import TextCleaner, one_line

SHORT = 160
"""Characters of a command, a file name or a result that are shown."""
_READ = 4 * SHORT
"""Characters of a long text that are looked at for that."""

_MOST = 10**15
"""More than any count or cost can be."""

_MAIN_ARGUMENTS = (
    *("command", "commands", "cmd", "script"),
    *("file_path", "filePath", "absolute_path", "notebook_path"),
    *("pattern", "query", "path", "filename", "url", "description", "prompt"),
)
"""Arguments of tools that say best what a call does, the best first."""


def dict_of(value: object) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """A JSON array; an empty one for anything else."""
    return value if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A JSON text; "" for anything else."""
    return value if isinstance(value, str) else ""


def number_of(value: object) -> float:
    """A number that can be a count or a cost; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return value if math.isfinite(value) and 0 <= value < _MOST else 0


def count_of(value: object) -> int:
    """A whole number that can be a count; 0 for anything else."""
    if type(value) is int:  # most are, and an agent tells many
        return value if 0 <= value < _MOST else 0
    return int(number_of(value))


def short(value: object, limit: int = SHORT) -> str:
    """A value on one line of at most `limit` characters; other values than texts as JSON."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= _READ:
        return one_line(text, limit)
    # Half a credential at the cut is held back by the cleaner, and never asked for.
    return one_line(f"{TextCleaner().feed(text[:_READ])} ...", limit)


def call_words(name: object, arguments: object) -> str:
    """`[Write] out.txt`: a tool call with its file or command."""
    return f"[{short(name, 40) or 'tool'}] {argument_words(arguments)}".rstrip()


def argument_words(arguments: object) -> str:
    """The argument that says best what a call does; all of them where none is known."""
    given = dict_of(arguments)
    for key in _MAIN_ARGUMENTS:
        value = given.get(key)
        if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            value = "; ".join(value)
        if isinstance(value, str) and value:
            where = given.get("path") if key in ("pattern", "query") else None
            return short(value) + (f" in {short(where)}" if text_of(where) else "")
    return short(arguments) if arguments else ""


def result_words(value: object, *, failed: bool = False) -> str:
    """`  -> File created`: what a tool answered, in short."""
    said = short(value)
    if failed:
        return f"  -> failed: {said}" if said else "  -> failed"
    return f"  -> {said or 'done'}"


def usage_words(tokens_in: int, tokens_out: int, cost: float = 0) -> str:
    """`246 tokens in, 90 out, $0.0014`; "" where nothing was used."""
    words = [f"{tokens_in:,} tokens in, {tokens_out:,} out"] if tokens_in or tokens_out else []
    return ", ".join([*words, f"${cost:.4f}"] if cost else words)


def so_far(tokens_in: int, tokens_out: int, cost: float = 0) -> str:
    """`so far: 246 tokens in, 90 out`; "" where nothing was used."""
    words = usage_words(tokens_in, tokens_out, cost)
    return f"so far: {words}" if words else ""


def time_words(value: object) -> str:
    """Seconds since the epoch as `2026-01-01 00:00 UTC`; "" for what is no such time."""
    seconds = number_of(value)
    if not 0 < seconds < 1e11:
        return ""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
