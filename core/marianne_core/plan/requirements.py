"""The end of a prompt: what the program will check, for this sheet alone.

Field reference, section 2.6, made exact: only rules that apply to the sheet are listed, with
their placeholders replaced. A rule that a sheet it waits for had to pass in the same words is only
named; the others are spelled out.
"""

from __future__ import annotations

from collections.abc import Sequence

from marianne_core.plan.rules import BoundRule, rules_for, shorten, shown
from marianne_core.plan.sheets import Plan

MAX_EARLIER = 8
"""Sheets that are looked at to find out which rules are old; a fan-in may have thousands."""


def requirements(plan: Plan, num: int) -> str:
    """The section, or an empty text when the sheet has no rules. Raises as `rules_for`."""
    rules = rules_for(plan, num)
    if not rules:
        return ""
    earlier: set[tuple[str, ...]] = set()
    for other in _earlier_sheets(plan, num):
        earlier |= {_essence(rule) for rule in rules_for(plan, other)}
    new = [rule for rule in rules if _essence(rule) not in earlier]
    old = [rule for rule in rules if _essence(rule) in earlier]
    lines = ["---", "", "## What will be checked", ""]
    if new:
        lines += [f"{place}. {_spelled_out(plan, rule)}" for place, rule in enumerate(new, 1)]
    if old:
        lines += [""] if new else []
        lines.append("Must still hold from earlier sheets:")
        lines += [f"- {rule.description}" for rule in old]
    return "\n".join(lines)


def _earlier_sheets(plan: Plan, num: int) -> Sequence[int]:
    """Some of the sheets that a sheet waits for: the first and last of each range."""
    ends = [n for block in plan.sheet(num).deps for n in (block[0], block[-1])]
    return list(dict.fromkeys(ends))[:MAX_EARLIER]


def _essence(rule: BoundRule) -> tuple[str, ...]:
    return (rule.type, str(rule.path), rule.pattern or "", rule.command or "")


def _spelled_out(plan: Plan, rule: BoundRule) -> str:
    name = f"`{shown(plan, rule.path)}`" if rule.path is not None else ""
    pattern = rule.pattern or ""
    match rule.type:
        case "file_exists":
            text = f"The file {name} exists."
        case "file_modified":
            text = f"The file {name} is changed by this sheet."
        case "content_contains":
            text = f"The file {name} contains exactly this text: {_quoted(pattern)}"
        case "content_regex":
            text = f"The file {name} matches the regular expression {_quoted(pattern)}"
        case _:
            text = f"This command ends with status 0: {_quoted(shorten(rule.command or '', 120))}"
    written = plan.config.validations[rule.index].description
    return f"{text} — {rule.description}" if written else text


def _quoted(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"
