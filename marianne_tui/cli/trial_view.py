"""A turn of `mzt instruments check` as people and programs read it."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from marianne_tui.cli.sanitize import one_line, shown
from marianne_tui.cli.style import ascii_only, duration, glyph

if TYPE_CHECKING:
    from marianne_tui.cli.trial import Result, Start

_ARGUMENT = 160
"""Characters of one argument that are shown."""
_LINES = 5
"""Lines at the end of an answer that are shown."""


def start_lines(start: Start) -> list[str]:
    """The command line as it will be started, and what its environment does not have."""
    words = " ".join(shlex.quote(one_line(word, _ARGUMENT)) for word in start.argv)
    given = "" if start.stdin_bytes is None else f" < prompt of {start.stdin_bytes} bytes"
    lines = [f"  command: {words}{given}"]
    if start.removed:
        lines.append(f"  environment: kept back by required_env: {_names(start.removed)}")
    if start.unset:
        lines.append(f"  environment: named by the profile and not set: {_names(start.unset)}")
    return lines


def result_lines(name: str, result: Result, *, costs: bool) -> list[str]:
    """What became of the turn; `costs`: the instrument talks to a model."""
    plain = ascii_only(sys.stdout)
    took = f" in {duration(result.seconds)}" if result.seconds is not None else ""
    attempt = result.attempt
    code = f"{attempt.code}: " if attempt is not None and attempt.code else ""
    if result.interrupted:
        head = f"{glyph('cancelled', ascii_only=plain)} {one_line(name)}: the turn was ended"
    elif result.good:
        head = f"{glyph('completed', ascii_only=plain)} {one_line(name)} works: it answered{took}"
    else:
        reason = one_line(result.reason.removeprefix(code))
        head = f"{glyph('failed', ascii_only=plain)} {one_line(name)} failed{took}: {code}{reason}"
    lines = [head]
    answer = [line for line in shown(result.answer).splitlines() if line.strip()]
    if answer and not result.interrupted:
        lines.append("  answer:" if result.good else "  output:")
        lines += [f"    | {one_line(line, _ARGUMENT)}" for line in answer[-_LINES:]]
    if attempt is not None and costs and not result.interrupted:
        lines.append(f"  tokens: {_tokens(attempt.input_tokens, attempt.output_tokens)}")
        lines.append(f"  cost: {_cost(attempt.cost_usd)}")
    return lines


def start_dict(start: Start) -> dict[str, Any]:
    """The start of a turn for `--json`."""
    return {
        "command": [shown(word) for word in start.argv],
        "stdin_bytes": start.stdin_bytes,
        "environment_removed": list(start.removed),
        "environment_unset": list(start.unset),
    }


def result_dict(result: Result) -> dict[str, Any]:
    """What became of a turn for `--json`."""
    attempt = result.attempt
    return {
        "ok": result.good,
        "interrupted": result.interrupted,
        "ended": attempt.ended if attempt else None,
        "code": attempt.code if attempt else None,
        "reason": shown(result.reason),
        "answer": shown(result.answer),
        "model": attempt.model if attempt else None,
        "exit_code": attempt.exit_code if attempt else None,
        "seconds": result.seconds,
        "input_tokens": attempt.input_tokens if attempt else None,
        "output_tokens": attempt.output_tokens if attempt else None,
        "cost_usd": attempt.cost_usd if attempt else None,
    }


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(map(one_line, names))


def _tokens(read: int | None, written: int | None) -> str:
    if read is None and written is None:
        return "not told"
    return f"{_number(read)} read, {_number(written)} written"


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _cost(cost: float | None) -> str:
    return "not told" if cost is None else f"${cost:.4f}"
