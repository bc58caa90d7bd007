"""The shape of a score: V202, V206, V207, V212, V214, V304."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from marianne_core.config.checks.files import blocks_of_settings
from marianne_core.config.checks.findings import Findings
from marianne_core.config.load import Score
from marianne_core.config.marks import Key, Position
from marianne_core.config.score.job import JobConfig

TEMPLATE_NAMES: Final = frozenset(
    {
        "sheet_num",
        "total_sheets",
        "start_item",
        "end_item",
        "workspace",
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
"""Variables of every template (field reference, section 2.3)."""

_FORMAT_NAME: Final = re.compile(r"(?<![{$\w])\{([A-Za-z_]\w*)\}(?!\})")


def check_structure(score: Score, findings: Findings) -> None:
    """Do stages, sheets and prompt fit together?"""
    config = score.config
    _check_prompt(score, findings)
    _check_fan_out(config, findings)
    _check_numbers(config, findings)
    if config.code_execution.enabled and not config.code_execution.require_sandbox:
        findings.warn(
            "V304",
            "code from answers would run without a sandbox",
            "code_execution",
            hint="add `require_sandbox: true`",
        )


def _check_prompt(score: Score, findings: Findings) -> None:
    prompt = score.config.prompt
    if prompt.template_file is None and prompt.template is not None and not prompt.template.strip():
        findings.warn(
            "V214",
            "the template is empty: agents are told nothing of their task",
            "prompt",
            "template",
        )
    if prompt.template is None and prompt.template_file is None:
        findings.warn(
            "V214",
            "the prompt has no template: agents are only told which sheet and items they work on",
            "prompt",
            hint="add `template: |` or `template_file:`",
        )
    for name, line in format_names(prompt.template or "", prompt.variables.keys()):
        in_file = score.marks.line_of(("prompt", "template"), line)
        findings.warn(
            "V202",
            FORMAT_NAME.format(name=name),
            "prompt",
            "template",
            hint=f"write {{{{ {name} }}}}",
            where=Position(in_file, 1) if in_file else None,
        )


FORMAT_NAME: Final = "{{{name}}} in the template stays as it is: templates are Jinja"
"""What is said about a name that `format_names` finds."""


def format_names(template: str, variables: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Variables in single braces, as Python's format() has them, each with its first line."""
    names = TEMPLATE_NAMES.union(variables)
    told: set[str] = set()
    for match in _FORMAT_NAME.finditer(template):
        name = match[1]
        if name in names and name not in told:
            told.add(name)
            yield name, template.count("\n", 0, match.start()) + 1


def _check_fan_out(config: JobConfig, findings: Findings) -> None:
    wide = [stage for stage, count in config.sheet.fan_out.items() if count > 1]
    if not wide:
        return
    if not config.sheet.dependencies:
        findings.warn(
            "V206",
            "fan_out without dependencies: the stages run one after another",
            "sheet",
            "fan_out",
            hint="write under `dependencies:` what each stage waits for",
        )
    if not config.parallel.enabled:
        findings.inform(
            "V207",
            "the sheets of a stage run one at a time: parallel is not enabled",
            "sheet",
            "fan_out",
            hint="add `parallel: {enabled: true}`",
        )


def _check_numbers(config: JobConfig, findings: Findings) -> None:
    """Settings of sheets and stages that do not exist have no effect."""
    stages = config.sheet.stages
    sheets = config.sheet_count
    for word, last, entries in (
        ("stage", stages, _stage_numbered(config)),
        ("sheet", sheets, _sheet_numbered(config)),
    ):
        for at, number in entries:
            if number > last:
                findings.warn(
                    "V212",
                    f"there is no {word} {number}: the score has {last}; this has no effect",
                    *at,
                )


def _stage_numbered(config: JobConfig) -> Iterator[tuple[tuple[Key, ...], int]]:
    sheet = config.sheet
    yield from _keys(("movements",), config.movements)
    yield from _keys(("sheet", "fan_out"), sheet.fan_out)
    yield from _keys(("sheet", "skip_when"), sheet.skip_when)
    yield from _keys(("sheet", "skip_when_command"), sheet.skip_when_command)


def _sheet_numbered(config: JobConfig) -> Iterator[tuple[tuple[Key, ...], int]]:
    sheet = config.sheet
    yield from _keys(("sheet", "descriptions"), sheet.descriptions)
    yield from _keys(("sheet", "prompt_extensions"), sheet.prompt_extensions)
    yield from _keys(("sheet", "cadenzas"), sheet.cadenzas)
    yield from _keys(("sheet", "spec_tags"), sheet.spec_tags)
    yield from _keys(("sheet", "per_sheet_instruments"), sheet.per_sheet_instruments)
    yield from _keys(("sheet", "per_sheet_instrument_config"), sheet.per_sheet_instrument_config)
    yield from _keys(("sheet", "per_sheet_fallbacks"), sheet.per_sheet_fallbacks)
    backend = config.backend
    yield from _keys(("backend", "timeout_overrides"), backend.timeout_overrides)
    yield from _keys(("backend", "sheet_overrides"), backend.sheet_overrides)
    for at, settings in blocks_of_settings(config):
        if at != ("backend",):
            yield from _keys((*at, "timeout_overrides"), settings.get("timeout_overrides", ()))
    for name, numbers in sheet.instrument_map.items():
        for place, number in enumerate(numbers):
            yield ("sheet", "instrument_map", name, place), number
    for place, rule in enumerate(config.validations):
        if rule.sheet is not None:
            yield ("validations", place, "sheet"), rule.sheet


def _keys(at: tuple[Key, ...], numbers: Iterable[int]) -> Iterator[tuple[tuple[Key, ...], int]]:
    for number in numbers:
        yield (*at, number), number
