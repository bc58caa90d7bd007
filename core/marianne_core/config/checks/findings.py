"""Collect what the checks find, with the line of each."""

from __future__ import annotations

from marianne_core.config.load import Score
from marianne_core.config.marks import Key, Position
from marianne_core.config.read import problem_at
from marianne_core.model.problem import Problem, Severity


class Findings:
    """Problems of one score."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self._problems: list[Problem] = []

    def error(
        self, code: str, message: str, *at: Key, hint: str = "", where: Position | None = None
    ) -> None:
        """Note an error at the value that the keys `at` lead to, or at a known place."""
        self._add(Severity.ERROR, code, message, where or at, hint)

    def warn(
        self, code: str, message: str, *at: Key, hint: str = "", where: Position | None = None
    ) -> None:
        """Note a warning."""
        self._add(Severity.WARNING, code, message, where or at, hint)

    def inform(self, code: str, message: str, *at: Key, hint: str = "") -> None:
        """Note something worth knowing."""
        self._add(Severity.INFO, code, message, at, hint)

    def in_order(self) -> list[Problem]:
        """All problems, in the order of their lines."""
        return sorted(self._problems, key=lambda problem: (problem.line or 0, problem.column or 0))

    def _add(
        self,
        severity: Severity,
        code: str,
        message: str,
        where: Position | tuple[Key, ...],
        hint: str,
    ) -> None:
        source = self._score.source
        self._problems.append(
            problem_at(source, where, code, message, severity=severity, hint=hint)
        )
