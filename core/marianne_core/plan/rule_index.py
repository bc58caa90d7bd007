"""Which validation rules can be for a sheet, without asking the condition of every rule.

Most rules are for one sheet or one stage (`sheet: 3`, `condition: stage == 2 and ...`). Where a
condition begins with such a test, sheets that fail it need not work the rest out, exactly as `and`
would not: what remains is asked, and may fail, as if there were no index.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from marianne_core.config.score.validation import ValidationRule
from marianne_core.plan.conditions import Condition

_SHEET = frozenset({"sheet_num"})
_STAGE = frozenset({"stage", "movement"})


class RuleIndex:
    """Positions of the rules that can be for a sheet, by its number and its stage."""

    def __init__(
        self, rules: Sequence[ValidationRule], conditions: Mapping[str, Condition]
    ) -> None:
        self._by_sheet: dict[int, list[int]] = {}
        self._by_stage: dict[int, list[int]] = {}
        self._for_all: list[int] = []
        for place, rule in enumerate(rules):
            names, values = _first_test(rule, conditions)
            if names == _SHEET:
                _file(self._by_sheet, values, place)
            elif names == _STAGE:
                _file(self._by_stage, values, place)
            else:
                self._for_all.append(place)

    def candidates(self, num: int, stage: int) -> Sequence[int]:
        """Positions, in the order of the score, of the rules that can be for this sheet."""
        narrow = [*self._by_sheet.get(num, ()), *self._by_stage.get(stage, ())]
        return sorted([*narrow, *self._for_all]) if narrow else self._for_all


def _file(index: dict[int, list[int]], values: Iterable[int], place: int) -> None:
    for value in values:
        index.setdefault(value, []).append(place)


def _first_test(
    rule: ValidationRule, conditions: Mapping[str, Condition]
) -> tuple[frozenset[str], set[int]]:
    """What a rule asks first: `sheet_num` or the stage, and the numbers that pass; else nothing."""
    if rule.sheet is not None:
        return _SHEET, {rule.sheet}
    condition = conditions.get(rule.condition or "")
    if condition is None:
        return frozenset(), set()
    test = condition.expression.tree
    while isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        test = test.values[0]
    match test:
        case ast.Compare(
            left=ast.Name(id=name), ops=[ast.Eq()], comparators=[ast.Constant() as one]
        ):
            items: list[ast.expr] = [one]
        case ast.Compare(
            left=ast.Constant() as one, ops=[ast.Eq()], comparators=[ast.Name(id=name)]
        ):
            items = [one]
        case ast.Compare(
            left=ast.Name(id=name),
            ops=[ast.In()],
            comparators=[ast.List(elts=items) | ast.Tuple(elts=items)],
        ):
            pass
        case _:
            return frozenset(), set()
    numbers = {i.value for i in items if isinstance(i, ast.Constant) and isinstance(i.value, int)}
    if len(numbers) == len(items):
        for names in (_SHEET, _STAGE):
            if name in names:
                return names, numbers
    return frozenset(), set()
