"""Validation rules: V106, V201, V203, V205."""

from __future__ import annotations

import re
from typing import Final

from marianne_core.config.checks.findings import Findings
from marianne_core.config.score.job import JobConfig

_PLAIN_NAME: Final = re.compile(r"\{\{\s*[A-Za-z_][\w.\[\]'\"]*\s*\}\}")
"""The Jinja form that paths may have, too."""


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
        if rule.pattern is not None and not rule.pattern.strip():
            findings.warn("V106", "the pattern is empty: every file passes", *at, "pattern")
        if rule.path and re.search(r"\{\{|\{%", _PLAIN_NAME.sub("", rule.path)):
            findings.warn(
                "V201",
                "this path is no template: of Jinja only `{{ name }}` is replaced",
                *at,
                "path",
                hint="write {workspace}, {instance} and so on",
            )
