from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.config.score.validation import ValidationRule
from marianne_core.model.errors import InputError
from marianne_core.plan import rules as rules_module
from marianne_core.plan.conditions import parse_condition
from marianne_core.plan.recent import Recent
from marianne_core.plan.rule_index import RuleIndex
from marianne_core.plan.rules import BoundRule, rules_for
from marianne_core.plan.sheets import Plan

CONDITIONS = [
    "sheet_num == 3",
    "2 == sheet_num",
    "sheet_num in [1, 4]",
    "sheet_num in (2,)",
    "sheet_num in []",
    "stage == 2",
    "movement == 1 and instance == 2",
    "stage == 2 and sheet_num in [3, 4]",
    "(sheet_num == 5 and stage == 2) and instance > 1",
    "stage in [1, 2] and sheet_num != 2",
    "sheet_num == 1 or stage == 2",
    "not sheet_num == 2",
    "sheet_num >= 3",
    "sheet_num == 3.0",
    "sheet_num == true",
    "1 < sheet_num == 3",
    "sheet_num == instance",
    "instance == 1",
    "true",
]


def rule_of(condition: str | None, sheet: int | None = None) -> ValidationRule:
    return ValidationRule.model_validate(
        {"type": "file_exists", "path": "x", "condition": condition, "sheet": sheet}
    )


@settings(deadline=None, max_examples=200)
@given(
    written=st.lists(
        st.tuples(
            st.sampled_from([None, *CONDITIONS]),
            st.one_of(st.none(), st.integers(min_value=1, max_value=6)),
        ),
        max_size=8,
    ),
    num=st.integers(min_value=1, max_value=6),
    stage=st.integers(min_value=1, max_value=3),
    instance=st.integers(min_value=1, max_value=3),
)
def test_no_rule_that_applies_is_left_out(
    written: list[tuple[str | None, int | None]], num: int, stage: int, instance: int
) -> None:
    rules = [rule_of(condition, sheet) for condition, sheet in written]
    conditions = {text: parse_condition(text) for text, _ in written if text is not None}
    variables = {"sheet_num": num, "stage": stage, "movement": stage, "instance": instance}
    applying = [
        place
        for place, (text, sheet) in enumerate(written)
        if (sheet is None or sheet == num) and (text is None or conditions[text].applies(variables))
    ]
    found = list(RuleIndex(rules, conditions).candidates(num, stage))
    assert found == sorted(set(found))
    assert set(applying) <= set(found)


def test_only_the_rules_of_a_sheet_are_asked(
    plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        *(
            f"- {{type: file_exists, path: a{n}, condition: sheet_num == {n}}}"
            for n in range(1, 90)
        ),
        *(f"- {{type: file_exists, path: b{n}, sheet: {n}}}" for n in range(1, 90)),
        *(
            f"- {{type: file_exists, path: c{n}, condition: 'stage == {n} and instance == 1'}}"
            for n in range(1, 90)
        ),
        "- {type: file_exists, path: all}",
    ]
    text = "sheet: {size: 1, total_items: 90}\nvalidations:\n" + "\n".join(lines)
    plan = plan_of(text)
    asked: list[str] = []
    plain = rules_module.applies

    def applies(plan: Plan, rule: ValidationRule, variables: dict[str, object]) -> bool:
        asked.append(rule.path or "")
        return plain(plan, rule, variables)

    monkeypatch.setattr(rules_module, "applies", applies)
    assert [rule.path.name for rule in rules_for(plan, 7) if rule.path] == ["a7", "b7", "c7", "all"]
    assert asked == ["a7", "b7", "c7", "all"]


def test_prompt_baseline_and_validation_share_one_binding(
    plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("validations: [{type: file_exists, path: 'x-{sheet_num}'}]")
    bound: list[int] = []
    plain = rules_module.bind

    def bind(plan: Plan, index: int, rule: ValidationRule, variables: Any) -> BoundRule:
        bound.append(index)
        return plain(plan, index, rule, variables)

    monkeypatch.setattr(rules_module, "bind", bind)
    first = rules_for(plan, 2)
    assert rules_for(plan, 2) is first
    assert len(bound) == 1
    assert rules_for(plan, 3) != first


def test_a_rule_that_cannot_be_bound_says_so_every_time(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        prompt: {template: work, variables: {lang: de}}
        validations:
        - {type: file_exists, path: x, condition: "stage == 2 and lang > 3"}
        """
    )
    assert rules_for(plan, 1) == ()  # as `and` would: the rest is not asked
    for _ in range(2):
        with pytest.raises(InputError, match="cannot be worked out"):
            rules_for(plan, 2)


def test_a_plan_remembers_a_bounded_number_of_sheets() -> None:
    recent = Recent[str](2)
    worked: list[int] = []

    def value(num: int) -> str:
        def work_out() -> str:
            worked.append(num)
            return str(num)

        return recent.get(num, work_out)

    assert [value(n) for n in (1, 2, 1, 3, 2, 3, 1)] == ["1", "2", "1", "3", "2", "3", "1"]
    assert worked == [1, 2, 3, 1]
