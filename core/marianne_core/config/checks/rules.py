"""Validation rules: V106, V201, V203, V205, V216."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from marianne_core.config.checks.findings import Findings
from marianne_core.config.marks import Key
from marianne_core.config.score.job import JobConfig
from marianne_core.config.score.validation import ValidationRule

_PLAIN_NAME: Final = re.compile(r"\{\{\s*[A-Za-z_][\w.\[\]'\"]*\s*\}\}")
"""The Jinja form that paths may have, too."""
_ONLY_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "path": ("file_exists", "file_modified", "content_contains", "content_regex"),
    "pattern": ("content_contains", "content_regex"),
    "command": ("command_succeeds",),
    "working_directory": ("command_succeeds",),
    "timeout_seconds": ("command_succeeds", "content_contains", "content_regex"),
}
"""Keys of a rule that only some types look at, and these types."""


def check_rules(config: JobConfig, findings: Findings) -> None:
    """Do the rules say enough, and in the right language?"""
    if not config.validations:
        findings.warn(
            "V203",
            "the score has no validations: a sheet counts as done when its instrument succeeds",
            hint="add `validations:` that look at what the sheets make",
        )
    elif all(rule.type == "file_exists" for rule in config.validations):
        findings.inform(
            "V205",
            "all validations only ask whether a file exists: an empty one passes",
            "validations",
        )
    for place, rule in enumerate(config.validations):
        at = ("validations", place)
        _check_unused(rule, at, findings)
        if rule.type == "command_succeeds" and not (rule.command or "").strip():
            findings.warn("V106", "the command is empty: every sheet passes", *at, "command")
        if rule.type in _ONLY_FOR["path"] and not rule.path:
            text = "the path is empty: it means the workspace itself, and no sheet passes"
            findings.warn("V106", text, *at, "path")
        if rule.type in _ONLY_FOR["pattern"] and not (rule.pattern or "").strip():
            findings.warn("V106", "the pattern is empty: every file passes", *at, "pattern")
        if rule.path and re.search(r"\{\{|\{%", _PLAIN_NAME.sub("", rule.path)):
            findings.warn(
                "V201",
                "this path is no template: of Jinja only `{{ name }}` is replaced",
                *at,
                "path",
                hint="write {workspace}, {instance} and so on",
            )


def _check_unused(rule: ValidationRule, at: tuple[Key, ...], findings: Findings) -> None:
    """Keys that this type of rule does not look at: perhaps the type is not what was meant."""
    for key, types in _ONLY_FOR.items():
        if getattr(rule, key) is not None and rule.type not in types:
            findings.warn(
                "V216",
                f"a {rule.type} rule does not use `{key}`: it has no effect",
                *at,
                key,
                hint=f"it is for {' and '.join(types)}",
            )
