from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.load import Score
from marianne_core.model.problem import Problem
from marianne_core.plan.checks import checked_plan
from marianne_core.plan.rehearsal import preview, sheet_list
from marianne_core.plan.sheets import Plan

Check = Callable[..., list[Problem]]


def brief(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(p.code, p.severity.value) for p in problems]


def test_a_good_score_has_no_problems(problems_of: Check) -> None:
    assert problems_of("prompt: {template: '{{ workspace }} {{ stage }}'}") == []


def test_an_undefined_variable_that_is_certain_to_fail(problems_of: Check) -> None:
    [problem] = problems_of(
        """
        prompt:
          template: |
            {% if sheet_num > 1 %}
            {{ topci }}
            {% endif %}
          variables: {topic: x}
        """
    )
    assert (problem.code, problem.severity, problem.line) == ("V101", "error", 8)
    assert "sheets 2 and 3 fail" in problem.message
    assert problem.hint == "did you mean topic?"


def test_var_can_give_what_the_score_lacks(problems_of: Check) -> None:
    text = "prompt: {template: '{{ topic }}'}"
    assert brief(problems_of(text)) == [("V101", "error")]
    assert problems_of(text, variables={"topic": 1}) == []


def test_an_undefined_variable_in_a_part_that_nobody_uses(problems_of: Check) -> None:
    [problem] = problems_of("prompt: {template: '{% if stage > 9 %}{{ rare }}{% endif %}'}")
    assert (problem.code, problem.severity) == ("V101", "warning")


@pytest.mark.parametrize(
    "template",
    [
        "{% if extra is defined %}{{ extra }}{% endif %}",
        "{{ extra | default('x') }}",
        "{% if stage == 1 %}{% set t = 1 %}{{ t }}{% endif %}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{% if stage == 9 %}{{ m(1) }}{% endif %}",
        "{% for x in [1] %}{{ x }}{% endfor %}",
    ],
)
def test_what_a_template_takes_care_of_is_no_problem(problems_of: Check, template: str) -> None:
    assert problems_of(f'prompt: {{template: "{template}"}}') == []


CROSS = "cross_sheet: {auto_capture_stdout: true, lookback_sheets: 1, capture_files: ['*.md']}\n"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        # What the sheet before said is there for certain.
        ("{% if stage > 1 %}{{ previous_outputs[sheet_num - 1] }}{% endif %}", []),
        ("{% for n, t in previous_outputs.items() %}{{ n }}{{ t[:9] }}{% endfor %}", []),
        ("{{ previous_files[workspace ~ '/a.md'] }}", []),
        ("{{ previous_outputs.values() | list | last if previous_outputs }}", []),
        ("{{ previous_outputs[2][:6] if 2 in previous_outputs else '' }}", []),
        # Two sheets back is never there with lookback_sheets: 1.
        ("{% if stage == 3 %}{{ previous_outputs[1] }}{% endif %}", [("V101", "error")]),
        # Depends on what it says.
        (
            "{% if stage == 2 %}{{ previous_outputs[1].split('|')[3] }}{% endif %}",
            [("V101", "warning")],
        ),
    ],
)
def test_context_that_is_not_known_yet(
    problems_of: Check, template: str, expected: list[tuple[str, str]]
) -> None:
    assert brief(problems_of(f'{CROSS}prompt: {{template: "{template}"}}')) == expected


def test_context_that_is_never_collected(problems_of: Check) -> None:
    [problem] = problems_of(
        "prompt: {template: '{% for n in previous_outputs %}{{ n }}{% endfor %}'}"
    )
    assert (problem.code, problem.severity) == ("V117", "warning")
    assert "auto_capture_stdout" in problem.hint


def test_everything_is_reported_at_once_in_the_order_of_the_file(problems_of: Check) -> None:
    found = problems_of(
        """
        sheet:
          size: 1
          total_items: 3
          dependencies:
            1: [2]
            2: [1]
          skip_when:
            3: "sheets["
        prompt:
          template: "{{ nope }}"
          variables: {stage: 1}
          prompt_extensions: ["{% if %}"]
        validations:
        - {type: file_exists, path: "{nope}"}
        - {type: file_exists, path: a, condition: "x =="}
        - {type: file_exists, path: a, condition: "stage == 77"}
        """
    )
    assert [p.code for p in found] == [
        *["V111", "V112", "V101", "V208", "V001", "V115", "V112", "V119"]
    ]
    lines = [p.line or 0 for p in found]
    assert lines == sorted(lines)


