"""From a score's file to its plan, with everything that is wrong with it, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from marianne_core.config.checks import check_score
from marianne_core.config.load import Score, ScoreError, load_score
from marianne_core.config.mend import Mended, mend
from marianne_core.config.profiles import Profiles
from marianne_core.config.source import read_source
from marianne_core.model.problem import Problem
from marianne_core.plan.checks import checked_plan
from marianne_core.plan.sheets import Plan

_PLAYED: Final = frozenset({"instrument", "instruments", "backend"})
_CUT: Final = frozenset({"sheet", "movements"})
_TOLD: Final = _CUT | {"prompt", "cross_sheet", "spec", "techniques", "workspace", "name"}

_NEEDS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("V001", "V003", "V004", "V005", "V009", "V106", "V113"), frozenset()),
    # Taking dependencies out makes no circle.
    **dict.fromkeys(("V111", "V201", "V216"), frozenset()),
    **dict.fromkeys(("V103", "V210", "V211", "V213"), _PLAYED),
    **dict.fromkeys(("V101", "V107", "V108", "V109", "V112", "V115", "V118", "V119"), _TOLD),
    "V002": frozenset({"workspace", "name"}),
    "V114": _CUT,
    "V202": frozenset({"prompt"}),
    "V203": frozenset({"validations"}),
    "V204": _PLAYED,
    "V206": _CUT,
    "V208": frozenset({"prompt"}),
    "V212": _CUT | _PLAYED,
    "V214": frozenset({"prompt"}),
    "V215": _PLAYED | _CUT,
    "V301": frozenset({"techniques", "workspace"}),
    "V304": frozenset({"code_execution"}),
}
"""What checks look at beside the place that they name: blocks of the score by code. Where one of
them is not as it was meant, what the check says may be wrong. Codes that are not here look at all."""


def read_and_check(
    path: Path,
    profiles: Profiles,
    *,
    workspace: Path | None = None,
    variables: Mapping[str, Any] | None = None,
    thinking_method: str | None = None,
    to_run: bool = False,
) -> tuple[Score, Plan | None, list[Problem]]:
    """Read, check and plan a score; nothing is started or written. Takes what `checked_plan` takes.

    With `to_run` an instrument that is known but cannot be played here is an error. The problems
    are in the order of the file, each once. Raises InputError when the file cannot be read, and
    ScoreError when it does not fit the schema: with all that does not, and all else that is wrong
    with the parts that do.
    """

    def look(score: Score) -> tuple[Plan | None, list[Problem]]:
        plan, found = checked_plan(
            score,
            profiles,
            workspace=workspace,
            variables=variables,
            thinking_method=thinking_method,
        )
        checked = check_score(score, profiles, workspace=workspace, to_run=to_run)
        return plan, _in_order([*checked, *found])

    try:
        score = load_score(path)
    except ScoreError as error:
        mended = mend(read_source(path))
        if mended.score is None:
            raise
        _, found = look(mended.score)
        beside = [problem for problem in found if _stands(problem, mended)]
        raise ScoreError(_in_order([*error.problems, *mended.problems, *beside])) from None
    return score, *look(score)


def _stands(problem: Problem, mended: Mended) -> bool:
    """Whether a problem of what is left of a score is one of the score as it was meant."""
    needs = _NEEDS.get(problem.code)
    return needs is not None and not needs & mended.spoiled


def _in_order(problems: list[Problem]) -> list[Problem]:
    once = dict.fromkeys(problems)
    return sorted(once, key=lambda problem: (problem.line or 0, problem.column or 0))
