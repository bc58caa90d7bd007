"""`condition` of a validation rule: which sheets the rule is for.

An expression (see `expressions`) over the variables of `variables.RULE_NAMES` and the score's own:
`stage == 2 and instance in [1, 3]`, `not (sheet_num > 4 or lang == "de")`. One that does not
parse, or that names an unknown variable, is an error; it never means "applies".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marianne_core.plan.expressions import Expression, ExpressionError, parse


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition."""

    expression: Expression

    @property
    def text(self) -> str:
        """As the person wrote it."""
        return self.expression.text

    def applies(self, variables: Mapping[str, Any]) -> bool:
        """Whether it holds. Raises ExpressionError when it cannot be worked out."""
        return bool(self.expression.value(variables))

    def unknown(self, known: Iterable[str]) -> list[ExpressionError]:
        """One error for each variable that does not exist."""
        return self.expression.unknown(known)


def parse_condition(text: str) -> Condition:
    """Read a condition. Raises ExpressionError with the column when it does not parse."""
    return Condition(parse(text))