def test_there_is_no_plan_without_a_template(
    score_of: Callable[[str], Score], profiles: dict[str, InstrumentProfile]
) -> None:
    plan, problems = checked_plan(score_of("prompt: {template: '{{'}"), profiles)
    assert plan is None
    assert brief(problems) == [("V001", "error")]


def test_injected_files_that_are_missing(problems_of: Check, tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "there.md").write_text("x", encoding="utf-8")
    found = problems_of(
        """
        sheet:
          size: 1
          total_items: 2
          prelude:
          - {file: there.md, as: context}
          - {file: gone.md, as: context}
          - {file: "{{ workspace }}/later.md", as: context}
          - {file: made.md, as: context}
          - {directory: nowhere, as: skill}
          - {file: "{{ oops }}.md", as: skill}
        validations: [{type: file_exists, path: "{workspace}/made.md"}]
        """
    )
    assert brief(found) == [
        ("V108", "warning"),
        ("V108", "info"),
        ("V108", "warning"),
        ("V108", "warning"),
    ]
    assert "oops" in found[-1].message


def test_files_that_commands_refer_to(problems_of: Check, tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("", encoding="utf-8")
    found = problems_of(
        f"""
        validations:
        - {{type: command_succeeds, command: "python3 /nowhere/check.py {{workspace}}/x.md"}}
        - {{type: command_succeeds, command: "python3 {tmp_path}/check.py a.md > /dev/null.x"}}
        - {{type: command_succeeds, command: "it's open"}}
        """
    )
    assert [p.message for p in found] == [
        "the command refers to /nowhere/check.py, which does not exist"
    ]


def test_a_preview_is_the_prompt_of_the_first_attempt(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(CROSS + "prompt: {template: 'T{{ previous_outputs[1] }}'}")
    assert "<marianne-preamble>" in preview(plan, 2)
    assert "\nT\n" in preview(plan, 2)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([3], "sheet 3"),
        ([3, 5], "sheets 3 and 5"),
        ([1, 2, 3, 4], "sheets 1, 2, 3 and 4"),
        (list(range(1, 101)), "sheets 1, 2, 3 and 97 more"),
    ],
)
def test_lists_of_sheets(numbers: list[int], text: str) -> None:
    assert sheet_list(numbers) == text


def test_directives_and_patterns_are_checked_too(problems_of: Check) -> None:
    found = problems_of(
        """
        sheet:
          size: 1
          total_items: 2
          prompt_extensions:
            2: ["{{ gone }}"]
        cross_sheet:
          capture_files: ["{{ workspce }}/*.md"]
        """
    )
    assert brief(found) == [("V101", "error"), ("V101", "warning")]
    assert "sheet 2 fails" in found[0].message
    assert found[0].line == 9
    assert found[1].hint == "did you mean workspace?"


def test_context_can_be_written_as_json(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(CROSS + "prompt: {template: '{{ previous_outputs | tojson }}'}\ninstrument: cli")
    assert preview(plan, 2) == '{"1": ""}'


def test_files_that_other_sheets_make_count_with_their_own_variables(
    problems_of: Check, tmp_path: Path
) -> None:
    (tmp_path / "check-3.py").write_text("", encoding="utf-8")
    found = problems_of(
        f"""
        sheet:
          size: 1
          total_items: 3
          cadenzas:
            3: [{{file: "part-2.md", as: context}}]
        validations:
        - {{type: file_exists, path: "part-{{stage}}.md"}}
        - {{type: command_succeeds, command: "python3 {tmp_path}/check-{{stage}}.py", sheet: 3}}
        - {{type: command_succeeds, command: "python3 {tmp_path}/check-{{stage}}.py",
           condition: stage == 3}}
        """
    )
    assert found == []


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        ("{3: [1]}", [("V109", "warning")]),
        ("{3: [2]}", []),
        ("{3: [4], 4: [2]}", []),
        ("{2: [3]}", [("V109", "warning")]),
        ("{}", []),
    ],
)
def test_a_file_that_is_read_before_it_is_made(
    problems_of: Check, dependencies: str, expected: list[tuple[str, str]]
) -> None:
    text = f"""
sheet:
  size: 1
  total_items: 4
  dependencies: {dependencies}
  cadenzas:
    3: [{{file: "{{{{ workspace }}}}/made.md", as: context}}]
validations:
- {{type: file_exists, path: made.md, sheet: 2}}
"""
    found = problems_of(text)
    assert brief(found) == expected
    # A file that the reading sheet makes anew.
    assert problems_of(f"{text}- {{type: file_exists, path: made.md, sheet: 3}}") == []
