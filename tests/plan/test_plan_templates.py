from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.model.problem import Problem
from marianne_core.plan.rehearsal import preview
from marianne_core.plan.rules import rules_for
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import (
    Fault,
    Origin,
    TemplateProblem,
    compile_template,
    excused_names,
)
from marianne_core.plan.where import PlanError


def render(source: str, **variables: object) -> str:
    return compile_template(source).render(variables)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a\n", "a\n"),
        ("{{ x | quote }}", "'a b'"),
        ("{% for i in [1, 2, 3] %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/3 2/3 3/3 "),
        ("{% for k, v in d.items() if v %}{{ k }}{{ loop.last }}{% else %}-{% endfor %}", "1True"),
        ("{% for i in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% set t = 'q' %}{% filter upper %}a{{ t }}{% endfilter %}", "AQ"),
        ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) }}{{ m('z') }}", "<1><z>"),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(5) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
            "10",
        ),
        (
            "{{ '%02d' % 7 }} {{ 'ab' * 2 }} {{ 2 ** 10 }} {{ '{:>4}'.format(1) }}",
            "07 abab 1024    1",
        ),
        ("{{ d[1] }}{{ 'y' if d[2] is defined else 'n' }}", "Truen"),
        ("{% for n in tree recursive %}{{ n.v }}{{ loop(n.c) if n.c }}{% endfor %}", "12"),
        ("{{ x | center(7) }}|{{ x | truncate(2, true, '', 0) }}", "  a b  |a "),
    ],
)
def test_ordinary_jinja_works(source: str, expected: str) -> None:
    tree = [{"v": 1, "c": [{"v": 2, "c": []}]}]
    assert render(source, x="a b", d={1: True}, tree=tree) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10**12) %}x{% endfor %}",
        "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
        "{% for i in range(9000) recursive %}{% if loop.depth < 9 %}{{ loop(range(9000)) }}"
        "{% endif %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{{ 'x' * 10**10 }}",
        "{{ 10**10 * 'x' }}",
        "{{ [1] * 10**10 }}",
        "{{ 9 ** 99999 }}",
        "{{ 10.0 ** 999 }}",
        "{{ 'x' | center(10**10) }}",
        "{{ 'x'.rjust(10**10) }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '{:>9999999999}'.format(1) }}",
        "{{ '{:>{w}}'.format(1, w=10**10) }}",
        "{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
        "{% endfor %}",
        "{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
        "{% endfor %}",
        "{% set ns = namespace(s=['x']) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
        "{% endfor %}",
        "{% for i in range(90000) %}{{ big }}{% endfor %}",
    ],
)
def test_a_template_always_ends(source: str) -> None:
    with pytest.raises(TemplateProblem) as caught:
        render(source, big="x" * 1000)
    assert caught.value.fault is Fault.BOUNDS


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ items.append(1) }}",
        "{{ d.update({1: 2}) }}",
        "{{ render.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        "{{ lipsum(5) }}",
    ],
)
def test_what_a_template_may_not_do_fails_in_words(source: str) -> None:
    items: list[int] = []
    with pytest.raises(TemplateProblem) as caught:
        render(source, items=items, d={}, render=render)
    assert items == []
    assert "line 1 of the template" in str(caught.value)


def test_undefined_names_are_named_with_line_and_hint() -> None:
    renderer = compile_template(
        "one\n\n{% macro m() %}\n{{ tpoic }}{% endmacro %}\n{{ m() }}", Origin("s.yaml", 10)
    )
    with pytest.raises(TemplateProblem) as caught:
        renderer.render({"topic": 1})
    problem = caught.value.problem()
    assert (caught.value.undefined, caught.value.line) == ("tpoic", 4)
    assert (problem.code, problem.file, problem.line) == ("V101", "s.yaml", 13)
    assert problem.hint == "did you mean topic?"


def test_undefined_parts_are_undefined_too() -> None:
    with pytest.raises(TemplateProblem) as caught:
        render("{{ team.lead.name }}", team={"lead": {}})
    assert caught.value.fault is Fault.UNDEFINED
    assert caught.value.undefined == ""


def test_syntax_errors_have_the_line_of_the_score(plan_of: Callable[..., Plan]) -> None:
    with pytest.raises(PlanError) as caught:
        plan_of(
            """
            prompt:
              template: |
                first

                {% if stage %}
                open
            """
        )
    [problem] = caught.value.problems
    # Six lines stand before the text; the third of the text is the one that opens the block.
    assert (problem.code, problem.line) == ("V001", 6 + 3)


def test_a_forgiving_renderer_leaves_gaps() -> None:
    renderer = compile_template("a{{ x }}b")
    assert renderer.forgiving().render({}) == "ab"
    with pytest.raises(TemplateProblem):
        renderer.render({})


