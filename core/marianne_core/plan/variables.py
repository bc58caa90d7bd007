"""The variables of templates, conditions, validation paths and commands.

Field reference, sections 2.3 and 5. In templates a variable of the score wins over a built-in of
the same name; in conditions, paths and commands the built-in wins. Both as people's files expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marianne_core.plan.sheets import Plan, SheetPlan

RULE_NAMES = frozenset(
    {
        "sheet_num",
        "total_sheets",
        "start_item",
        "end_item",
        "workspace",
        "instrument_name",
        "stage",
        "instance",
        "fan_count",
        "total_stages",
        "movement",
        "voice",
        "voice_count",
        "total_movements",
    }
)
"""Built-in names in conditions, paths and commands of validations."""

TEMPLATE_NAMES = (RULE_NAMES - {"instrument_name"}) | {
    "previous_outputs",
    "previous_files",
    "skipped_upstream",
    "injected_context",
    "injected_skills",
    "injected_tools",
    "stakes",
    "thinking_method",
}
"""Built-in names in templates."""


_LARGE = 1_000
"""Parts of a value, or hundreds of characters in it, from which on it takes its time."""


def large_names(variables: Mapping[str, Any]) -> frozenset[str]:
    """The variables whose values are so large that what a template does with them may take long."""
    return frozenset(name for name, value in variables.items() if _parts(value, _LARGE) > _LARGE)


def _parts(value: Any, enough: int) -> int:
    """How many parts a value has, in all its depth; counting ends when there are `enough`."""
    if isinstance(value, str):
        return 1 + len(value) // 100
    count = 1
    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            count += _parts(part, enough - count)
            if count > enough:
                break
    return count


def sheet_facts(plan: Plan, sheet: SheetPlan) -> dict[str, Any]:
    """What is known about a sheet by its number alone; a solo sheet is instance 1 of 1."""
    return {
        "sheet_num": sheet.num,
        "total_sheets": plan.total_sheets,
        "start_item": sheet.start_item,
        "end_item": sheet.end_item,
        "workspace": str(plan.workspace),
        "stage": sheet.movement,
        "instance": sheet.instance,
        "fan_count": sheet.fan_count,
        "total_stages": plan.total_stages,
        "movement": sheet.movement,
        "voice": sheet.instance,
        "voice_count": sheet.fan_count,
        "total_movements": plan.total_stages,
    }


def rule_variables(plan: Plan, num: int) -> dict[str, Any]:
    """Variables of conditions, and of the paths and commands of validations, for one sheet."""
    sheet = plan.sheet(num)
    facts = sheet_facts(plan, sheet)
    return {**plan.variables, **facts, "instrument_name": sheet.instrument}


def template_variables(
    plan: Plan,
    num: int,
    *,
    previous_outputs: Mapping[int, str] | None = None,
    previous_files: Mapping[str, str] | None = None,
    skipped_upstream: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Variables of templates for one sheet; injected texts are added by who reads them."""
    return {
        **sheet_facts(plan, plan.sheet(num)),
        "previous_outputs": {} if previous_outputs is None else previous_outputs,
        "previous_files": {} if previous_files is None else previous_files,
        "skipped_upstream": [] if skipped_upstream is None else skipped_upstream,
        "injected_context": [],
        "injected_skills": [],
        "injected_tools": [],
        "stakes": plan.config.prompt.stakes or "",
        "thinking_method": plan.thinking_method or "",
        **plan.variables,
    }
