"""What is decided beforehand about a prompt: made at once, or in a thread."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from marianne_core.plan.effort import prompt_may_take_long
from marianne_core.plan.sheets import Plan

CROSS = "cross_sheet: {auto_capture_stdout: true, lookback_sheets: LOOKBACK}"


def template(text: str) -> str:
    return f"prompt: {{template: {json.dumps(text)}}}"


def takes_long(plan_of: Callable[..., Plan], *lines: str, num: int = 3, raw: bool = True) -> bool:
    head = [f"instrument: {'cli' if raw else 'agent'}"]
    return prompt_may_take_long(plan_of("\n".join([*head, *lines])), num)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing", False),
        ("sheet {{ sheet_num }} of {{ total_sheets | int }}", False),
        ("{% if stage == 1 %}a{% else %}b{% endif %}{% set x = 1 + 1 %}{{ x }}", False),
        ("x" * 40_000, False),
        ("x" * 60_000, True),
        ("{% for n in [1] %}{% endfor %}", True),
        ("{{ range(9) | join }}", True),
        ("{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}", True),
        ("{{ 'x' * 9 }}", True),
    ],
)
def test_templates_that_can_multiply_work(
    plan_of: Callable[..., Plan], text: str, expected: bool
) -> None:
    assert takes_long(plan_of, template(text)) is expected


def test_large_variables_count_where_they_are_used(plan_of: Callable[..., Plan]) -> None:
    variables = {"rows": [{"n": n} for n in range(800)], "text": "x" * 200_000, "small": [1, 2]}

    def prompt(text: str) -> str:
        return "prompt: " + json.dumps({"template": text, "variables": variables})

    assert takes_long(plan_of, prompt("{{ rows | length }}"))
    assert takes_long(plan_of, prompt("{{ text | upper }}"))
    assert not takes_long(plan_of, prompt("{{ small }}"))


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("{{ previous_outputs[1] }}", CROSS.replace("LOOKBACK", "3"), False),
        ("{{ previous_outputs[1] }}", CROSS.replace("LOOKBACK", "0"), True),
        ("nothing", CROSS.replace("LOOKBACK", "0"), False),
        ("{{ previous_outputs[1] }}", "cross_sheet: {lookback_sheets: 0}", False),
        (
            "{{ previous_outputs[1] }}",
            "cross_sheet: {auto_capture_stdout: true, max_output_chars: 90000}",
            True,
        ),
        ("{{ previous_files }}", "cross_sheet: {capture_files: ['*.md']}", True),
        ("nothing", "cross_sheet: {capture_files: ['*.md']}", False),
        ("{{ skipped_upstream }}", CROSS.replace("LOOKBACK", "0"), False),
    ],
)
def test_context_of_other_sheets(
    plan_of: Callable[..., Plan], text: str, settings: str, expected: bool
) -> None:
    size = "sheet: {size: 1, total_items: 100}"
    assert takes_long(plan_of, template(text), settings, size, num=90) is expected


def test_a_fan_in_of_thousands_asks_for_many_statuses(plan_of: Callable[..., Plan]) -> None:
    text = """
        sheet: {size: 1, total_items: 2, fan_out: {1: 6000}, dependencies: {2: [1]}}
        cross_sheet: {lookback_sheets: 1}
        """
    lines = ["instrument: cli", template("{{ skipped_upstream | length }}")]
    plan = plan_of("\n".join([*lines, *(line.strip() for line in text.splitlines())]))
    assert prompt_may_take_long(plan, 6001)
    assert not prompt_may_take_long(plan, 5999)


@pytest.mark.parametrize(
    ("raw", "text", "expected"),
    [(True, "x", False), (True, "{{ injected_skills }}", True), (False, "x", True)],
)
def test_files_to_be_injected(
    plan_of: Callable[..., Plan], raw: bool, text: str, expected: bool
) -> None:
    sheet = "sheet: {size: 1, total_items: 4, cadenzas: {3: [{file: a, as: skill}]}}"
    assert takes_long(plan_of, template(text), sheet, raw=raw) is expected
    assert not takes_long(plan_of, template(text), sheet, raw=raw, num=2)


def test_directives_count_where_they_are_sent(plan_of: Callable[..., Plan]) -> None:
    prompt = "prompt: {template: x, prompt_extensions: ['{% for n in [1] %}{% endfor %}']}"
    assert takes_long(plan_of, prompt, raw=False)
    assert not takes_long(plan_of, prompt)


def test_rules_count_by_sheet(plan_of: Callable[..., Plan]) -> None:
    rules = [f"- {{type: file_exists, path: a{n}, sheet: 2}}" for n in range(60)]
    lines = ["validations:", *rules, "- {type: file_exists, path: b}"]
    assert takes_long(plan_of, *lines, num=2)
    assert not takes_long(plan_of, *lines, num=3)
    few = [line for line in lines if "a5" not in line][:12]
    assert takes_long(plan_of, *few, num=2, raw=False)  # those of earlier sheets are bound too
    assert not takes_long(plan_of, *few, num=2)
