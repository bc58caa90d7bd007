"""All that is wrong with a score is told at once: what does not fit the schema hides nothing else."""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from marianne_core.config.load import ScoreError
from marianne_core.config.profiles import load_profiles
from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.reading import read_and_check

_PROFILES = load_profiles([])

RICH = """\
name: rich
workspace: ws
instrument: mine
instruments: {mine: {profile: cli, config: {timeout_seconds: 99}}, other: {profile: mine}}
movements: {1: {name: Begin}, 3: {instrument: other}}
sheet:
  size: 1
  total_items: 4
  fan_out: {2: 3}
  dependencies: {2: [1], 3: [2], 4: [3, 1]}
  skip_when: {4: "sheets.get(1) and sheets[1].attempt_count > 3"}
  skip_when_command: {3: {command: "false", timeout_seconds: 5}}
  descriptions: {1: first}
  per_sheet_instruments: {6: cli}
  per_sheet_instrument_config: {2: {timeout_seconds: 77}}
  instrument_map: {other: [1]}
  prelude: [{file: "{{ workspace }}/a.md", as: context}]
prompt:
  template: "echo {{ topic }} {{ words[voice - 1] }} {{ previous_outputs }}"
  variables: {topic: x, words: [a, b, c]}
cross_sheet: {auto_capture_stdout: true}
parallel: {enabled: true, max_concurrent: 2}
retry: {max_retries: 1, base_delay_seconds: 2}
validations:
  - {type: file_exists, path: "{workspace}/{sheet_num}.txt", condition: "stage == 2"}
  - {type: command_succeeds, command: "true", sheet: 6}
  - {type: content_contains, path: "{topic}.txt", pattern: x, condition: "topic == 'x'"}
"""


def problems_of(text: str, folder: Path) -> list[Problem]:
    path = folder / "score.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    (folder / "ws").mkdir(exist_ok=True)
    (folder / "ws" / "a.md").touch()
    try:
        return read_and_check(path, _PROFILES)[2]
    except ScoreError as error:
        return error.problems


def lines(problems: list[Problem]) -> list[tuple[int | None, str]]:
    return [(p.line, p.code) for p in problems if p.severity is Severity.ERROR]


def test_a_circle_and_an_unknown_instrument_are_told_beside_what_does_not_fit(
    tmp_path: Path,
) -> None:
    found = problems_of(
        """\
        name: a
        workspace: nowhere/w
        instrument: nonsense
        sheet:
          size: 1
          total_items: 3
          dependencies: {1: [3], 2: [1], 3: [2]}
        retry: {max_retires: 3}
        prompt: {template: "{{ nothing }}"}
        parallel: {enabled: maybe}
        """,
        tmp_path,
    )
    assert lines(found) == [
        (2, "V002"),
        (3, "V210"),
        (7, "V111"),
        (8, "V000"),
        (9, "V101"),
        (10, "V000"),
    ]


def test_a_block_that_does_not_fit_still_tells_what_it_is_asked_as_a_whole(tmp_path: Path) -> None:
    found = problems_of(
        """\
        name: a
        workspace: ws
        instrument: cli
        sheet:
          size: 1
          totl_items: 9
          dependencies: {2: [3], 3: [2], 4: [4], 7: [8]}
        prompt: {template: x}
        """,
        tmp_path,
    )
    assert lines(found) == [(4, "V000"), (6, "V000"), (7, "V111"), (7, "V000")]
    words = [p.message for p in found if p.severity is Severity.ERROR]
    assert "`total_items` is missing" in words[0]
    assert "circle" in words[2]
    assert "4 depends on itself" in words[3]


@pytest.mark.parametrize(
    "text",
    [
        "variabels: {x: 1}\nprompt: {template: '{{ x }}'}",
        "prompt: {template: '{{ x }}', variabels: {x: 1}}",
        "prompt: {template: '{{ x }}', variables: [x]}",
        "prompt: {template: x}\ninstruments: {mine: {profil: cli}}\nmovements: {1: {instrument: mine}}",
        "prompt: {template: x}\ninstrumens: {mine: {profile: cli}}\nmovements: {1: {instrument: mine}}",
        "prompt: {template: x}\nvalidations: [{type: file_exist, path: x}]",
        "prompt: {template: x}\nvalidations: [{type: file_exists, path: [x]}]",
        "prompt: {template: x}\nvalidations: [{type: file_exists, pth: x}]",
    ],
)
def test_nothing_is_said_because_of_what_does_not_fit(text: str, tmp_path: Path) -> None:
    head = "name: a\nworkspace: ws\ninstrument: cli\nsheet: {size: 1, total_items: 1}\n"
    found = problems_of(head + text, tmp_path)
    assert {code for _, code in lines(found)} <= {"V000", "V008"}
    first = [p for p in found if p.severity is Severity.ERROR]
    assert len(first) <= 2, [p.message for p in first]


def test_the_first_error_is_the_headline_not_a_warning_before_it(tmp_path: Path) -> None:
    path = tmp_path / "score.yaml"
    path.write_text(RICH.split("validations:")[0] + "colour: red\n", encoding="utf-8")
    (tmp_path / "ws").mkdir()
    with pytest.raises(ScoreError) as caught:
        read_and_check(path, _PROFILES)
    assert caught.value.problems[0].severity is Severity.WARNING
    assert caught.value.what == "unknown key `colour`"


def test_a_file_that_is_no_score_is_said_to_be_none(tmp_path: Path) -> None:
    (problem,) = problems_of("type: fleet\nname: x\nscores: []\n", tmp_path)
    assert "a fleet" in problem.message
    found = problems_of("name: 3\nsheet: 4\nprompt: []\n", tmp_path)
    assert lines(found) == [(1, "V000"), (2, "V000"), (3, "V000")]


def _places(data: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in entries:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*above, key))


@pytest.mark.parametrize("manner", ["another key", "another kind of value", "nothing"])
def test_wherever_a_good_score_is_spoiled_there_are_no_other_errors(
    manner: str, tmp_path: Path
) -> None:
    good = yaml.safe_load(RICH)
    assert lines(problems_of(RICH, tmp_path)) == []
    spoiled = 0
    for *above, key in _places(good):
        data = copy.deepcopy(good)
        block = data
        for each in above:
            block = block[each]
        if manner == "another key":
            if isinstance(key, int):
                continue
            block[f"{key}_"] = block.pop(key)
        else:
            block[key] = {"?": [{}]} if manner == "another kind of value" else None
        text = yaml.safe_dump(data, sort_keys=False)
        found = [p for p in problems_of(text, tmp_path) if p.severity is Severity.ERROR]
        if not any(p.code == "V000" for p in found):
            continue  # what may be anything is not spoiled
        spoiled += 1
        others = [f"{p.code} {p.message}" for p in found if p.code not in ("V000", "V008")]
        assert others == [], (above, key)
        assert len(found) <= 4, (above, key, [p.message for p in found])
    assert spoiled >= 25
