"""Validation rules bound to a sheet: conditions worked out, placeholders replaced, paths absolute.

Decisions where people's files and the field reference leave room:

* Relative paths, and `working_directory`, start at the workspace. `~` is the home directory.
* In paths `{name}` and `{{ name }}` both are replaced; an unknown `{name}` is an error. Braces
  around anything else are part of the path.
* In commands known names are replaced in both forms by values that are quoted for the place they
  stand in; unknown names, `${name}` and all other braces are the shell's.
* Patterns are never changed. Descriptions show the values of known names.
* `sheet: N` and `condition` together mean both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marianne_core.config.score.validation import ValidationRule
from marianne_core.model.errors import InputError
from marianne_core.plan.expressions import ExpressionError
from marianne_core.plan.placeholders import PlaceholderError, expand_known, expand_path
from marianne_core.plan.sheets import Plan
from marianne_core.plan.shell_quoting import quoter
from marianne_core.plan.variables import rule_variables

COMMAND_SECONDS = 3600.0
"""Time limit of a command whose rule has none (field reference, section 5)."""


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A validation rule as it is looked at for one sheet."""

    index: int
    """Position in the score's `validations`, from 0."""
    type: str
    description: str
    """For people; made up from the rule where the score has none."""
    path: Path | None = None
    """Absolute."""
    pattern: str | None = None
    command: str | None = None
    """For bash, with values in the places of known names."""
    cwd: Path | None = None
    """Where the command runs: absolute; None for rules that are no command."""
    stage: int = 1
    retry_count: int = 3
    """How often a failed rule is looked at again."""
    retry_delay: float = 0.2
    """Seconds between two looks."""
    timeout: float | None = None
    """Seconds a look may take; always set for commands."""


def rules_for(plan: Plan, num: int) -> tuple[BoundRule, ...]:
    """The rules that apply to a sheet, in the order of the score.

    Prompt, baseline and validation of an attempt ask one after another: it is worked out once for
    them. Raises InputError when a condition or a path cannot be worked out; `check_plan` reports
    the same before anything runs.
    """
    if not plan.config.validations:
        return ()
    return plan.recent_rules.get(num, lambda: tuple(_bound(plan, num)))


def _bound(plan: Plan, num: int) -> Iterator[BoundRule]:
    places = plan.rule_index.candidates(num, plan.sheet(num).movement)
    if not places:
        return
    variables = rule_variables(plan, num)
    for index in places:
        rule = plan.config.validations[index]
        where = f"{plan.path}: validations[{index}], sheet {num}"
        try:
            if applies(plan, rule, variables):
                yield bind(plan, index, rule, variables)
        except ExpressionError as error:
            raise InputError(
                f"the condition {rule.condition!r} cannot be worked out: {error.message}",
                where=where,
                hint=error.hint,
            ) from None
        except PlaceholderError as error:
            raise InputError(str(error), where=where, hint=KNOWN_NAMES_HINT) from None


KNOWN_NAMES_HINT = (
    "known are workspace, sheet_num, stage, instance and the other built-ins, "
    "and the score's variables"
)


def applies(plan: Plan, rule: ValidationRule, variables: Mapping[str, Any]) -> bool:
    """Whether a rule is for the sheet with these variables. Raises ExpressionError."""
    if rule.sheet is not None and rule.sheet != variables["sheet_num"]:
        return False
    if rule.condition is None:
        return True
    condition = plan.conditions.get(rule.condition)
    if condition is None:
        raise ExpressionError("it does not parse, or asks for unknown names")
    return condition.applies(variables)


def bind(plan: Plan, index: int, rule: ValidationRule, variables: Mapping[str, Any]) -> BoundRule:
    """A rule with everything replaced that the sheet decides. Raises PlaceholderError."""
    command = cwd = None
    timeout = rule.timeout_seconds
    if rule.command is not None and rule.type == "command_succeeds":
        command = expand_known(rule.command, variables, quoter)
        cwd = _below(plan.workspace, rule.working_directory or ".", variables)
        timeout = timeout or COMMAND_SECONDS
    path = None if rule.path is None else _below(plan.workspace, rule.path, variables)
    return BoundRule(
        index=index,
        type=rule.type,
        description=expand_known(rule.description or "", variables)
        or describe(plan, rule.type, path, rule.pattern, command),
        path=path,
        pattern=rule.pattern,
        command=command,
        cwd=cwd,
        stage=rule.stage,
        retry_count=rule.retry_count,
        retry_delay=rule.retry_delay_ms / 1000,
        timeout=timeout,
    )


def _below(workspace: Path, text: str, variables: Mapping[str, Any]) -> Path:
    expanded = os.path.expanduser(expand_path(text, variables))
    if "\0" in expanded:
        raise PlaceholderError(f"{text!r} becomes a path with a zero byte")
    return Path(os.path.normpath(workspace / expanded))


def describe(
    plan: Plan, kind: str, path: Path | None, pattern: str | None, command: str | None
) -> str:
    """What a rule demands, in one line."""
    name = shown(plan, path) if path is not None else "the file"
    match kind:
        case "file_exists":
            return f"{name} exists"
        case "file_modified":
            return f"{name} is changed"
        case "content_contains":
            return f"{name} contains {shorten(pattern or '')!r}"
        case "content_regex":
            return f"{name} matches {shorten(pattern or '')!r}"
    return f"{shorten(command or '')} ends with status 0"


def shown(plan: Plan, path: Path) -> str:
    """A path as a person names it: relative to the workspace where it lies in it."""
    if path.is_relative_to(plan.workspace):
        return str(path.relative_to(plan.workspace))
    return str(path)


def shorten(text: str, width: int = 60) -> str:
    """The first line's beginning, with a mark where something is left out."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"
