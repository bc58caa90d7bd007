from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.model.problem import Problem
from marianne_core.plan.conditions import parse_condition
from marianne_core.plan.expressions import MAX_LENGTH, ExpressionError, parse
from marianne_core.plan.rules import rules_for
from marianne_core.plan.sheets import Plan

VARIABLES: dict[str, Any] = {
    "stage": 2,
    "instance": 3,
    "sheet_num": 5,
    "ratio": 0.5,
    "lang": "de",
    "flag": False,
    "items": [1, 2, 3],
    "team": {"lead": "ada", 1: "one", "size": {"max": 4}},
    "nothing": None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stage == 2", True),
        ("stage == 2 and instance == 3", True),
        ("stage == 2 and instance == 1", False),
        ("sheet_num >= 4", True),
        ("stage == 1 or lang == 'de'", True),
        ("not (stage == 1 or sheet_num > 9)", True),
        ("instance in [1, 3]", True),
        ("instance not in [1, 3]", False),
        ("1 < stage < 3", True),
        ('lang in ("en", "de")', True),
        ("ratio < 0.75", True),
        ("flag", False),
        ("flag == false", True),
        ("nothing is none", True),
        ("team.lead == 'ada'", True),
        ("team['size'].max >= 4", True),
        ("team[1] == 'one'", True),
        ("items[-1] == 3 and len(items) == 3", True),
        ("'e' in lang", True),
        ("any(x > 2 for x in items)", True),
        ("all(stage == 1 for stage in [1, 1]) and stage == 2", True),
        ("any(stage == 1 for stage in [1, 2]) and stage == 2", True),
        ("lang.upper().startswith('D')", True),
        ("sheet_num % 2 == 1", True),
        ("team.get('missing', 7) == 7", True),
        ("  stage\n== 2 ", True),
    ],
)
def test_what_conditions_mean(text: str, expected: bool) -> None:
    assert parse_condition(text).applies(VARIABLES) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "stage = 2",
        "stage == 2 &&instance == 1",
        "stage ==",
        "(stage == 2",
        "import os",
        "stage == 2; 1",
        "__import__('os')",
        "open('/etc/passwd')",
        "team.__class__",
        "(lambda: 1)()",
        "[x for x in items for y in items]",
        "stage ** 999",
        "stage << 3",
        "~stage",
        "f'{stage}'",
        "{**team}",
        "items[0:2]",
        "(x := 3)",
        "print(1)",
        "lang.format(1)",
        "len(*items)",
        "b'x' == lang",
        "1 + " * 3000 + "1",
        "(" * 150 + "1" + ")" * 150 + " ==",
        "-" * (MAX_LENGTH - 1) + "1",
        "\0",
        "lang == 'a\\d'",
    ],
)
def test_what_does_not_parse_is_an_error(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_condition(text).applies(VARIABLES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stagee == 2", "unknown name 'stagee'"),
        ("stage < lang", "not supported"),
        ("items[9] == 1", "index out of range"),
        ("team.nobody == 1", "nobody"),
        ("stage / 0 == 1", "division by zero"),
        ("lang * 3 == 'x'", "needs numbers"),
        ("[x for x in items] and 'a' in stage", "not iterable"),
    ],
)
def test_what_cannot_be_worked_out_is_an_error(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text).applies(VARIABLES)
    assert words in caught.value.message


def test_the_work_of_an_expression_is_bounded() -> None:
    text = "any(any(any(x + y + z < 0 for x in items) for y in items) for z in items)"
    with pytest.raises(ExpressionError, match="too many steps"):
        parse(text).value({"items": list(range(200))})


def test_unknown_names_are_found_without_evaluation() -> None:
    condition = parse_condition("stage == 1 and stge == 2 or any(n == other for n in items)")
    errors = condition.unknown({"stage", "items"})
    assert {e.message for e in errors} == {"unknown name 'stge'", "unknown name 'other'"}
    [typo] = [e for e in errors if "stge" in e.message]
    assert typo.column == 16
    assert "stage" in typo.hint


NAMES = ("a", "b", "c")
atoms = st.one_of(
    st.sampled_from(NAMES),
    st.integers(0, 9).map(str),
    st.sampled_from(["'x'", "'a'", "1.5", "True", "None", "[1, 'x']", "(2, 3)"]),
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    compare = st.sampled_from(["==", "!=", "<", ">=", "in", "not in"])
    return st.one_of(
        st.tuples(inner, compare, inner).map(" ".join),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(" ".join),
        inner.map(lambda s: f"not {s}"),
        inner.map(lambda s: f"({s})"),
    )


values = st.one_of(
    st.integers(-3, 9), st.booleans(), st.sampled_from(["x", "a", ""]), st.floats(0, 9)
)


def value_or_error(text: str, variables: dict[str, Any]) -> Any:
    try:
        return parse(text).value(variables)
    except ExpressionError as error:
        return error


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(atoms, _grow, max_leaves=8), st.fixed_dictionaries(dict.fromkeys(NAMES, values))
)
def test_expressions_mean_what_python_means(text: str, variables: dict[str, Any]) -> None:
    try:
        expected = eval(text, {"__builtins__": {}}, variables)
    except (TypeError, SyntaxError):
        with pytest.raises(ExpressionError):
            parse(text).value(variables)
        return
    found = value_or_error(text, variables)
    # The one difference: texts and lists are not multiplied.
    if not (
        isinstance(found, ExpressionError) and "needs numbers" in found.message and "*" in text
    ):
        assert found == expected
        assert type(found) is type(expected)


@given(st.text(max_size=60))
def test_any_text_parses_or_is_an_expression_error(text: str) -> None:
    found = value_or_error(text, {})
    assert not isinstance(found, ExpressionError) or found.message


def test_conditions_choose_the_rules_of_a_sheet(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        sheet: {size: 1, total_items: 2, fan_out: {2: 2}, dependencies: {2: [1]}}
        prompt: {template: x, variables: {lang: de}}
        validations:
        - {type: file_exists, path: a, condition: stage == 2 and instance == 1}
        - {type: file_exists, path: b, sheet: 3}
        - {type: file_exists, path: c, condition: "movement in [1] or lang != 'de'"}
        - {type: file_exists, path: d, sheet: 2, condition: voice == 2}
        - {type: file_exists, path: e}
        - {type: file_exists, path: f, condition: instance == 1}
        """
    )
    found = {n: [r.path.name for r in rules_for(plan, n) if r.path] for n in (1, 2, 3)}
    assert found == {1: ["c", "e", "f"], 2: ["a", "e", "f"], 3: ["b", "e"]}


def test_broken_conditions_are_problems_with_a_line(
    problems_of: Callable[..., list[Problem]],
) -> None:
    found = problems_of(
        """
        validations:
        - {type: file_exists, path: a, condition: "stage = 2"}
        - type: file_exists
          path: a
          condition: "stag == 2"
        - {type: file_exists, path: a, condition: "workspace > 2"}
        """
    )
    errors = [p for p in found if p.severity == "error"]
    assert [p.code for p in errors] == ["V112"] * 3
    assert "write ==" in errors[0].hint
    assert "did you mean stage?" in errors[1].hint
    assert errors[1].line == errors[0].line + 3  # type: ignore[operator]
    assert "not supported" in errors[2].message
