"""Checks of a score that need its plan: templates, graph, conditions, names, files it refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from marianne_core.config.checks.structure import FORMAT_NAME, format_names
from marianne_core.config.load import Score
from marianne_core.config.score.sheet import InjectionItem
from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.build import draft
from marianne_core.plan.file_checks import check_referred_files
from marianne_core.plan.instruments import Profiles
from marianne_core.plan.rehearsal import rehearse
from marianne_core.plan.setting_checks import (
    models_that_nobody_names,
    settings_without_effect,
    techniques_without_servers,
)
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import (
    TemplateProblem,
    compile_template,
    excused_names,
    undefined_hint,
)
from marianne_core.plan.variables import TEMPLATE_NAMES
from marianne_core.plan.where import Place, Places


def checked_plan(
    score: Score,
    profiles: Profiles,
    *,
    workspace: Path | None = None,
    variables: Mapping[str, Any] | None = None,
    thinking_method: str | None = None,
) -> tuple[Plan | None, list[Problem]]:
    """Plan a score, render its sheets, and return the plan with everything found.

    Takes what `build_plan` takes. The problems are in the order of the file. The plan may be run
    if none of them is an ERROR: then no sheet fails for a reason that could have been known. There
    is no plan when the template cannot be compiled.
    """
    places = Places(score)
    plan, problems = draft(
        score, profiles, workspace=workspace, variables=variables, thinking_method=thinking_method
    )
    problems += _small_templates(score, places)
    if plan is not None:
        problems += _shadowed(plan, places)
        problems += _format_names(plan)
        problems += _unused_context(plan, places)
        problems += _captured_names(plan, places)
        problems += check_referred_files(plan, places)
        problems += settings_without_effect(plan, profiles, places)
        problems += models_that_nobody_names(plan, profiles, places)
        problems += techniques_without_servers(plan, profiles, places)
        problems += rehearse(plan, places)
    order = {severity: place for place, severity in enumerate(Severity)}
    return plan, sorted(problems, key=lambda p: (p.line or 0, order[p.severity]))


def check_plan(
    score: Score,
    profiles: Profiles,
    *,
    workspace: Path | None = None,
    variables: Mapping[str, Any] | None = None,
    thinking_method: str | None = None,
) -> list[Problem]:
    """The problems of `checked_plan`, for those who do not need the plan."""
    return checked_plan(
        score, profiles, workspace=workspace, variables=variables, thinking_method=thinking_method
    )[1]


def _small_templates(score: Score, places: Places) -> list[Problem]:
    """Syntax of templates besides the prompt's: paths that are injected or captured, directives."""
    config = score.config
    written: list[tuple[Place, str]] = []
    for path, item in _all_items(score):
        written.append((path, item.file or item.directory or ""))
    if config.cross_sheet is not None:
        for index, pattern in enumerate(config.cross_sheet.capture_files):
            written.append((("cross_sheet", "capture_files", index), pattern))
    for index, text in enumerate(config.prompt.prompt_extensions):
        written.append((("prompt", "prompt_extensions", index), text))
    for num, texts in config.sheet.prompt_extensions.items():
        for index, text in enumerate(texts):
            written.append((("sheet", "prompt_extensions", num, index), text))
    problems = []
    for place, text in written:
        try:
            compile_template(text, places.origin(place, "text"))
        except TemplateProblem as error:
            problems.append(error.problem())
    return problems


def _all_items(score: Score) -> Iterator[tuple[Place, InjectionItem]]:
    sheet = score.config.sheet
    for index, item in enumerate(sheet.prelude):
        yield ("sheet", "prelude", index), item
    for num, items in sheet.cadenzas.items():
        for index, item in enumerate(items):
            yield ("sheet", "cadenzas", num, index), item


def _shadowed(plan: Plan, places: Places) -> list[Problem]:
    return [
        places.problem(
            Severity.WARNING,
            "V208",
            f"the variable {name!r} hides the built-in one in templates",
            ("prompt", "variables", name),
            hint="give it another name; conditions and paths still see the built-in",
        )
        for name in sorted(TEMPLATE_NAMES & plan.variables.keys())
    ]


def _format_names(plan: Plan) -> list[Problem]:
    """V202 in a template file; templates in the score are looked at with the score."""
    if plan.config.prompt.template_file is None:
        return []
    return [
        Problem(
            Severity.WARNING,
            "V202",
            FORMAT_NAME.format(name=name),
            plan.renderer.origin.file,
            line,
            None,
            f"write {{{{ {name} }}}}",
        )
        for name, line in format_names(plan.renderer.source, plan.variables)
    ]


def _unused_context(plan: Plan, places: Places) -> list[Problem]:
    """Templates that ask for context which the score does not collect."""
    settings = plan.config.cross_sheet
    wanted = {
        "previous_outputs": (
            "auto_capture_stdout: true",
            settings and settings.auto_capture_stdout,
        ),
        "previous_files": ("capture_files", settings and settings.capture_files),
    }
    return [
        places.problem(
            Severity.WARNING,
            "V117",
            f"the template uses {name}, which stays empty",
            ("prompt", "template"),
            hint=f"add {setting} to cross_sheet",
        )
        for name, (setting, given) in wanted.items()
        if name in plan.renderer.names and not given and name not in plan.variables
    ]


def _captured_names(plan: Plan, places: Places) -> list[Problem]:
    """Variables in `capture_files` that do not exist: such a pattern captures nothing."""
    settings = plan.config.cross_sheet
    known = TEMPLATE_NAMES | plan.variables.keys()
    problems = []
    for index, pattern in enumerate(settings.capture_files if settings is not None else ()):
        try:
            unknown = compile_template(pattern).names - known - excused_names(pattern)
        except TemplateProblem:
            continue  # its syntax was reported
        for name in sorted(unknown):
            text = f"{name!r} is undefined, so this captures nothing"
            place = ("cross_sheet", "capture_files", index)
            hint = undefined_hint(name, known)
            problems.append(places.problem(Severity.WARNING, "V101", text, place, hint=hint))
    return problems
