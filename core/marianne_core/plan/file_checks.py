"""Files that a score refers to: V107 (commands), V108 (injected), V109 (injected too early)."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path

from marianne_core.config.score.sheet import InjectionItem
from marianne_core.config.score.validation import ValidationRule
from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.expressions import ExpressionError
from marianne_core.plan.injection import item_path
from marianne_core.plan.placeholders import PlaceholderError, expand_known, expand_path
from marianne_core.plan.rules import applies
from marianne_core.plan.sampling import numbers_of, sheets_to_try
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import TemplateProblem
from marianne_core.plan.variables import rule_variables, template_variables
from marianne_core.plan.where import Place, Places

_ANYWHERE = ("/dev/", "/proc/", "/tmp/", "/sys/")
_MANY = 20_000
"""Looks at a rule for a sheet, to find out which sheet makes which file."""
_FEW = 50
"""Sheets of which one is looked for that a rule is for."""


def check_referred_files(plan: Plan, places: Places) -> list[Problem]:
    """Everything of this file, for one plan."""
    makers = _Makers(plan)
    return [
        *_injected_files(plan, places, makers),
        *_read_too_early(plan, places, makers),
        *_command_files(plan, places),
    ]


class _Makers:
    """Which sheets are expected to make a file: those with a rule that looks for it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @cached_property
    def by_path(self) -> Mapping[Path, set[int]]:
        """Sheets by the paths they make, as far as that many were looked at."""
        plan = self._plan
        made: dict[Path, set[int]] = {}
        rules = [rule for rule in plan.config.validations if rule.path is not None]
        for num in islice(sheets_to_try(plan, ()), _MANY // len(rules) + 1) if rules else ():
            variables = rule_variables(plan, num)
            for rule in rules:
                try:
                    if applies(plan, rule, variables):
                        path = _path(plan, rule.path or "", variables)
                        made.setdefault(path, set()).add(num)
                except (ExpressionError, PlaceholderError):
                    continue  # reported where rules are rehearsed
        return made

    def of(self, path: Path) -> set[int]:
        """The sheets that make a file; nothing when there may be others."""
        rules = len(self._plan.config.validations)
        complete = rules * self._plan.total_sheets <= _MANY
        return self.by_path.get(path, set()) if complete else set()


def _path(plan: Plan, text: str, variables: Mapping[str, object]) -> Path:
    expanded = os.path.expanduser(expand_path(text, variables))
    return Path(os.path.normpath(plan.workspace / expanded))


def _injected_files(plan: Plan, places: Places, makers: _Makers) -> list[Problem]:
    """V108: files of prelude and cadenzas that are not there, and that no rule says will be."""
    problems = []
    for place, item, num in _items(plan):
        written = item.file or item.directory or ""
        try:
            path, strange = item_path(plan, item, template_variables(plan, num))
        except TemplateProblem:
            continue  # its syntax was reported
        problems += [places.problem(Severity.WARNING, "V108", text, place) for text in strange]
        if strange or os.path.lexists(path) or path in makers.by_path:
            continue
        fixed = "{" not in written
        severity = Severity.WARNING if fixed else Severity.INFO
        text = f"there is no {'file' if item.file else 'directory'} {path}"
        hint = "paths are relative to the workspace" if fixed else "unless a sheet makes it"
        problems.append(places.problem(severity, "V108", text, place, hint=hint))
    return problems


def _items(plan: Plan) -> list[tuple[Place, InjectionItem, int]]:
    """What is injected, and the first sheet it is for."""
    sheet = plan.config.sheet
    items: list[tuple[Place, InjectionItem, int]] = [
        (("sheet", "prelude", index), item, 1) for index, item in enumerate(sheet.prelude)
    ]
    items += [
        (("sheet", "cadenzas", num, index), item, num)
        for num, found in sheet.cadenzas.items()
        if num <= plan.total_sheets
        for index, item in enumerate(found)
    ]
    return items


def _read_too_early(plan: Plan, places: Places, makers: _Makers) -> list[Problem]:
    """V109: files of cadenzas that a sheet makes for which the reading sheet does not wait."""
    problems = []
    for place, item, num in _items(plan):
        if item.file is None or place[1] != "cadenzas":
            continue
        try:
            path, strange = item_path(plan, item, template_variables(plan, num))
        except TemplateProblem:
            continue
        made_by = makers.of(path)
        if strange or not made_by or num in made_by or os.path.lexists(path):
            continue
        if made_by.isdisjoint(_waits_for(plan, num)):
            text = f"sheet {num} reads {path.name}, but does not wait for sheet {min(made_by)}"
            hint = f"sheet {min(made_by)} makes it: add it to the dependencies"
            problems.append(
                places.problem(
                    Severity.WARNING, "V109", f"{text}, which makes it", place, hint=hint
                )
            )
    return problems


def _waits_for(plan: Plan, num: int) -> set[int]:
    """The sheets that are finished before a sheet starts."""
    found: set[int] = set()
    todo = [num]
    while todo:
        for block in plan.sheet(todo.pop()).deps:
            new = set(block) - found
            found |= new
            todo += new
    return found


def _command_files(plan: Plan, places: Places) -> list[Problem]:
    """V107: absolute paths in commands, outside the workspace, that are not there.

    Relative ones are left alone: they start at the workspace, where sheets make files.
    """
    problems = []
    for index, rule in enumerate(plan.config.validations):
        num = _one_of_its_sheets(plan, rule) if rule.command else None
        variables = rule_variables(plan, num) if num else {}
        for word in _words(expand_known(rule.command or "", variables)) if num else ():
            path = Path(word)
            if (
                path.is_absolute()
                and path.suffix
                and not word.startswith(_ANYWHERE)
                and not path.is_relative_to(plan.workspace)
                and not path.exists()
            ):
                text = f"the command refers to {word}, which does not exist"
                place = ("validations", index, "command")
                problems.append(places.problem(Severity.WARNING, "V107", text, place))
    return problems


def _one_of_its_sheets(plan: Plan, rule: ValidationRule) -> int | None:
    """A sheet that a rule is for, or None when none is found quickly."""
    if rule.sheet is not None:
        return rule.sheet if rule.sheet <= plan.total_sheets else None
    if rule.condition is None:
        return 1
    condition = plan.conditions.get(rule.condition)
    if condition is None:
        return None  # it does not parse, which was reported
    for num in islice(sheets_to_try(plan, numbers_of(condition.expression.tree)), _FEW):
        try:
            if condition.applies(rule_variables(plan, num)):
                return num
        except ExpressionError:
            continue  # reported where rules are rehearsed
    return None


def _words(command: str) -> list[str]:
    """Words of a command that can be paths; none where it cannot be read."""
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    return [word for word in words if not set(word) & set("*?[]{}$`\n ;|&<>()\"'")]
