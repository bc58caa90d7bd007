"""`skip_when`: expressions over finished sheets that decide whether a sheet is skipped.

An expression (see `expressions`) over two names. `sheets` maps sheet numbers to what is known
about them: `sheets[3].status == "failed"`, `any(s.attempts > 1 for s in sheets.values())`,
`"NO WORK" in sheets[1].output`. `job` is the run: `job.job_id`, `job.run`, `job.total_sheets`,
`job.total_movements`, `job.workspace`, and `job.variables`, the score's own. The fields are those
of `SheetFacts` and `JobFacts`. Nothing else can be reached, and an expression that cannot be
worked out is an error of the sheet, never a quiet "no".
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from marianne_core.model.states import SheetStatus
from marianne_core.plan.expressions import Expression, ExpressionError, parse

NAMES = frozenset({"sheets", "job"})


def _no_output() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class SheetFacts:
    """What a `skip_when` expression can ask about a sheet."""

    EXPRESSION_FIELDS: ClassVar[frozenset[str]] = frozenset(
        {
            "num",
            "movement",
            "stage",
            "instance",
            "status",
            "attempts",
            "attempt_count",
            "exit_code",
            "pass_rate",
            "validation_passed",
            "instrument",
            "output",
        }
    )

    num: int
    movement: int
    instance: int
    status: SheetStatus = SheetStatus.PENDING
    """Compares like its text: "pending", "completed", "failed", "skipped", ..."""
    attempts: int = 0
    """Attempts that were started."""
    exit_code: int | None = None
    """Of the last attempt."""
    pass_rate: float | None = None
    """Percent of its validations that passed in the last attempt, or None."""
    instrument: str = ""
    read_output: Callable[[], str] = field(default=_no_output, repr=False)
    """Reads the beginning of what it printed, when an expression asks for `output`."""

    @property
    def stage(self) -> int:
        """Same as `movement`."""
        return self.movement

    @property
    def attempt_count(self) -> int:
        """Same as `attempts`."""
        return self.attempts

    @property
    def validation_passed(self) -> bool | None:
        """Whether all its validations passed in the last attempt; None before there was one."""
        return None if self.pass_rate is None else self.pass_rate >= 100.0

    @property
    def output(self) -> str:
        """The beginning of what it printed."""
        return self.read_output()


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What a `skip_when` expression can ask about the run."""

    EXPRESSION_FIELDS: ClassVar[frozenset[str]] = frozenset(
        {"job_id", "run", "name", "total_sheets", "total_movements", "workspace", "variables"}
    )

    job_id: str
    run: int
    name: str
    total_sheets: int
    total_movements: int
    workspace: str
    variables: Mapping[str, Any] = field(default_factory=dict)


class SheetTable(Mapping[int, SheetFacts]):
    """`sheets`: all sheets of the run, by number; facts are fetched when they are asked for."""

    def __init__(self, total: int, facts: Callable[[int], SheetFacts]) -> None:
        self._total = total
        self._facts = facts

    def __getitem__(self, num: int) -> SheetFacts:
        if not isinstance(num, int) or not 1 <= num <= self._total:
            raise KeyError(num)
        return self._facts(num)

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self._total + 1))

    def __len__(self) -> int:
        return self._total


@dataclass(frozen=True, slots=True)
class SkipTest:
    """A parsed `skip_when`."""

    expression: Expression

    def holds(self, sheets: SheetTable, job: JobFacts) -> bool:
        """Whether the sheet is skipped. Raises ExpressionError when that cannot be worked out."""
        return bool(self.expression.value({"sheets": sheets, "job": job}))

    def problems(self, total_sheets: int) -> list[ExpressionError]:
        """What is certain to go wrong: unknown names and fields, sheets that do not exist."""
        found = self.expression.unknown(NAMES)
        for node in ast.walk(self.expression.tree):
            match node:
                case ast.Subscript(
                    value=ast.Name(id="sheets"), slice=ast.Constant(value=int() as num)
                ) if not 1 <= num <= total_sheets:
                    text = f"there is no sheet {num}: the last one is {total_sheets}"
                    found.append(ExpressionError(text, column=node.col_offset + 1))
                case ast.Attribute(value=ast.Name(id="job"), attr=name):
                    found += _unknown_field(node, name, JobFacts.EXPRESSION_FIELDS)
                case ast.Attribute(value=ast.Subscript(value=ast.Name(id="sheets")), attr=name):
                    found += _unknown_field(node, name, SheetFacts.EXPRESSION_FIELDS)
        return found


def _unknown_field(node: ast.Attribute, name: str, known: frozenset[str]) -> list[ExpressionError]:
    if name in known:
        return []
    return [
        ExpressionError(
            f"{ast.unparse(node.value)} has no {name!r}",
            column=node.col_offset + 1,
            hint="it has " + ", ".join(sorted(known)),
        )
    ]


def parse_skip(text: str) -> SkipTest:
    """Read a `skip_when` expression. Raises ExpressionError with the column."""
    return SkipTest(parse(text))
