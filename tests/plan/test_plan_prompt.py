from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.config.load import Score
from marianne_core.config.profiles import load_profiles
from marianne_core.model.outcome import FailureCategory, ValidationReport, ValidationResult
from marianne_core.model.states import AttemptMode
from marianne_core.plan.build import build_plan
from marianne_core.plan.cross_sheet import CrossSheet
from marianne_core.plan.injection import MAX_BYTES
from marianne_core.plan.prompt import build_prompt
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import TemplateProblem

FULL = """
prompt:
  template: "BODY {{ sheet_num }} {{ injected_skills | length }}"
  prompt_extensions: ["EXT {{ workspace }}"]
parallel: {enabled: true}
sheet:
  size: 1
  total_items: 2
  fan_out: {2: 2}
  prelude:
  - {file: "{{ workspace }}/context.md", as: context}
  - {file: skill.md, as: skill}
  cadenzas: {2: [{directory: more, as: context}, {file: tool.md, as: tool}]}
  prompt_extensions: {2: [OWN]}
movements: {2: {name: Chorus}}
validations:
- {type: file_exists, path: "a-{instance}.md", condition: stage == 2}
- {type: content_contains, path: b.md, pattern: "x`y"}
- {type: command_succeeds, command: "test -d {workspace}", sheet: 1, description: it is there}
- {type: content_regex, path: c.md, pattern: "^z", condition: sheet_num == 9 or stage == 2}
"""


def fill(ws: Path) -> None:
    (ws / "more").mkdir(parents=True)
    (ws / "context.md").write_text("CONTEXT", encoding="utf-8")
    (ws / "skill.md").write_text("SKILL", encoding="utf-8")
    (ws / "tool.md").write_text("TOOL", encoding="utf-8")
    (ws / "more" / "z.md").write_text("ZED", encoding="utf-8")
    (ws / "more" / "a.md").write_text("AYE", encoding="utf-8")
    (ws / "more" / "pic.png").write_bytes(b"\x89PNG\xff")
    (ws / "more" / "deep").mkdir()


