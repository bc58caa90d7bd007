"""What is found out about a score by rendering its sheets before it runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import pytest

from marianne_core.model.problem import Problem
from marianne_core.plan.rehearsal import preview
from marianne_core.plan.sampling import MIN_SHEETS, sheets_to_try
from marianne_core.plan.sheets import Plan

Check = Callable[..., list[Problem]]


def brief(problems: list[Problem]) -> list[tuple[str, str, int | None]]:
    return [(p.code, p.severity.value, p.line) for p in problems]


ALL_AT_ONCE = """
sheet:
  size: 1
  total_items: 2
  prompt_extensions:
    2: ["{{ gamma }}"]
prompt:
  template: |
    {{ alpha }}
    {{ beta }}
    {% if alpha %}{{ if_true }}{% else %}{{ if_false }}{% endif %}
  prompt_extensions:
  - "{{ delta }} {{ epsilon.x | upper }}"
"""


def test_all_undefined_variables_are_reported_at_once(problems_of: Check) -> None:
    found = problems_of(ALL_AT_ONCE)
    errors = [p for p in found if p.severity == "error"]
    assert [(p.message.split(" is ")[0], p.line) for p in errors] == [
        ("'gamma'", 8),
        ("'alpha'", 11),
        ("'beta'", 12),
        ("'delta'", 15),
        ("'epsilon'", 15),
    ]
    assert [p.message.rpartition(": ")[2] for p in errors] == [
        "sheet 2 fails",
        *["sheets 1 and 2 fail"] * 4,
    ]
    # What hangs on the value of `alpha` is not certain.
    rest = [p for p in found if p not in errors]
    assert [(p.code, p.severity.value, p.line) for p in rest] == [("V101", "warning", 13)] * 2
    assert all("no rendered sheet reached" in p.message for p in rest)


@pytest.mark.parametrize(
    "behind",
    [
        "{{ alpha + 1 }}{{ 1 - alpha * 2 }}{{ -alpha }}{{ alpha // 3 % 2 }}",
        "{{ alpha.x.y[3] }}{{ alpha.call(1) }}{{ alpha | upper | length }}",
        "{% for a in alpha %}{{ a.b }}{% endfor %}{{ 'x' in alpha }}{{ alpha | int + 1 }}",
        "{{ alpha < 3 }}{{ 'x' ~ alpha }}{{ alpha | first | default(1) }}",
    ],
)
def test_an_undefined_variable_does_not_hide_those_behind_it(
    problems_of: Check, behind: str
) -> None:
    template = "{{ alpha }}" + behind + "{{ beta }}"
    found = problems_of(f'prompt: {{template: "{template}"}}')
    assert [(p.code, p.severity.value) for p in found] == [("V101", "error")] * 2
    assert {p.message.split(" is ")[0] for p in found} == {"'alpha'", "'beta'"}


def test_what_fails_only_because_of_a_stand_in_is_not_reported(problems_of: Check) -> None:
    template = "{{ alpha }}{{ alpha | tojson }}{{ 7 // (alpha | int) }}{{ beta }}"
    found = problems_of(f'prompt: {{template: "{template}"}}')
    assert [p.code for p in found if p.severity == "error"] == ["V101"]


INJECTED = """
sheet:
  size: 1
  total_items: 2
  prelude:
  - {{file: a.txt, as: context}}
  cadenzas:
    2: [{{directory: notes, as: skill}}]
prompt: {{template: "{template}"}}
"""


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("x {{ injected_context[0] }}", []),
        (
            "{{ injected_context | first }}{% if stage == 2 %}{{ injected_skills[4] }}{% endif %}",
            [],
        ),
        ("{{ (injected_context | last).strip() }}", []),
        ("{% if not injected_context %}{{ nope }}{% endif %}", [("V101", "warning")]),
        ("{% if injected_context %}{{ nope }}{% endif %}", [("V101", "warning")]),
        ("{{ injected_context[0].split('|')[3] }}", [("V101", "warning")]),
        # There is one text at most, and none of this kind.
        ("{{ injected_context[1] }}", [("V101", "error")]),
        ("{{ injected_tools[0] }}", [("V101", "error")]),
        ("{% if stage == 1 %}{{ injected_skills[0] }}{% endif %}", [("V101", "error")]),
    ],
)
@pytest.mark.parametrize("instrument", ["agent", "cli"])
def test_injected_texts_are_not_known_before_the_run(
    problems_of: Check,
    tmp_path: Path,
    template: str,
    expected: list[tuple[str, str]],
    instrument: str,
) -> None:
    (tmp_path / "ws" / "notes").mkdir(parents=True)
    (tmp_path / "ws" / "a.txt").write_text("A", encoding="utf-8")
    found = problems_of(f"instrument: {instrument}{INJECTED.format(template=template)}")
    assert [(p.code, p.severity.value) for p in found] == expected


def test_a_variable_of_the_score_hides_injected_texts(problems_of: Check) -> None:
    text = INJECTED.format(template="{{ injected_context.x }}").replace("prompt: {", PROMPT)
    assert [p.code for p in problems_of(text) if p.severity == "error"] == []


PROMPT = "prompt: {variables: {injected_context: {x: 1}}, "


def test_upstream_may_have_been_skipped(problems_of: Check) -> None:
    text = (
        "cross_sheet: {auto_capture_stdout: true}\n"
        'prompt: {template: "{% if stage == 3 %}{{ skipped_upstream[0] }}{% endif %}"}'
    )
    assert [(p.code, p.severity.value) for p in problems_of(text)] == [("V101", "warning")]


@pytest.mark.parametrize(
    "skip", ['skip_when: {2: "true"}', "skip_when_command: {2: {command: 'true'}}"]
)
def test_a_sheet_that_may_be_skipped_is_not_certain_to_fail(problems_of: Check, skip: str) -> None:
    text = f"""
    sheet:
      size: 1
      total_items: 3
      {skip}
    prompt: {{template: "{{% if stage == STAGE %}}{{{{ nope }}}}{{% endif %}}"}}
    """
    for stage, severity in ((2, "warning"), (3, "error")):
        found = problems_of(text.replace("STAGE", str(stage)))
        assert [(p.code, p.severity.value) for p in found] == [("V101", severity)]


HUGE = """
sheet: {{size: 1, total_items: {total}}}
prompt:
  variables: {{special: [40321]}}
  template: "{template}"
