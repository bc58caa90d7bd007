"""Checking a score before it is run: the same for `mzt validate`, `mzt run` and a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marianne_core.config.effects import accepted_not_in_effect
from marianne_core.config.load import Score
from marianne_core.config.profiles import Profiles, load_profiles, profile_directories
from marianne_core.model.errors import InputError
from marianne_core.model.problem import Problem
from marianne_core.plan.reading import read_and_check
from marianne_core.plan.sheets import Plan
from marianne_core.run.workspace import check_workspace


@dataclass(frozen=True, slots=True)
class Checked:
    """A score that could be read, and all that was found about it."""

    score: Score
    plan: Plan | None
    """None when it cannot even be planned; then there are errors among the problems."""
    problems: list[Problem]
    """In the order of the file."""
    not_in_effect: list[Problem]
    """Fields that the score writes and that do nothing yet."""
    profiles: Profiles
    """The instruments that it was checked with."""


def find_profiles() -> Profiles:
    """The instrument profiles that a score can name from this folder."""
    return load_profiles(profile_directories(Path.home(), Path.cwd()))


def check(
    path: Path,
    *,
    workspace: Path | None = None,
    variables: Mapping[str, Any] | None = None,
    thinking_method: str | None = None,
    to_run: bool = False,
) -> Checked:
    """Read, check and plan a score; nothing is started or written.

    With `to_run` an instrument that is known but cannot be played here is an error.
    Raises InputError when it cannot be read, ScoreError when it does not fit the schema.
    """
    profiles = find_profiles()
    score, plan, problems = read_and_check(
        path,
        profiles,
        workspace=workspace,
        variables=variables,
        thinking_method=thinking_method,
        to_run=to_run,
    )
    return Checked(score, plan, problems, accepted_not_in_effect(score), profiles)


def check_request(plan: Plan, start_sheet: int | None) -> None:
    """What a run needs beyond a good score. Raises InputError."""
    check_workspace(plan.workspace)
    if start_sheet is not None and start_sheet > plan.total_sheets:
        raise InputError(
            f"there is no sheet {start_sheet} to start with",
            where=str(plan.path),
            hint=f"its sheets are 1 to {plan.total_sheets}",
        )
