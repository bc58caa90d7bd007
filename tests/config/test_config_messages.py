"""What a person is told about a score that does not fit the schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from marianne_core.config.load import ScoreError, score_from_text
from marianne_core.model.errors import EXIT_INPUT
from marianne_core.model.problem import Problem

SMALLEST = "name: a\nsheet: {size: 1, total_items: 3}\nprompt: {template: x}\n"


def problems(text: str) -> list[Problem]:
    with pytest.raises(ScoreError) as caught:
        score_from_text(text, Path("x.yaml"))
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("retyr: {}", "x.yaml:4:1", "unknown key `retyr`", "did you mean `retry`? When sheets"),
        (
            "retry:\n  max_retry: 3",
            "x.yaml:5:3",
            "unknown key `max_retry` in `retry`",
            "did you mean `max_retries`? How many times a sheet runs again",
        ),
        (
            "movements:\n  1: {instrment: x}",
            "x.yaml:5:7",
            "unknown key `instrment` in `movements[1]`",
            "did you mean `instrument`?",
        ),
        (
            "validations:\n  - {type: file_exists, path: a, retry_cuont: 3}",
            "x.yaml:5:34",
            "unknown key `retry_cuont` in `validations[0]`",
            "did you mean `retry_count`?",
        ),
        (
            "description: d\ntechniques: {1: {kind: skill, phases: [all]}}",
            "x.yaml:5:14",
            "the key '1' of `techniques` must be text",
            'put it in quotes: "1"',
        ),
        ("max_retries: 3", "x.yaml:4:1", "unknown key `max_retries`", "belongs to `retry`"),
        (
            "timeout_seconds: 3",
            "x.yaml:4:1",
            "unknown key `timeout_seconds`",
            "belongs to `instrument_config`",
        ),
        ("on: x", "x.yaml:4:1", "unknown key `on`", "did you mean `on_success`?"),
        ("zzz: x", "x.yaml:4:1", "unknown key `zzz`", "no known key is like it"),
        ("concert: {zzz: x}", "x.yaml:4:11", "in `concert`", "known keys: enabled, max_chain"),
        ("description: 5", "x.yaml:4:14", "must be text, not 5", 'put it in quotes: "5"'),
        ("description: [a]", "x.yaml:4:1", "must be text, not a list", "What the score is for"),
        ("retry: 3", "x.yaml:4:8", "`retry` must be a mapping, not 3", "When sheets are tried"),
        ("validations:", "x.yaml:4:13", "is empty; it must be a list", "remove the line"),
        ("instrument_fallbacks: goose", "x.yaml:4:23", "must be a list", "write [goose]"),
        ("retry: {jitter: maybe}", "x.yaml:4:17", "must be true or false, not 'maybe'", ""),
        ("retry: {max_retries: 1.5}", "x.yaml:4:22", "must be a whole number, not 1.5", ""),
        ("state_backend: sqlit", "x.yaml:4:16", "json or sqlite", "did you mean `sqlite`?"),
    ],
)
def test_messages(text: str, place: str, message: str, hint: str) -> None:
    (problem,) = problems(f"{SMALLEST}{text}\n")
    assert problem.where == place
    assert message in problem.message
    assert hint in problem.hint
    assert "pydantic" not in problem.message


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
    found = problems("nam: a\nsheet:\n  size: x\n  total: 3\nprompt: 7\nretry: {jitter: 8}\n")
    assert [problem.line for problem in found] == sorted(problem.line or 0 for problem in found)
    text = " | ".join(problem.message for problem in found)
    for words in ("`name` is missing", "`nam`", "`sheet.size`", "`total`", "total_items", "prompt"):
        assert words in text


def test_the_error_itself_is_short_and_counts_the_rest() -> None:
    with pytest.raises(ScoreError) as caught:
        score_from_text("name: a\n", Path("x.yaml"))
    error = caught.value
    assert error.exit_code == EXIT_INPUT
    assert str(error).startswith("x.yaml:1:1: `sheet` is missing (and 1 more problem)")


@pytest.mark.parametrize("text", ["job_name: a\nsheets: [{prompt: x}]\n", "sheets: []\n"])
def test_the_first_format_is_recognised(text: str) -> None:
    (problem,) = problems(text)
    assert problem.line == 1
    assert "older score format" in problem.message
    assert "total_items" in problem.hint


def test_rules_carry_their_codes() -> None:
    found = problems(SMALLEST + "validations: [{type: content_regex, pattern: '('}]\n")
    assert {problem.code for problem in found} == {"V007", "V008"}
