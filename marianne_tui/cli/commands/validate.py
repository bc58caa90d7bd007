"""`mzt validate SCORE`: everything that is wrong with a score, and what it would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from marianne_core.config.read import FileError
from marianne_core.model.errors import EXIT_FAILED, EXIT_INPUT, EXIT_OK, InputError
from marianne_core.model.problem import Problem, Severity
from marianne_tui.cli.checking import Checked, check
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import SCORE, json_option, var_option
from marianne_tui.cli.planview import head_line, level_lines, plan_dict, prompt_lines
from marianne_tui.cli.problems import (
    count_words,
    has_errors,
    near_path,
    print_problems,
    problem_dict,
)
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.variables import parse_variables


@click.command(
    "validate",
    help="Check a score and show its plan. Exit status 0, 1 (errors), 2 (unreadable or not a score).",
)
@click.argument("score", type=SCORE)
@click.option("-v", "--verbose", is_flag=True, help="Show the whole prompt of every sheet.")
@var_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, score: str, verbose: bool, pairs: tuple[str, ...], as_json: bool
) -> None:
    """Print all problems at once, then levels, a preview, and fields without effect."""
    variables = parse_variables(pairs)
    try:
        found = check(Path(score), variables=variables)
    except InputError as error:
        _unreadable(score, error, as_json)
        ctx.exit(EXIT_INPUT)
    if as_json:
        print_json(_as_dict(found))
    else:
        _print(found, verbose)
    ctx.exit(EXIT_FAILED if has_errors(found.problems) else EXIT_OK)


def _print(found: Checked, verbose: bool) -> None:
    print_problems(found.problems)
    click.echo(f"{one_line(near_path(str(found.score.path)))}: {count_words(found.problems)}")
    plan = found.plan
    if plan is not None:
        lines = ["", head_line(plan), *level_lines(plan)]
        for num in range(1, plan.total_sheets + 1) if verbose else (1,):
            lines += ["", *prompt_lines(plan, num, whole=verbose)]
        click.echo("\n".join(lines))
    if found.not_in_effect:
        click.echo("\naccepted, not yet in effect")
        for problem in found.not_in_effect:
            click.echo(f"  line {problem.line}: {one_line(problem.message)}")


def _as_dict(found: Checked) -> dict[str, Any]:
    return {
        "file": str(found.score.path),
        "valid": not has_errors(found.problems),
        "problems": [problem_dict(problem) for problem in found.problems],
        "not_in_effect": [problem_dict(problem) for problem in found.not_in_effect],
        "plan": None if found.plan is None else plan_dict(found.plan, sheets=False),
    }


def _unreadable(score: str, error: InputError, as_json: bool) -> None:
    if isinstance(error, FileError):
        problems = error.problems
    else:
        problems = [Problem(Severity.ERROR, "V000", error.what, file=error.where, hint=error.hint)]
    if as_json:
        document = {
            "file": score,
            "valid": False,
            "problems": [problem_dict(problem) for problem in problems],
            "not_in_effect": [],
            "plan": None,
        }
        print_json(document)
        return
    print_problems(problems, err=True)