def test_names_a_template_excuses() -> None:
    source = (
        "{% if a is defined %}{{ a }}{% endif %}{{ b | default(1) }}"
        "{% if c %}{% set d = 1 %}{% endif %}{{ d }}{% for e in f %}{% endfor %}"
    )
    assert excused_names(source) >= {"a", "b", "d", "e"}
    assert not {"c", "f"} & excused_names(source)


def test_threads_do_not_share_a_budget() -> None:
    renderer = compile_template("{% for i in range(60000) %}{% endfor %}ok")
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(renderer.render({}))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["ok"] * 6


def test_template_files_name_themselves(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("sheet {{ sheet_num }}\n{{ nope }}", encoding="utf-8")
    plan = plan_of("prompt: {template_file: t.j2}\ninstrument: cli")
    with pytest.raises(TemplateProblem) as caught:
        preview(plan, 1)
    assert caught.value.where == f"{tmp_path}/t.j2:2"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_template_files_that_cannot_be_read(
    plan_of: Callable[..., Plan], tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "t.j2").write_bytes(content)
    with pytest.raises(PlanError) as caught:
        plan_of("prompt: {template_file: t.j2}")
    assert [p.code for p in caught.value.problems] == ["V003"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_a_template_file_that_is_no_regular_file_is_refused_at_once(
    plan_of: Callable[..., Plan], tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Opening a pipe that nobody writes to must not wait for a writer."""
    make(tmp_path / "t.j2")
    with pytest.raises(PlanError) as caught:
        plan_of("prompt: {template_file: t.j2}")
    (problem,) = caught.value.problems
    assert problem.code == "V003"
    assert "regular file" in problem.message or "directory" in problem.message


def test_all_variables_of_templates(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    plan = plan_of(
        """
        sheet: {size: 10, total_items: 25, dependencies: {2: [1]}}
        prompt:
          template: "{{ sheet_num }}/{{ total_sheets }} {{ start_item }}-{{ end_item }}
            {{ stage }}{{ movement }}/{{ total_stages }}{{ total_movements }}
            {{ instance }}{{ voice }}/{{ fan_count }}{{ voice_count }} {{ workspace }}
            {{ previous_outputs }}{{ previous_files }}{{ skipped_upstream }}{{ injected_context }}
            {{ injected_skills }}{{ injected_tools }} {{ stakes }} {{ thinking_method }}
            {{ people[1] }} {{ people.deep[2] }} {{ added }}"
          stakes: high
          variables: {people: {"1": ada, deep: {"2": bob}}}
        instrument: cli
        """,
        variables={"added": 7},
        thinking_method="slowly",
    )
    assert preview(plan, 3).split() == [
        *["3/3", "21-25", "33/33", "11/11", str(tmp_path / "ws")],
        *["{}{}[][]", "[][]", "high", "slowly", "ada", "bob", "7"],
    ]


def test_a_variable_of_the_score_wins_in_templates_only(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        prompt: {template: "{{ stage }}", variables: {stage: mine}}
        instrument: cli
        validations: [{type: file_exists, path: "{stage}"}]
        """
    )
    assert preview(plan, 2) == "mine"
    assert [str(r.path.name) for r in rules_for(plan, 2) if r.path] == ["2"]


def test_var_wins_over_the_score_and_its_keys_become_numbers(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        'prompt: {template: "{{ who[1] }}", variables: {who: {1: x}}}\ninstrument: cli',
        variables={"who": {"1": "y"}},
    )
    assert preview(plan, 1) == "y"


FOLDED = """\
prompt:
  template: >-
    A first line
    that goes on {{ alpha }}

    and another
    one,
      # not folded

    the {{ beta }}
    last
"""


def test_lines_of_a_folded_template_are_those_of_the_file(
    problems_of: Callable[..., list[Problem]],
) -> None:
    found = problems_of(FOLDED)
    # Five lines stand before it; the line is the one in which the folded line begins.
    assert [(p.line, p.message.partition(" of the ")[2].partition(")")[0]) for p in found] == [
        (7, "folded template"),
        (14, "folded template"),
    ]


def test_a_template_file_that_is_missing_is_said_where_it_is_named(
    problems_of: Callable[..., list[Problem]], tmp_path: Path
) -> None:
    [problem] = problems_of("prompt:\n  template_file: gone.j2")
    assert (problem.code, problem.file, problem.line) == ("V003", str(tmp_path / "tested.yaml"), 6)
    assert f"{tmp_path / 'gone.j2'} cannot be read" in problem.message


def test_single_braces_in_a_template_file(
    problems_of: Callable[..., list[Problem]], tmp_path: Path
) -> None:
    (tmp_path / "t.j2").write_text("a\n{workspace} {{ stage }} {topic} {other}\n", encoding="utf-8")
    found = problems_of("prompt:\n  template_file: t.j2\n  variables: {topic: x}")
    assert [(p.code, p.severity, p.file, p.line) for p in found] == [
        ("V202", "warning", str(tmp_path / "t.j2"), 2)
    ] * 2
