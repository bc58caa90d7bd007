"""Parameters that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from marianne_core.model.runs import JobRef

F = TypeVar("F", bound=Callable[..., Any])


class JobParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on only
    """JOB or JOB#RUN; a wrong form is an InputError. Shells complete the ids of known jobs."""

    name = "job"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> JobRef:
        return value if isinstance(value, JobRef) else JobRef.parse(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from marianne_tui.cli.reading import known_job_ids

        return [CompletionItem(j) for j in known_job_ids() if j.startswith(incomplete)]


JOB = JobParam()


class ScoreParam(click.Path):
    """A score file: its loader tells what is wrong with it, better than click would. Shells complete
    YAML files and folders."""

    def __init__(self) -> None:
        super().__init__(dir_okay=True, exists=False, path_type=str)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        # The script of `mzt completion` knows this type.
        return [CompletionItem(incomplete, type="score")]


SCORE = ScoreParam()


COUNT = click.IntRange(min=1, max=10**9)
"""Numbers of things, from 1; the store could not hold much larger ones."""


def json_option(function: F) -> F:
    """`--json`: one JSON document instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def sheet_option(text: str) -> Callable[[F], F]:
    """`--sheet N`, from 1."""
    return click.option("-b", "--sheet", type=COUNT, default=None, metavar="N", help=text)


def var_option(function: F) -> F:
    """`--var KEY=VALUE`, as often as wanted."""
    return click.option(
        "--var",
        "pairs",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set a prompt variable (may be given several times).",
    )(function)
