"""Problems of files as people and programs read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from marianne_core.model.problem import Problem, Severity
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import counted, paint, wants_colour

_COLOUR = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


def print_problems(problems: Sequence[Problem], *, err: bool = False) -> None:
    """Print `file:line:column: severity CODE: message` and, below it, what to do."""
    colour = wants_colour(sys.stderr if err else sys.stdout)
    for problem in problems:
        where = f"{one_line(near_path(problem.where))}: " if problem.where else ""
        kind = paint(problem.severity, _COLOUR[problem.severity], colour)
        click.echo(f"{where}{kind} {problem.code}: {one_line(problem.message)}", err=err)
        if problem.hint:
            click.echo(f"  hint: {one_line(problem.hint)}", err=err)


def near_path(path: str) -> str:
    """A path below the current directory without that directory: easier to read and to click."""
    try:
        here = os.path.join(os.getcwd(), "")
    except FileNotFoundError:
        return path  # it was removed; nothing is below it
    return path.removeprefix(here) if path.startswith(here) and path != here else path


def problem_dict(problem: Problem) -> dict[str, Any]:
    """A problem for `--json`."""
    return {
        "severity": str(problem.severity),
        "code": problem.code,
        "message": problem.message,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "hint": problem.hint,
    }


def has_errors(problems: Sequence[Problem]) -> bool:
    """True when at least one problem refuses a run."""
    return any(problem.severity is Severity.ERROR for problem in problems)


def count_words(problems: Sequence[Problem]) -> str:
    """`2 errors, 1 warning, 3 notes`, or `no problems`."""
    names = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    numbers = {s: sum(p.severity is s for p in problems) for s in names}
    words = [counted(number, names[s]) for s, number in numbers.items() if number]
    return ", ".join(words) or "no problems"
