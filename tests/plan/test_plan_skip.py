from __future__ import annotations

from collections.abc import Callable

import pytest

from marianne_core.model.problem import Problem
from marianne_core.model.states import SheetStatus
from marianne_core.plan.expressions import ExpressionError
from marianne_core.plan.sheets import Plan
from marianne_core.plan.skip import JobFacts, SheetFacts, SheetTable, parse_skip

JOB = JobFacts("job", 2, "name", 3, 3, "/ws", {"mode": "quick"})


def facts(num: int) -> SheetFacts:
    return {
        1: SheetFacts(1, 1, 1, SheetStatus.COMPLETED, 2, 0, 100.0, "cli", lambda: "NO WORK left"),
        2: SheetFacts(2, 2, 1, SheetStatus.FAILED, 4, 3, 50.0, "cli"),
        3: SheetFacts(3, 3, 1),
    }[num]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sheets[1].status == 'completed'", True),
        ("sheets.get(1) and sheets[1].validation_passed", True),
        ("sheets[2].validation_passed", False),
        ("sheets[3].validation_passed is None", True),
        ("'NO WORK' in sheets[1].output", True),
        ("any(s.attempts > 3 for s in sheets.values())", True),
        ("all(sheets[n].status == 'failed' for n in [2])", True),
        ("len([s for s in sheets.values() if s.status == 'pending']) == 1", True),
        ("sheets[2].exit_code == 3 and job.run == 2", True),
        ("job.variables.mode == 'quick' and job.total_sheets == len(sheets)", True),
        ("sheets.get(9) is none", True),
        ("3 in sheets and sheets[3].stage == 3", True),
    ],
)
def test_what_expressions_see(text: str, expected: bool) -> None:
    test = parse_skip(text)
    assert test.problems(3) == []
    assert test.holds(SheetTable(3, facts), JOB) is expected


@pytest.mark.parametrize(
    "text",
    ["sheets[9].status == 1", "shets[1]", "sheets[1].stats", "job.nobody", "stage == 1"],
)
def test_what_is_certain_to_go_wrong_is_found_before(text: str) -> None:
    assert len(parse_skip(text).problems(3)) == 1
    with pytest.raises(ExpressionError):
        parse_skip(text).holds(SheetTable(3, facts), JOB)


@pytest.mark.parametrize(
    "text", ["sheets[1].read_output()", "sheets[1]._x", "job.__class__", "sheets._facts(1)"]
)
def test_nothing_else_can_be_reached(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_skip(text).holds(SheetTable(3, facts), JOB)


def test_keys_are_stages(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        sheet:
          size: 1
          total_items: 3
          fan_out: {2: 3}
          skip_when: {2: "sheets[1].exit_code == 0"}
        """
    )
    assert [bool(plan.skip_condition(n)) for n in range(1, 6)] == [False, True, True, True, False]


def test_broken_expressions_refuse_the_score(problems_of: Callable[..., list[Problem]]) -> None:
    found = problems_of(
        'sheet: {size: 1, total_items: 2, skip_when: {1: "sheets[1", 2: "sheets[7].status"}}'
    )
    assert [(p.code, p.severity) for p in found] == [("V112", "error")] * 2
    assert "there is no sheet 7" in found[1].message


def test_keys_of_an_expanded_score_are_sheets(plan_of: Callable[..., Plan]) -> None:
    stage_map = ", ".join(f"{n}: {{stage: 2, instance: {n - 1}, fan_count: 3}}" for n in (2, 3, 4))
    skips = "skip_when: {3: 'true'}, skip_when_command: {2: {command: 'false'}}"
    expanded = plan_of(
        f"sheet: {{size: 1, total_items: 5, {skips}, fan_out_stage_map: {{{stage_map}}}}}"
    )
    assert [expanded.skip_condition(n) for n in range(1, 6)] == [None, None, "true", None, None]
    assert [n for n in range(1, 6) if expanded.skip_command(n)] == [2]
    fanned = plan_of(f"sheet: {{size: 1, total_items: 3, {skips}, fan_out: {{2: 3}}}}")
    assert [fanned.skip_condition(n) for n in range(1, 6)] == [None, None, None, None, "true"]
    assert [n for n in range(1, 6) if fanned.skip_command(n)] == [2, 3, 4]
