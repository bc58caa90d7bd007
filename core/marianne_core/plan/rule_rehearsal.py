"""Work the validation rules out before anything runs: conditions and placeholders that must fail.

Rules times sheets may be millions. So a rule is bound once: what its placeholders name is there for
every sheet or for none. And a condition that only compares is asked until it holds for a sheet: no
other sheet could make it fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Final

from marianne_core.config.score.validation import ValidationRule
from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.expressions import ExpressionError
from marianne_core.plan.placeholders import PlaceholderError
from marianne_core.plan.rules import KNOWN_NAMES_HINT, applies, bind
from marianne_core.plan.sampling import (
    MAX_WORK,
    Allowance,
    numbers_in,
    numbers_of,
    sheets_to_try,
)
from marianne_core.plan.sheets import Plan
from marianne_core.plan.variables import RULE_NAMES, rule_variables
from marianne_core.plan.where import Place, Places

_QUESTION: Final = 20
"""Work of one look at a condition, in steps of a template."""
_NUMBERS: Final = RULE_NAMES - {"workspace", "instrument_name"}
"""Names of conditions that are whole numbers, whatever a score's own variables are."""
_LOOKS: Final = 30
"""Sheets for which a condition is asked, however many rules there are."""


def rehearse_rules(plan: Plan, places: Places) -> list[Problem]:
    """Conditions and placeholders that cannot be worked out, and rules for no sheet at all."""
    problems: list[Problem] = []
    rules = plan.config.validations
    left = MAX_WORK
    for index, rule in enumerate(rules):
        if rule.condition is not None and rule.condition not in plan.conditions:
            continue  # it does not parse, which was reported
        if rule.sheet is not None and rule.sheet > plan.total_sheets:
            continue  # reported as V212
        # What one rule does not need is there for those after it.
        allowance = Allowance(max(0, left) // (len(rules) - index), _LOOKS)
        problems += _rehearse(plan, index, rule, places, allowance)
        left -= allowance.spent
    return problems


def _rehearse(
    plan: Plan, index: int, rule: ValidationRule, places: Places, allowance: Allowance
) -> list[Problem]:
    found: dict[str, Problem] = {}
    used = False
    only_compares = rule.condition is None or _only_compares(
        plan.conditions[rule.condition].expression.tree
    )
    for num in _sheets_of(plan, rule):
        if allowance.used_up:
            return list(found.values())
        allowance.spend(_QUESTION)
        variables = rule_variables(plan, num)
        try:
            if not applies(plan, rule, variables):
                continue
            if not used:
                used = True
                bind(plan, index, rule, variables)
        except ExpressionError as error:
            used = True
            place: Place = ("validations", index, "condition")
            text = f"{error.message}, for sheet {num}"
            problem = places.problem(Severity.ERROR, "V112", text, place, hint=error.hint)
            found.setdefault(error.message, problem)
        except PlaceholderError as error:
            place = ("validations", index, "path" if rule.path is not None else "working_directory")
            text = str(error)
            problem = places.problem(Severity.ERROR, "V115", text, place, hint=KNOWN_NAMES_HINT)
            found[text] = problem
        if only_compares:
            break
    if not used:
        place = ("validations", index, "condition" if rule.condition is not None else "sheet")
        text = "the rule is for no sheet of this score"
        return [places.problem(Severity.WARNING, "V119", text, place)]
    return list(found.values())


def _sheets_of(plan: Plan, rule: ValidationRule) -> Iterable[int]:
    """The sheets for which a rule is asked, the telling ones first."""
    if rule.sheet is not None:
        return (rule.sheet,)
    if rule.condition is None:
        return (1,)
    expression = plan.conditions[rule.condition].expression
    numbers = numbers_of(expression.tree)
    for name in expression.names - RULE_NAMES:
        numbers += numbers_in(plan.variables[name])
    return sheets_to_try(plan, numbers)


def _only_compares(node: ast.expr) -> bool:
    """Whether a condition cannot fail: it compares what can be compared for every sheet."""
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.BoolOp(values=parts):
            return all(map(_only_compares, parts))
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return _only_compares(part)
        case ast.Compare(left=left, ops=signs, comparators=others):
            sides = [left, *others]
            return all(
                _is_plain(a) and _can_compare(a, sign, b)
                for a, sign, b in zip(sides, signs, others, strict=False)
            )
    return False


def _can_compare(left: ast.expr, sign: ast.cmpop, right: ast.expr) -> bool:
    match sign:
        case ast.Eq() | ast.NotEq() | ast.Is() | ast.IsNot():
            return _is_plain(right)
        case ast.In() | ast.NotIn():
            return isinstance(right, ast.List | ast.Tuple) and all(map(_is_plain, right.elts))
    return _is_number(left) and _is_number(right)


def _is_plain(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Constant)


def _is_number(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=int() | float()):
            return True
        case ast.Name(id=name):
            return name in _NUMBERS
    return False
