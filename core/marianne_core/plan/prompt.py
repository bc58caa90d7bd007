"""The prompt of one attempt, put together in the order of the field reference, section 2.1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from marianne_core.config.score.sheet import InjectionCategory
from marianne_core.model.outcome import ValidationReport
from marianne_core.model.states import AttemptMode
from marianne_core.plan.completion import completion
from marianne_core.plan.cross_sheet import CrossSheet
from marianne_core.plan.injection import Injected, inject, items_for
from marianne_core.plan.instruments import InstrumentChoice
from marianne_core.plan.preamble import preamble
from marianne_core.plan.requirements import requirements
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import Renderer, cached_template
from marianne_core.plan.variables import template_variables

_HEADINGS = {
    InjectionCategory.SKILL: "## Skills",
    InjectionCategory.TOOL: "## Tools",
    InjectionCategory.CONTEXT: "## Context",
}
"""Order and titles of the injected sections."""


INJECTED: Final = {
    "injected_context": InjectionCategory.CONTEXT,
    "injected_skills": InjectionCategory.SKILL,
    "injected_tools": InjectionCategory.TOOL,
}
"""The variables that hold injected texts."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an instrument is told."""

    text: str
    warnings: tuple[str, ...] = field(default=())
    """What could not be put into it, one line each."""


def build_prompt(
    plan: Plan,
    sheet_num: int,
    attempt: int = 1,
    mode: AttemptMode = AttemptMode.NORMAL,
    previous: CrossSheet | None = None,
    last_report: ValidationReport | None = None,
    *,
    choice: InstrumentChoice | None = None,
) -> Prompt:
    """The prompt of attempt `attempt` (from 1) of a sheet.

    `choice` is the instrument when a fallback plays the sheet. An instrument with a raw prompt gets
    the rendered template and nothing else. `last_report` is what the validations of the attempt
    before said; it is used in completion mode. Raises TemplateProblem when the template cannot be
    rendered, and InputError when a rule cannot be bound.
    """
    previous = previous or CrossSheet()
    variables = template_variables(
        plan,
        sheet_num,
        previous_outputs=previous.previous_outputs,
        previous_files=previous.previous_files,
        skipped_upstream=previous.skipped_upstream,
    )
    played_by = choice or plan.sheet(sheet_num).choice
    raw = played_by.raw_prompt
    injected = Injected()
    if injects(plan, sheet_num, raw=raw):
        injected = inject(plan, sheet_num, variables)
        variables = {**variables, **_injected_variables(plan, injected)}
    body = plan.renderer.render(variables)
    warnings = (*injected.warnings, *previous.warnings)
    if raw:
        return Prompt(body, warnings)
    rest = ""
    if mode is AttemptMode.COMPLETION and last_report is not None:
        rest = completion(last_report)
    only_answers = played_by.only_answers
    parts = [preamble(plan, sheet_num, attempt, completes=bool(rest), only_answers=only_answers)]
    for category, heading in _HEADINGS.items():
        if texts := injected.of(category):
            parts.append("\n\n".join((heading, *(text.strip("\n") for text in texts))))
    parts.append(body.strip("\n"))
    parts += [requirements(plan, sheet_num), rest]
    parts += extensions(plan, sheet_num, variables)
    return Prompt("\n\n".join(part for part in parts if part) + "\n", warnings)


def injects(plan: Plan, num: int, *, raw: bool) -> bool:
    """Whether files are read for the prompt: a raw one has only those that its template shows."""
    if not items_for(plan, num):
        return False
    return not raw or not plan.renderer.names.isdisjoint(INJECTED)


def _injected_variables(plan: Plan, injected: Injected) -> dict[str, list[str]]:
    return {
        name: injected.of(category)
        for name, category in INJECTED.items()
        if name not in plan.variables
    }


def templates_of(plan: Plan, num: int, *, raw: bool) -> list[Renderer]:
    """The templates whose texts make up the prompt. Raises TemplateProblem."""
    return [plan.renderer] if raw else [plan.renderer, *_extensions(plan, num)]


def extensions(plan: Plan, num: int, variables: dict[str, object]) -> list[str]:
    """`prompt_extensions` of the score, then those of the sheet, rendered like the template."""
    return [template.render(variables).strip("\n") for template in _extensions(plan, num)]


def _extensions(plan: Plan, num: int) -> list[Renderer]:
    written = [*plan.config.prompt.prompt_extensions]
    written += plan.config.sheet.prompt_extensions.get(num, [])
    return [cached_template(text) for text in written]
