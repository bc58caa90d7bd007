"""Findings about a score, each with the line it is about."""

from __future__ import annotations

from marianne_core.config.load import Score
from marianne_core.config.marks import Key
from marianne_core.config.read import FileError
from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.templates import Origin

Place = tuple[Key, ...]
"""Keys that lead from the whole score to a value."""


class PlanError(FileError):
    """A score that cannot be planned; `problems` holds everything that is wrong with it."""


class Places:
    """Makes problems with file, line and column from paths into the score."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self.file = str(score.path)

    def problem(
        self,
        severity: Severity,
        code: str,
        message: str,
        path: Place,
        *,
        hint: str = "",
    ) -> Problem:
        """A finding about the value at `path`, or about the nearest thing above it."""
        position = self._score.marks.nearest(path)
        return Problem(severity, code, message, self.file, position.line, position.column, hint)

    def origin(self, path: Place, name: str) -> Origin:
        """Where a template in the score stands."""
        marks = self._score.marks
        node = marks.at(path)
        if node is None:
            return Origin(self.file, None, None, name)
        start = node.start.line
        if node.style == ">":
            value = self._score.source.data
            for key in path:
                value = value[key]
            lines = _folded_lines(self._score.text.splitlines(), start, str(value))
            return Origin(self.file, None, start, f"folded {name}", lines)
        first = marks.line_of(path, 1) if node.style == "|" else None
        return Origin(self.file, first, None if first else start, name)


def _folded_lines(source: list[str], start: int, text: str) -> tuple[int, ...]:
    """Lines of the file in which the lines of a folded text begin; `start` is that of its `>`.

    What is folded differs from the file in nothing but white space.
    """
    lines: list[int] = []
    place = start  # from 0, that is the line after the `>`
    for line in text.splitlines():
        wanted = len("".join(line.split()))
        while wanted and place < len(source) and not source[place].strip():
            place += 1
        lines.append(place + 1)
        while wanted > 0 and place < len(source):
            wanted -= len("".join(source[place].split()))
            place += 1
    return tuple(lines)
