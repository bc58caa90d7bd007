"""The prompt of one attempt, put together in the order of the field reference, section 2.1."""

from __future__ import annotations

from dataclasses import dataclass, field

from marianne_core.config.score.sheet import InjectionCategory
from marianne_core.model.outcome import ValidationReport
from marianne_core.model.states import AttemptMode
from marianne_core.plan.completion import completion
from marianne_core.plan.cross_sheet import CrossSheet
from marianne_core.plan.injection import inject
from marianne_core.plan.instruments import InstrumentChoice
from marianne_core.plan.preamble import preamble
from marianne_core.plan.requirements import requirements
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import cached_template
from marianne_core.plan.variables import template_variables

_HEADINGS = {
    InjectionCategory.SKILL: "## Skills",
    InjectionCategory.TOOL: "## Tools",
    InjectionCategory.CONTEXT: "## Context",
}
"""Order and titles of the injected sections."""


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
    raw = (choice or plan.sheet(sheet_num).choice).raw_prompt
    injected = inject(plan, sheet_num, variables)
    if injected.texts:
        variables = {
            **variables,
            **_injected_variables(plan, injected.texts),
        }
    body = plan.renderer.render(variables)
    warnings = (*injected.warnings, *previous.warnings)
    if raw:
        return Prompt(body, warnings)
    parts = [preamble(plan, sheet_num, attempt)]
    for category, heading in _HEADINGS.items():
        if texts := injected.of(category):
            parts.append("\n\n".join((heading, *(text.strip("\n") for text in texts))))
    parts.append(body.strip("\n"))
    parts.append(requirements(plan, sheet_num))
    if mode is AttemptMode.COMPLETION and last_report is not None:
        parts.append(completion(last_report))
    parts += extensions(plan, sheet_num, variables)
    return Prompt("\n\n".join(part for part in parts if part) + "\n", warnings)


def _injected_variables(
    plan: Plan, texts: dict[InjectionCategory, list[str]]
) -> dict[str, list[str]]:
    names = {
        "injected_context": InjectionCategory.CONTEXT,
        "injected_skills": InjectionCategory.SKILL,
        "injected_tools": InjectionCategory.TOOL,
    }
    return {
        name: texts.get(category, [])
        for name, category in names.items()
        if name not in plan.variables
    }


def extensions(plan: Plan, num: int, variables: dict[str, object]) -> list[str]:
    """`prompt_extensions` of the score, then those of the sheet, rendered like the template."""
    written = [*plan.config.prompt.prompt_extensions]
    written += plan.config.sheet.prompt_extensions.get(num, [])
    return [cached_template(text).render(variables).strip("\n") for text in written]
