"""V009: a score that evolved from an older version still names that version's files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from marianne_core.config.checks.findings import Findings
from marianne_core.config.load import Score
from marianne_core.config.marks import Key

_VERSION: Final = re.compile(r"(?P<base>.*[A-Za-z].*?)(?P<mark>[-_.]?[vV])(?P<number>\d{1,6})\Z")


def check_versions(score: Score, findings: Findings) -> None:
    """Does `plan-v3` write to the workspace of `plan-v2`, or look for its files?

    A warning: it may be what is meant.
    """
    versions = {
        (match["base"], int(match["number"]))
        for name in (score.config.name, score.job_id)
        if (match := _VERSION.match(name))
    }
    for base, number in versions:
        older = re.compile(rf"(?<![\w-]){re.escape(base)}[-_.]?[vV](\d{{1,6}})(?![\w])")
        for at, text in _paths(score):
            found = next((m for m in older.finditer(text) if int(m[1]) < number), None)
            if found is not None:
                findings.warn(
                    "V009",
                    f"this is version {number}, but {found[0]} is named here",
                    *at,
                    hint="write the paths of this version, unless the older one is meant",
                )


def _paths(score: Score) -> Iterator[tuple[tuple[Key, ...], str]]:
    """Where a score names files, as it is written."""
    data, config = score.source.data, score.config
    if isinstance(data.get("workspace"), str):
        yield ("workspace",), data["workspace"]
    if config.prompt.template_file is not None:
        yield ("prompt", "template_file"), str(data["prompt"].get("template_file", ""))
    items = [(("sheet", "prelude", n), item) for n, item in enumerate(config.sheet.prelude)]
    items += [
        (("sheet", "cadenzas", num, n), item)  # type: ignore[misc]  # longer keys
        for num, cadenza in config.sheet.cadenzas.items()
        for n, item in enumerate(cadenza)
    ]
    for at, item in items:
        yield at, item.file or item.directory or ""
    for place, rule in enumerate(config.validations):
        for key in ("path", "command", "working_directory"):
            yield ("validations", place, key), getattr(rule, key) or ""
