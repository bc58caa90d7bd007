"""Render every sheet before anything runs, to find what is certain to fail.

What earlier sheets will say is not known yet, so a stand-in takes its place. A failure counts as
certain when it happens in the same words whatever a run may bring; one that depends on it is a
warning. What stands behind an undefined variable is looked at, too, so that all of them are found
at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.bounds import steps_taken
from marianne_core.plan.prompt import build_prompt
from marianne_core.plan.rule_rehearsal import rehearse_rules
from marianne_core.plan.sampling import Allowance, numbers_in, sheets_to_try
from marianne_core.plan.sheets import Plan
from marianne_core.plan.stand_ins import UNKNOWN_YET, Absent, Present, likely, stand_in, unlikely
from marianne_core.plan.templates import (
    Fault,
    Renderer,
    TemplateProblem,
    cached_template,
    excused_names,
    undefined_hint,
)
from marianne_core.plan.variables import TEMPLATE_NAMES, template_variables
from marianne_core.plan.where import Place, Places

_MANY: Final = 50
"""Undefined variables of one template that are reported at once."""
_SHEET_STEPS: Final = 20
"""Work of a sheet whose template does nothing, in steps of a template."""
_FAILURE_STEPS: Final = 400
"""Work of finding the words for a failure."""
_DIGITS: Final = re.compile(r"-?\d+")


def preview(plan: Plan, num: int) -> str:
    """The prompt of a sheet's first attempt, as far as it is known before the run.

    Raises TemplateProblem and InputError as `build_prompt` does.
    """
    return build_prompt(plan, num, previous=stand_in(plan, num)).text


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes failures of several sheets one finding."""

    place: Place
    """The directive that fails; empty for the prompt's template."""
    message: str
    """Without its numbers: `there is no element 4` is the same for element 5."""
    line: int | None
    certain: bool


@dataclass(slots=True)
class _Finding:
    """One thing that is wrong, with the sheets it is wrong for."""

    error: TemplateProblem
    sheets: list[int] = field(default_factory=list)


def rehearse(plan: Plan, places: Places) -> list[Problem]:
    """Everything that goes wrong when the sheets of a plan are rendered and their rules bound."""
    return _templates(plan, places) + rehearse_rules(plan, places)


def _templates(plan: Plan, places: Places) -> list[Problem]:
    findings: dict[_Key, _Finding] = {}
    allowance = Allowance()
    numbers = numbers_in(plan.variables)
    for _, template in _templates_of(plan, 1):
        numbers += template.numbers
    for num in sheets_to_try(plan, numbers):
        if allowance.used_up:
            break
        for key, error in _failures_of(plan, num, allowance):
            findings.setdefault(key, _Finding(error)).sheets.append(num)
    problems = [
        _problem(key, found, places)
        for key, found in findings.items()
        # What is certain to fail for one sheet need not be told again for those where it may.
        if key.certain or replace(key, certain=True) not in findings
    ]
    reported = {found.error.undefined for found in findings.values()}
    problems += _never_taken(plan, reported)
    if allowance.sheets < plan.total_sheets:
        text = f"{allowance.sheets} of {plan.total_sheets} sheets were rendered as a check"
        problems.append(places.problem(Severity.INFO, "V118", text, ("sheet",)))
    return problems


def _failures_of(
    plan: Plan, num: int, allowance: Allowance
) -> Iterator[tuple[_Key, TemplateProblem]]:
    """What goes wrong for one sheet, and whether that is certain."""
    known = template_variables(plan, num)
    may_be_skipped = bool(plan.skip_condition(num) or plan.skip_command(num))
    steps = _SHEET_STEPS
    for place, template in _templates_of(plan, num):
        depends = not template.names.isdisjoint(UNKNOWN_YET)
        errors, taken = _faults(template, known, likely(plan, num) if depends else {})
        steps += taken
        certain = set() if may_be_skipped else set(errors)
        if errors and depends:
            for other in unlikely(plan, num):
                found, taken = _faults(template, known, other)
                certain &= found.keys()
                steps += taken
        for (message, line), error in errors.items():
            words = _DIGITS.sub("0", message)
            yield _Key(place, words, line, (message, line) in certain), error
    allowance.spend(steps)