def test_the_parts_stand_in_their_order(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    plan = plan_of(FULL)
    fill(plan.workspace)
    prompt = build_prompt(plan, 2)
    assert prompt.warnings == ()
    marks = [
        "<marianne-preamble>",
        "sheet 2 of 3 (Chorus), voice 1 of 2",
        str(plan.workspace),
        "</marianne-preamble>",
        "## Skills",
        "SKILL",
        "## Tools",
        "TOOL",
        "## Context",
        "CONTEXT",
        "### a.md",
        "AYE",
        str(plan.workspace / "more" / "pic.png"),
        "ZED",
        "BODY 2 1",
        "## What will be checked",
        "`a-1.md`",
        f"EXT {plan.workspace}",
        "OWN",
    ]
    places = [prompt.text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "Open this image" in prompt.text
    assert "workspace right now" in prompt.text
    assert "RETRY" not in prompt.text


def test_requirements_are_those_of_the_sheet_alone(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(FULL)
    first, third = build_prompt(plan, 1).text, build_prompt(plan, 3).text
    assert "a-" not in first.split("What will be checked")[1]
    assert "— it is there" in first
    assert "``x`y``" in first
    assert "it is there" not in third
    assert "1. The file `a-2.md` exists." in third
    assert "2. The file `c.md` matches the regular expression `^z`" in third
    # Sheet 1 had to pass this already, in the same words.
    assert "Must still hold from earlier sheets:\n- b.md contains 'x`y'" in third


def test_a_sheet_without_rules_has_no_such_section(plan_of: Callable[..., Plan]) -> None:
    assert "checked\n" not in build_prompt(plan_of("name2: x".replace("name2: x", "")), 1).text


def test_a_raw_instrument_gets_the_template_alone(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("instrument: cli" + FULL)
    fill(plan.workspace)
    assert build_prompt(plan, 2).text == "BODY 2 1"
    agent = plan_of(FULL).sheet(2).choice
    assert build_prompt(plan, 2, choice=agent).text.startswith("<marianne-preamble>")


def test_a_retry_says_so(plan_of: Callable[..., Plan]) -> None:
    assert "RETRY #2" in build_prompt(plan_of(""), 1, attempt=3).text


def test_completion_names_every_rule(plan_of: Callable[..., Plan]) -> None:
    report = ValidationReport(
        (
            ValidationResult(0, "file_exists", "first file", True),
            ValidationResult(
                1,
                "content_contains",
                "second file",
                False,
                expected="the words",
                actual="other words",
                reason="not in it",
                suggested_fix="write them",
            ),
            ValidationResult(
                2, "file_exists", "third", False, category=FailureCategory.SKIPPED, actual="?"
            ),
        )
    )
    plan = plan_of("")
    text = build_prompt(plan, 1, 2, AttemptMode.COMPLETION, None, report).text
    assert "passed 1 of 3 checks (33 %)" in text
    assert text.index("- first file") < text.index("1. second file") < text.index("2. third")
    for part in ("Expected: the words", "Found: other words", "Why: not in it", "write them"):
        assert part in text
    assert "an earlier stage" in text
    assert "RETRY #1" in text
    assert "another way" not in text  # the end says to keep what passed
    plain = build_prompt(plan, 1, 2, AttemptMode.NORMAL, None, report).text
    assert "second file" not in plain
    assert "another way" in plain
    # Nothing is known of the earlier attempt, so nothing is said about what is left.
    assert "another way" in build_prompt(plan, 1, 2, AttemptMode.COMPLETION, None, None).text


def test_the_default_prompt(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        sheet: {size: 10, total_items: 11}
        prompt: {stakes: Much depends on it., thinking_method: Step by step.}
        instrument: cli
        """
    )
    assert build_prompt(plan, 1).text.split("\n")[0] == "Sheet 1 of 2: work on items 1 to 10."
    assert "Much depends on it." in build_prompt(plan, 1).text
    assert build_prompt(plan, 2).text.startswith("Sheet 2 of 2: work on item 11.")


def test_missing_injections_warn_and_do_not_stop(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        sheet:
          size: 1
          total_items: 1
          prelude:
          - {file: none.md, as: context}
          - {file: none.md, as: tool}
          - {directory: nowhere, as: skill}
          - {file: "{{ typo }}x.md", as: context}
          - {file: big.md, as: context}
          - {file: ".", as: context}
          - {file: "{{ 1 / 0 }}", as: context}
        """
    )
    plan.workspace.mkdir()
    (plan.workspace / "x.md").write_text("EX", encoding="utf-8")
    (plan.workspace / "big.md").write_bytes(b"B" * (MAX_BYTES + 1))
    prompt = build_prompt(plan, 1)
    warnings = "\n".join(prompt.warnings)
    for part in ("background", "a tool", "a skill", "typo", "not a file", "ZeroDivision"):
        assert part in warnings
    assert "EX" in prompt.text
    assert "BBBB" not in prompt.text
    assert f"quote: {plan.workspace / 'big.md'}" in prompt.text


def test_context_reaches_the_template(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        "prompt: {template: '{{ previous_outputs[1] }}{{ skipped_upstream }}'}\ninstrument: cli"
    )
    cross = CrossSheet(previous_outputs={1: "said"}, skipped_upstream=[2], warnings=["odd"])
    prompt = build_prompt(plan, 3, previous=cross)
    assert (prompt.text, prompt.warnings) == ("said[2]", ("odd",))
    with pytest.raises(TemplateProblem):
        build_prompt(plan, 3)


def test_a_model_without_tools_is_not_told_of_files(score_of: Callable[[str], Score]) -> None:
    score = score_of(
        """
        instrument: anthropic_api
        parallel: {enabled: true}
        sheet: {size: 1, total_items: 2}
        prompt: {template: BODY}
        """
    )
    plan = build_plan(score, load_profiles())
    text = build_prompt(plan, 1).text
    assert "You have no tools" in text
    assert "You play sheet 1 of 2." in text
    assert "BODY" in text
    for word in ("orkspace", "git", "background", "RETRY"):
        assert word not in text, word
    assert "RETRY #1" in build_prompt(plan, 1, attempt=2).text
