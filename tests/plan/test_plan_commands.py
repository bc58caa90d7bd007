from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.model.errors import InputError
from marianne_core.model.problem import Problem
from marianne_core.plan.placeholders import PlaceholderError, expand_known, expand_path
from marianne_core.plan.rules import rules_for
from marianne_core.plan.sheets import Plan
from marianne_core.plan.shell_quoting import quoter


def said(command: str, value: str) -> str:
    """What a command prints with a value put into its place."""
    line = expand_known(command, {"w": value}, quoter)
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=True, timeout=20
    ).stdout


PLACES = [
    "printf %s {w}",
    'printf %s "{w}"',
    "printf %s '{w}'",
    'printf %s "$(printf %s "{w}")"',
    'printf %s "$(printf %s {w})"',
    "(printf %s {w})",
    "# don't {w}\nprintf %s {w}",
    'x=$(( 1 << 2 )); printf %s "{w}"',
    'printf %s "`printf %s {w}`"',
    "printf %s $'{w}'",
    "cat <<< {w} | tr -d '\\n'",
    "cat <<'X' | head -c -1\n{w}\nX\n",
    "cat <<X | head -c -1\n{w}\nX\n",
    "cat <<-X | head -c -1\n{w}\n\tX\n",
    'case a in a) printf %s "{w}";; esac',
]
VALUES = ["/a b/c", 'x"y', "$HOME `id` $(id)", "it's", "*", "#", "a;b", "a\\nb"]


@pytest.mark.parametrize("command", PLACES)
def test_a_value_stays_one_text_wherever_it_stands(command: str) -> None:
    for value in VALUES:
        assert said(command, value) == value


@settings(max_examples=25, deadline=None)
@given(
    st.text(alphabet="ab '\"$`\\!*;&|<>(){}\n\t#~é", max_size=12).filter(
        lambda s: not s.endswith("\n")
    )
)
def test_any_value_in_the_usual_places(value: str) -> None:
    for command in PLACES[:4]:
        assert said(f"{command}; printf .", value) == f"{value}."


def test_a_command_with_open_quotes_still_quotes_values() -> None:
    assert expand_known("echo {w} '", {"w": "a b"}, quoter) == "echo 'a b' '"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{w}/a", "W/a"),
        ("{{ w }}/a {{w}}", "W/a W"),
        ("awk '{print $1}' {w}", "awk '{print $1}' W"),
        ("${w} ${HOME} {HOME}", "${w} ${HOME} {HOME}"),
        ("python3 -c 'd={{}}; f\"{d}{w}\"'", "python3 -c 'd={{}}; f\"{d}W\"'"),
        ("{n:03d} {deep.x} {deep[y]} {deep[2]} {list[0]}", "007 1 2 3 p"),
        ("{deep.zz} {n:zz}", "{deep.zz} {n:zz}"),
        ("docker ps --format '{{ .Names }}'", "docker ps --format '{{ .Names }}'"),
        ("{1,2} {} {a b} {w-}", "{1,2} {} {a b} {w-}"),
    ],
)
def test_only_known_names_of_a_command_are_replaced(text: str, expected: str) -> None:
    variables = {"w": "W", "n": 7, "deep": {"x": 1, "y": 2, 2: 3}, "list": ["p"]}
    assert expand_known(text, variables, quoter) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{w}/{a,b}/{}/{2}", "W/{a,b}/{}/{2}"),
        ("{{ w }}/x", "W/x"),
        ("{n:02d}.md", "07.md"),
        ("plain", "plain"),
    ],
)
def test_paths_keep_braces_that_are_no_names(text: str, expected: str) -> None:
    assert expand_path(text, {"w": "W", "n": 7}) == expected


@pytest.mark.parametrize("text", ["{nope}/x", "{w.x}", "{w:d}", "{{ nope }}"])
def test_paths_refuse_names_that_are_unknown(text: str) -> None:
    with pytest.raises(PlaceholderError):
        expand_path(text, {"w": "W"})


RULES = """
prompt: {template: x, variables: {out: "my file"}}
sheet: {size: 1, total_items: 2, fan_out: {2: 2}}
validations:
- {type: file_exists, path: "{workspace}/a.md", stage: 2, retry_count: 0, description: "needs {out}"}
- {type: content_regex, path: "sub/{out}-{instance}.md", pattern: "x{2}{w}", retry_delay_ms: 500}
- {type: command_succeeds, command: 'test -f "{workspace}/{out}" {nope}', working_directory: sub}
- {type: command_succeeds, command: "true", timeout_seconds: 3}
- {type: file_modified, path: /abs/../b}
"""


def test_rules_are_bound_to_a_sheet(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    plan = plan_of(RULES, workspace=tmp_path / "my ws")
    ws = tmp_path / "my ws"
    exists, regex, command, plain, modified = rules_for(plan, 1)
    assert (exists.index, exists.type, exists.stage, exists.retry_count) == (0, "file_exists", 2, 0)
    assert (exists.path, exists.description, exists.cwd) == (ws / "a.md", "needs my file", None)
    assert (regex.path, regex.pattern) == (ws / "sub/my file-1.md", "x{2}{w}")
    assert (regex.retry_delay, regex.timeout) == (0.5, None)
    assert command.command == f'test -f "{ws}/my file" {{nope}}'
    assert (command.cwd, command.timeout) == (ws / "sub", 3600.0)
    assert (plain.cwd, plain.timeout) == (ws, 3.0)
    assert modified.path == Path("/b")
    assert rules_for(plan, 3)[1].path == ws / "sub/my file-2.md"


def test_an_unknown_placeholder_is_a_problem_before_the_run(
    problems_of: Callable[..., list[Problem]], plan_of: Callable[..., Plan]
) -> None:
    text = 'validations: [{type: file_exists, path: "{worspace}/a"}]'
    [problem] = problems_of(text)
    assert (problem.code, problem.severity) == ("V115", "error")
    assert "{worspace}" in problem.message
    with pytest.raises(InputError, match="worspace"):
        rules_for(plan_of(text), 1)
