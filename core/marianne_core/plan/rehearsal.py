"""Render every sheet before anything runs, to find what is certain to fail.

What earlier sheets will say is not known yet, so a stand-in takes its place. A failure counts as
certain when it happens in the same words with the stand-in and with no context at all; one that
depends on what earlier sheets say is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.cross_sheet import CrossSheet, window_of
from marianne_core.plan.expressions import ExpressionError
from marianne_core.plan.placeholders import PlaceholderError
from marianne_core.plan.prompt import build_prompt, extensions
from marianne_core.plan.rules import KNOWN_NAMES_HINT, applies, bind
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import (
    Fault,
    TemplateProblem,
    excused_names,
    undefined_hint,
)
from marianne_core.plan.variables import TEMPLATE_NAMES, rule_variables, template_variables
from marianne_core.plan.where import Places

MAX_SHEETS = 300
"""Sheets that are rendered; of a larger score these are the first and last of every movement."""

_CONTEXT = frozenset({"previous_outputs", "previous_files", "skipped_upstream"})


class _AnyFile(dict[str, str]):
    """Stands for `previous_files`: whichever file a template asks for is there, and empty."""

    def __missing__(self, key: str) -> str:
        return ""


def stand_in(plan: Plan, num: int) -> CrossSheet:
    """Context of a sheet as if every sheet before it had completed without a word."""
    settings = plan.config.cross_sheet
    outputs: dict[int, str] = {}
    if settings is not None and settings.auto_capture_stdout:
        outputs = dict.fromkeys(window_of(settings, num), "")
    files: Mapping[str, str] = _AnyFile() if settings and settings.capture_files else {}
    return CrossSheet(previous_outputs=outputs, previous_files=files)


def preview(plan: Plan, num: int) -> str:
    """The prompt of a sheet's first attempt, as far as it is known before the run.

    Raises TemplateProblem and InputError as `build_prompt` does.
    """
    return build_prompt(plan, num, previous=stand_in(plan, num)).text


def chosen(plan: Plan, limit: int = MAX_SHEETS) -> list[int]:
    """Numbers of the sheets to rehearse: all, or the ends of every movement and some between."""
    total = plan.total_sheets
    if total <= limit:
        return list(range(1, total + 1))
    ends = [n for stage in plan.stages for n in (stage.sheets[0], stage.sheets[-1])]
    picked = {total, *ends[: limit // 2]}
    step = -(-total // (limit - len(picked)))
    return sorted(picked.union(range(1, total + 1, step)))


@dataclass(slots=True)
class _Finding:
    """One thing that is wrong, with the sheets it is wrong for."""

    error: TemplateProblem
    certain: bool
    sheets: list[int] = field(default_factory=list)


def rehearse(plan: Plan, places: Places) -> list[Problem]:
    """Everything that goes wrong when the sheets of a plan are rendered and their rules bound."""
    numbers = chosen(plan)
    problems = _templates(plan, numbers, places) + _rules(plan, numbers, places)
    if len(numbers) < plan.total_sheets:
        text = f"{len(numbers)} of {plan.total_sheets} sheets were rendered as a check"
        problems.append(places.problem(Severity.INFO, "V118", text, ("sheet",)))
    return problems


def _templates(plan: Plan, numbers: Iterable[int], places: Places) -> list[Problem]:
    findings: dict[tuple[str, int | None], _Finding] = {}
    for num in numbers:
        error = _failure(plan, num, stand_in(plan, num))
        if error is None:
            continue
        key = (error.message, error.line)
        found = findings.get(key)
        if found is None:
            found = findings[key] = _Finding(error, _certain(plan, num, error))
        found.sheets.append(num)
    problems = [_problem(found, plan, places) for found in findings.values()]
    reported = {found.error.undefined for found in findings.values()}
    return problems + _never_taken(plan, reported)


def _failure(plan: Plan, num: int, context: CrossSheet) -> TemplateProblem | None:
    variables = template_variables(
        plan,
        num,
        previous_outputs=context.previous_outputs,
        previous_files=context.previous_files,
    )
    try:
        plan.renderer.render(variables)
        if not plan.sheet(num).choice.raw_prompt:
            extensions(plan, num, variables)
    except TemplateProblem as error:
        return error
    return None


def _certain(plan: Plan, num: int, error: TemplateProblem) -> bool:
    if not plan.renderer.names & _CONTEXT:
        return True
    without = _failure(plan, num, CrossSheet())
    return without is not None and (without.message, without.line) == (error.message, error.line)


def _problem(found: _Finding, plan: Plan, places: Places) -> Problem:
    severity = Severity.ERROR if found.certain else Severity.WARNING
    problem = found.error.problem(severity)
    if not problem.file:  # a directive, which does not know where it stands
        own = ("sheet", "prompt_extensions", found.sheets[0])
        everywhere = ("prompt", "prompt_extensions")
        path = own if found.sheets[0] in plan.config.sheet.prompt_extensions else everywhere
        problem = places.problem(severity, problem.code, problem.message, path, hint=problem.hint)
    verb = "fails" if found.certain else "may fail, it depends on earlier sheets"
    if len(found.sheets) > 1:
        verb = verb.replace("fails", "fail")
    message = f"{problem.message}: {sheet_list(found.sheets)} {verb}"
    return Problem(severity, problem.code, message, problem.file, problem.line, None, problem.hint)


def _never_taken(plan: Plan, reported: set[str]) -> list[Problem]:
    """Names that the template uses only where no rehearsed sheet came by."""
    renderer = plan.renderer
    known = TEMPLATE_NAMES | plan.variables.keys()
    unknown = renderer.names - known - reported
    if unknown:
        unknown -= excused_names(renderer.source)
    return [
        TemplateProblem(
            f"{name!r} is undefined, in a part that no rendered sheet uses",
            Fault.UNDEFINED,
            renderer.origin,
            line=_first_line(renderer.source, name),
            hint=undefined_hint(name, known),
        ).problem(Severity.WARNING)
        for name in sorted(unknown)
    ]


def _first_line(source: str, name: str) -> int | None:
    for number, line in enumerate(source.splitlines(), start=1):
        if name in line and "{" in line:
            return number
    return None


def _rules(plan: Plan, numbers: list[int], places: Places) -> list[Problem]:
    """Conditions and placeholders that cannot be worked out, and rules for no sheet at all."""
    if not plan.config.validations:
        return []
    found: dict[tuple[int, str], Problem] = {}
    used: set[int] = set()
    for num in numbers:
        variables = rule_variables(plan, num)
        for index, rule in enumerate(plan.config.validations):
            if rule.condition is not None and rule.condition not in plan.conditions:
                used.add(index)
                continue
            try:
                if not applies(plan, rule, variables):
                    continue
                used.add(index)
                bind(plan, index, rule, variables)
            except ExpressionError as error:
                used.add(index)
                if (index, error.message) not in found:
                    text = f"{error.message}, for sheet {num}"
                    path = ("validations", index, "condition")
                    found[index, error.message] = places.problem(
                        Severity.ERROR, "V112", text, path, hint=error.hint
                    )
            except PlaceholderError as error:
                key = "path" if rule.path is not None else "working_directory"
                found.setdefault(
                    (index, str(error)),
                    places.problem(
                        Severity.ERROR,
                        "V115",
                        str(error),
                        ("validations", index, key),
                        hint=KNOWN_NAMES_HINT,
                    ),
                )
    problems = list(found.values())
    if len(numbers) == plan.total_sheets:
        for index, rule in enumerate(plan.config.validations):
            beyond = rule.sheet is not None and rule.sheet > plan.total_sheets  # reported as V212
            if index not in used and not beyond:
                key = "condition" if rule.condition is not None else "sheet"
                text = "the rule is for no sheet of this score"
                path = ("validations", index, key)
                problems.append(places.problem(Severity.WARNING, "V119", text, path))
    return problems


def sheet_list(numbers: list[int]) -> str:
    """`sheet 3`, `sheets 3, 4 and 5`, `sheets 1, 2, 3 and 97 more`."""
    if len(numbers) == 1:
        return f"sheet {numbers[0]}"
    if len(numbers) <= 4:
        return "sheets " + ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
    return "sheets " + ", ".join(map(str, numbers[:3])) + f" and {len(numbers) - 3} more"