def _templates_of(plan: Plan, num: int) -> Iterator[tuple[Place, Renderer]]:
    """The templates that make up a prompt, and where directives stand in the score."""
    yield (), plan.renderer
    if plan.sheet(num).choice.raw_prompt:
        return
    everywhere: Place = ("prompt", "prompt_extensions")
    own: Place = ("sheet", "prompt_extensions", num)
    for above, texts in (
        (everywhere, plan.config.prompt.prompt_extensions),
        (own, plan.config.sheet.prompt_extensions.get(num, ())),
    ):
        for index, text in enumerate(texts):
            try:
                yield (*above, index), cached_template(text)
            except TemplateProblem:
                continue  # its syntax was reported


_Faults = dict[tuple[str, int | None], TemplateProblem]


def _faults(
    template: Renderer, known: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[_Faults, int]:
    """What is wrong with a template by message and line, and the steps it took to find out.

    That is the first failure and, if it is an undefined variable, the undefined variables that
    would be next, whether or not the first one were true.
    """
    variables = {**known, **given}
    first, steps = _failure(template, variables)
    if first is None:
        return {}, steps
    faults = {(first.message, first.line): first}
    if not first.undefined:
        return faults, steps
    behind: list[_Faults] = []
    for kind in (Absent, Present):
        found, taken = _behind(template, variables, first.undefined, kind)
        behind.append(found)
        steps += taken
    faults.update((key, error) for key, error in behind[0].items() if key in behind[1])
    return faults, steps


def _behind(
    template: Renderer, variables: Mapping[str, Any], name: str, kind: type[Absent]
) -> tuple[_Faults, int]:
    """Undefined variables that show when the one before has a value."""
    found: _Faults = {}
    known = variables.keys()
    steps = 0
    while len(found) < _MANY:
        variables = {**variables, name: kind(name=name)}
        error, taken = _failure(template, variables)
        steps += taken
        # What else fails may fail because of the stand-in.
        if error is None or not error.undefined or error.undefined in variables:
            break
        name = error.undefined
        error.hint = undefined_hint(name, known)
        found[error.message, error.line] = error
    return found, steps


def _failure(
    template: Renderer, variables: Mapping[str, Any]
) -> tuple[TemplateProblem | None, int]:
    """How a template fails, if it does, and what it cost to render it, in steps."""
    length = 0
    failure = None
    try:
        length = len(template.render(variables))
    except TemplateProblem as error:
        failure = error
    steps = steps_taken() + len(template.source) // 20 + length // 1000
    return failure, steps if failure is None else steps + _FAILURE_STEPS


def _problem(key: _Key, found: _Finding, places: Places) -> Problem:
    error = found.error
    if key.place:  # a directive, which does not know where it stands
        origin = places.origin(key.place, "text")
        error = TemplateProblem(
            error.message, error.fault, origin, line=error.line, hint=error.hint
        )
    severity = Severity.ERROR if key.certain else Severity.WARNING
    problem = error.problem(severity)
    sheets = sorted(found.sheets)
    verb = "fails" if key.certain else "may fail, it depends on what the run brings"
    if len(sheets) > 1:
        verb = verb.replace("fails", "fail")
    message = f"{problem.message}: {sheet_list(sheets)} {verb}"
    return replace(problem, message=message)


def _never_taken(plan: Plan, reported: set[str]) -> list[Problem]:
    """Names that the template uses only where no rehearsed sheet came by."""
    renderer = plan.renderer
    known = TEMPLATE_NAMES | plan.variables.keys()
    unknown = renderer.names - known - reported
    if unknown:
        unknown -= excused_names(renderer.source)
    return [
        TemplateProblem(
            f"{name!r} is undefined, in a part that no rendered sheet reached",
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


def sheet_list(numbers: list[int]) -> str:
    """`sheet 3`, `sheets 3, 4 and 5`, `sheets 1, 2, 3 and 97 more`."""
    if len(numbers) == 1:
        return f"sheet {numbers[0]}"
    if len(numbers) <= 4:
        return "sheets " + ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
    return "sheets " + ", ".join(map(str, numbers[:3])) + f" and {len(numbers) - 3} more"
