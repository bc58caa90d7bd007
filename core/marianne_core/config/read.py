"""From a file's data to a model, or to a list of everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from marianne_core.config.explain import Finding, explain
from marianne_core.config.marks import Key, Position
from marianne_core.config.source import Source
from marianne_core.model.errors import InputError
from marianne_core.model.problem import Problem, Severity

M = TypeVar("M", bound=BaseModel)


class FileError(InputError):
    """A file is not what it should be; `problems` holds everything that is wrong with it, with what is
    only worth a word."""

    def __init__(self, problems: list[Problem]) -> None:
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        first = errors[0]
        more = len(errors) - 1
        what = first.message
        if more:
            what += f" (and {more} more problem{'s' if more > 1 else ''})"
        super().__init__(what, where=first.where, hint=first.hint)
        self.problems = problems
        """All problems, in the order of their lines."""


class ScoreError(FileError):
    """A score does not fit the schema."""


class ConfigError(FileError):
    """A conductor.yaml does not fit the schema, or asks for what is refused."""


class ProfileError(FileError):
    """An instrument profile does not fit the schema."""


def read_model(model: type[M], source: Source, error: type[FileError]) -> M:
    """Check a file against a model. Raises `error` with all problems when it does not fit.

    Relative paths of the file are relative to its folder.
    """
    try:
        return validate(model, source)
    except ValidationError as failure:
        raise error(problems_of(failure, model, source)) from None


def validate(model: type[M], source: Source) -> M:
    """Check a file against a model. Raises ValidationError when it does not fit."""
    context = {"folder": os.path.dirname(os.path.abspath(source.path))} if source.path else {}
    return model.model_validate(source.data, context=context)


def problems_of(failure: ValidationError, model: type[BaseModel], source: Source) -> list[Problem]:
    """What pydantic complains about, in words and with lines, in the order of the file."""
    return problems_from(findings_of(failure, model, source.data), source)


def findings_of(
    failure: ValidationError, model: type[BaseModel], data: dict[Key, Any]
) -> list[Finding]:
    """What pydantic complains about, in words."""
    details = failure.errors(include_url=False)
    return [finding for each in details for finding in explain(each, model, data)]


def problems_from(findings: Iterable[Finding], source: Source) -> list[Problem]:
    """Findings with their lines, in the order of the file."""
    problems: list[Problem] = []
    for finding in findings:
        position = (
            source.marks.key(finding.path) if finding.at_key else None
        ) or source.marks.nearest(finding.path)
        problems.append(
            problem_at(source, position, finding.code, finding.message, hint=finding.hint)
        )
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def problem_of(error: InputError, path: Path, code: str = "V000") -> Problem:
    """An error about the file `path` (unreadable, not YAML) as a problem with line and column."""
    place = error.where.removeprefix(str(path)).split(":")
    numbers = [int(part) for part in place[1:] if part.isdecimal()]
    line, column = numbers if len(numbers) == 2 else (None, None)
    return Problem(
        Severity.ERROR,
        code,
        error.what,
        file=str(path),
        line=line,
        column=column,
        hint=error.hint,
    )


def problem_at(
    source: Source,
    where: Position | tuple[Key, ...] | None,
    code: str,
    message: str,
    *,
    severity: Severity = Severity.ERROR,
    hint: str = "",
) -> Problem:
    """A problem of a file at a position, or at a path of keys; None for the file as a whole."""
    position: Any = where
    if where is not None and not isinstance(where, Position):
        position = source.marks.nearest(where)
    return Problem(
        severity,
        code,
        message,
        file=source.name,
        line=position.line if position else None,
        column=position.column if position else None,
        hint=hint,
    )