"""


@pytest.mark.parametrize("num", [77, 301, 4_999])
def test_every_sheet_of_a_thousand_is_rendered(problems_of: Check, num: int) -> None:
    # No number of the template is that of the sheet.
    template = f"{{% if sheet_num * 3 == {num * 3} %}}{{{{ nope }}}}{{% endif %}}"
    [problem] = problems_of(HUGE.format(total=5_000, template=template))
    assert (problem.code, problem.severity) == ("V101", "error")
    assert f"sheet {num} fails" in problem.message


@pytest.mark.parametrize(
    ("condition", "num"),
    [
        ("sheet_num == 77777", 77777),
        ("sheet_num > 61234 and sheet_num <= 61235", 61235),
        ("sheet_num in special", 40321),
        ("sheet_num in [5, 88123]", 88123),
    ],
)
def test_of_a_hundred_thousand_sheets_those_that_are_named_are_rendered(
    problems_of: Check, condition: str, num: int
) -> None:
    slow = "{% for n in range(900) %}{% endfor %}"
    template = f"{slow}{{% if {condition} %}}{{{{ nope }}}}{{% endif %}}"
    found = problems_of(HUGE.format(total=100_000, template=template))
    errors = [p for p in found if p.severity == "error"]
    assert [p.code for p in errors] == ["V101"]
    assert str(num) in errors[0].message
    [note] = [p for p in found if p.code == "V118"]
    rendered = int(note.message.partition(" of ")[0])
    assert MIN_SHEETS < rendered < 2_000


def test_stages_and_instances_that_are_named_are_rendered(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("sheet: {size: 1, total_items: 4, fan_out: {2: 90000, 3: 80000}}")
    first = list(islice(sheets_to_try(plan, [3, 70_000]), MIN_SHEETS))
    assert {1, 2, 90_001, 90_002, 170_001, 170_002} <= set(first)
    assert {70_001, 160_001} <= set(first)


@pytest.mark.parametrize("total", [1, 2, 300, 301, 1_000, 4_096, 99_999])
def test_every_sheet_comes_once(plan_of: Callable[..., Plan], total: int) -> None:
    plan = plan_of(f"sheet: {{size: 1, total_items: {total}}}")
    tried = list(sheets_to_try(plan, [-1, 0, 7, 500, 10**9]))
    assert sorted(tried) == list(range(1, total + 1))
    if total > 4_000:
        part = tried[: total // 4]
        # A quarter of the sheets leaves no large gap.
        edges = [0, *sorted(part), total + 1]
        assert max(b - a for a, b in pairwise(edges)) < 12


def test_a_sheet_with_directives_of_its_own_is_rendered(problems_of: Check) -> None:
    found = problems_of(
        """
        sheet: {size: 1, total_items: 100000, prompt_extensions: {54321: ["{{ gone }}"]}}
        prompt: {template: "{% for n in range(900) %}{% endfor %}"}
        """
    )
    assert [p.code for p in found if p.severity == "error"] == ["V101"]


def test_a_preview_shows_the_context_of_a_long_score(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        "sheet: {size: 1, total_items: 100000}\n"
        "cross_sheet: {auto_capture_stdout: true, lookback_sheets: 0}\n"
        "prompt: {template: '{{ previous_outputs | length }}{{ previous_outputs[5] }}'}\n"
        "instrument: cli"
    )
    assert preview(plan, 100_000) == "99999"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("sheet_num != 779 or workspace > 3", [("V112", "error")]),
        ("sheet_num * 2 != 9000 or workspace > 3", [("V112", "error")]),
        ("10 / (sheet_num - 6999) > 0", [("V112", "error")]),
        ("sheet_num == 6543", []),
        ("sheet_num > 6999", [("V119", "warning")]),
        ("stage == 7 and sheet_num in [8, 9]", [("V119", "warning")]),
        ("not (stage < 7000)", [("V119", "warning")]),
        ("workspace == 'x' or sheet_num > 6998.5", []),
    ],
)
def test_conditions_of_many_sheets(
    problems_of: Check, condition: str, expected: list[tuple[str, str]]
) -> None:
    found = problems_of(
        f"""
        sheet: {{size: 1, total_items: 6999}}
        validations: [{{type: file_exists, path: a, condition: "{condition}"}}]
        """
    )
    assert [(p.code, p.severity.value) for p in found] == expected


def test_a_placeholder_is_looked_at_for_a_sheet_of_its_rule(problems_of: Check) -> None:
    found = problems_of(
        """
        sheet: {size: 1, total_items: 2000}
        validations:
        - {type: file_exists, path: "{nope}", condition: sheet_num == 1234}
        - {type: file_exists, path: "{sheet_num:zz}", sheet: 900}
        - {type: command_succeeds, command: "a {nope}", working_directory: "{gone}"}
        """
    )
    assert brief(found) == [
        ("V115", "error", 7),
        ("V115", "error", 8),
        ("V115", "error", 9),
    ]
