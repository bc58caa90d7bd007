"""From a score to its plan, and everything that is certainly wrong with it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marianne_core.config.base import integer_keys
from marianne_core.config.load import Score
from marianne_core.config.score.job import JobConfig
from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.conditions import Condition, parse_condition
from marianne_core.plan.dependencies import (
    NOTHING,
    Dependencies,
    Matched,
    SheetDependencies,
    stage_needs,
)
from marianne_core.plan.expressions import ExpressionError
from marianne_core.plan.fanout import Stage, expand, items_of, sheets_of
from marianne_core.plan.instruments import Instruments, Profiles
from marianne_core.plan.sheets import Plan, SheetPlan
from marianne_core.plan.skip import parse_skip
from marianne_core.plan.templates import Fault, Origin, Renderer, TemplateProblem, compile_template
from marianne_core.plan.variables import RULE_NAMES
from marianne_core.plan.where import Place, Places, PlanError

MAX_TEMPLATE_BYTES = 4_000_000
"""Largest `template_file`, in bytes; the score itself has the same bound."""

DEFAULT_TEMPLATE = """\
Sheet {{ sheet_num }} of {{ total_sheets }}: work on \
{% if start_item == end_item %}item {{ start_item }}{% else %}\
items {{ start_item }} to {{ end_item }}{% endif %}.
{% if stakes %}
{{ stakes }}
{% endif %}{% if thinking_method %}
{{ thinking_method }}
{% endif %}"""
"""What is sent when a score has neither `template` nor `template_file`."""


def build_plan(
    score: Score,
    profiles: Profiles,
    *,
    workspace: Path | None = None,
    variables: Mapping[str, Any] | None = None,
    thinking_method: str | None = None,
) -> Plan:
    """Work a score out.

    `workspace` replaces the score's (relative to the current directory), `variables` are laid over
    the score's (`--var`), `thinking_method` is the conductor's, for scores that have none.
    Raises PlanError, with all problems, when it cannot be planned.
    """
    plan, problems = draft(
        score, profiles, workspace=workspace, variables=variables, thinking_method=thinking_method
    )
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if plan is None or errors:
        raise PlanError(errors)
    return plan


def draft(
    score: Score,
    profiles: Profiles,
    *,
    workspace: Path | None = None,
    variables: Mapping[str, Any] | None = None,
    thinking_method: str | None = None,
) -> tuple[Plan | None, list[Problem]]:
    """A plan even where parts of the score are wrong, and what is wrong.

    There is no plan only when the template cannot be compiled. A plan with errors is for further
    checks and for previews, never for a run.
    """
    config, places = score.config, Places(score)
    problems: list[Problem] = []
    counts = _voices(config, places, problems)
    stages = expand(config.sheet.stages, counts)
    needs = _needs(config, stages, places, problems)
    given = {name: integer_keys(value) for name, value in (variables or {}).items()}
    merged = {**config.prompt.variables, **given}
    conditions = _conditions(config, places, problems, RULE_NAMES | merged.keys())
    sheets = _sheets(config, stages, needs, profiles)
    _skips(config, len(sheets), places, problems)
    try:
        renderer = _renderer(config, places)
    except TemplateProblem as error:
        problem = error.problem()
        if error.fault is Fault.FILE:  # the line that names it helps more than a file without one
            place: Place = ("prompt", "template_file")
            problem = places.problem(Severity.ERROR, problem.code, error.what, place)
        return None, [*problems, problem]
    plan = Plan(
        path=score.path,
        config=config,
        workspace=Path(os.path.abspath(workspace if workspace is not None else config.workspace)),
        variables=merged,
        thinking_method=config.prompt.thinking_method or thinking_method,
        stages=stages,
        stage_needs=needs,
        sheets=sheets,
        total_stages=len({sheet.movement for sheet in sheets}),
        renderer=renderer,
        conditions=conditions,
    )
    return plan, problems


def _voices(config: JobConfig, places: Places, problems: list[Problem]) -> dict[int, int]:
    """Sheets of each stage that has more than one: `fan_out`, and `voices` of movements."""
    counts = dict(config.sheet.fan_out)
    for number, movement in config.movements.items():
        if movement.voices is None or number > config.sheet.stages:
            continue
        given = counts.setdefault(number, movement.voices)
        place: Place = ("movements", number, "voices")
        if given != movement.voices:
            text = f"movement {number} has {movement.voices} voices, but fan_out gives it {given}"
            problems.append(places.problem(Severity.ERROR, "V114", text, place))
        elif movement.voices > 1 and (config.sheet.size, config.sheet.start_item) != (1, 1):
            text = "voices need size: 1 and start_item: 1"
            problems.append(places.problem(Severity.ERROR, "V114", text, place))
    return counts


def _needs(
    config: JobConfig, stages: tuple[Stage, ...], places: Places, problems: list[Problem]
) -> Mapping[int, tuple[int, ...]]:
    given = config.sheet.dependencies
    needs, faults = stage_needs(len(stages), given, chain=True)
    for fault in faults:
        path: Place = ("sheet", "dependencies", fault.stage)
        if fault.place is not None:
            path = (*path, fault.place)
        hint = "remove one of these dependencies" if "circle" in fault.message else ""
        problems.append(places.problem(Severity.ERROR, "V111", fault.message, path, hint=hint))
    return needs


def _conditions(
    config: JobConfig, places: Places, problems: list[Problem], known: frozenset[str]
) -> dict[str, Condition]:
    found: dict[str, Condition] = {}
    for index, rule in enumerate(config.validations):
        if rule.condition is None:
            continue
        path = ("validations", index, "condition")
        try:
            condition = parse_condition(rule.condition)
        except ExpressionError as error:
            problems.append(_expression_problem(error, rule.condition, places, path))
            continue
        unknown = condition.unknown(known)
        problems += [_expression_problem(e, rule.condition, places, path) for e in unknown]
        if not unknown:
            found[rule.condition] = condition
    return found


def _skips(config: JobConfig, total: int, places: Places, problems: list[Problem]) -> None:
    for number, text in config.sheet.skip_when.items():
        path = ("sheet", "skip_when", number)
        try:
            errors = parse_skip(text).problems(total)
        except ExpressionError as error:
            errors = [error]
        problems += [_expression_problem(error, text, places, path) for error in errors]


def _expression_problem(error: ExpressionError, text: str, places: Places, path: Place) -> Problem:
    message = error.message
    if error.column is not None and repr(text.strip()) not in message:
        message = f"{message}, at character {error.column} of {text.strip()!r}"
    return places.problem(Severity.ERROR, "V112", message, path, hint=error.hint)


def _sheets(
    config: JobConfig,
    stages: tuple[Stage, ...],
    needs: Mapping[int, tuple[int, ...]],
    profiles: Profiles,
) -> tuple[SheetPlan, ...]:
    sheet = config.sheet
    # A chain that nobody wrote down waits for whole stages, also between equal fan-outs.
    dependencies = SheetDependencies(stages, needs, matched=bool(sheet.dependencies))
    instruments = Instruments(config, profiles)
    names = {number: each.name for number, each in config.movements.items() if each.name}
    expanded = {} if sheet.fan_out else sheet.fan_out_stage_map or {}
    plans: list[SheetPlan] = []
    waiting: Dependencies | Matched = NOTHING
    for number, stage, instance in sheets_of(stages):
        movement, voice, voices = stage.number, instance, stage.count
        if number in expanded:
            origin = expanded[number]
            movement, voice, voices = origin.stage, origin.instance, origin.fan_count
        if instance == 1:
            waiting = dependencies.of(stage)
        choice, fallbacks = instruments.of(number, movement)
        first, last = items_of(stage.number, sheet.size, sheet.start_item, sheet.total_items)
        # Equal numbers as one object: for 100,000 sheets that makes 10 MB.
        movement, first, last = (n if n != number else number for n in (movement, first, last))
        title = sheet.descriptions.get(number) or names.get(movement, "")
        plans.append(
            SheetPlan(
                num=number,
                movement=movement,
                instance=voice,
                fan_count=voices,
                start_item=first,
                end_item=last,
                needs=waiting,
                choice=choice,
                fallbacks=fallbacks,
                title=title,
            )
        )
    return tuple(plans)


def _renderer(config: JobConfig, places: Places) -> Renderer:
    prompt = config.prompt
    if prompt.template_file is not None:
        return compile_template(*_template_of(prompt.template_file))
    if prompt.template is not None:
        return compile_template(prompt.template, places.origin(("prompt", "template"), "template"))
    return compile_template(DEFAULT_TEMPLATE, Origin(name="default prompt"))


def _template_of(path: Path) -> tuple[str, Origin]:
    """Text of a template file. Raises TemplateProblem when it cannot be read."""
    origin = Origin(str(path), 1, None, "template")
    try:
        with open(path, "rb", opener=_never_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("it is not a regular file")
            data = file.read(MAX_TEMPLATE_BYTES + 1)
        if len(data) > MAX_TEMPLATE_BYTES:
            reason = f"it is larger than {MAX_TEMPLATE_BYTES:,} bytes"
        else:
            return data.decode("utf-8"), origin
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 (byte {error.start})"
    text = f"the template file {path} cannot be read: {reason}"
    raise TemplateProblem(text, Fault.FILE, Origin(str(path)))


def _never_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe is opened at once, without waiting for somebody who writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
