"""The score's models: defaults, bounds, rules between fields, and files people already have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.config.load import ScoreError, load_fleet, load_score, score_from_text
from marianne_core.config.score.job import JobConfig
from marianne_core.model.problem import Problem

SCORES = Path(__file__).resolve().parents[2].parent / "shared" / "scores"
SMALLEST = "name: a\nsheet: {size: 1, total_items: 3}\nprompt: {template: x}\n"


def job(text: str = "") -> JobConfig:
    return score_from_text(SMALLEST + text, Path("/scores/x.yaml")).config


def problems(text: str, base: str = SMALLEST) -> list[Problem]:
    with pytest.raises(ScoreError) as caught:
        score_from_text(base + text, Path("x.yaml"))
    assert caught.value.problems
    return caught.value.problems


def sheet(text: str) -> list[Problem]:
    return problems(f"name: a\nprompt: {{template: x}}\nsheet:\n{text}", "")


def test_the_smallest_score_has_the_defaults() -> None:
    config = job()
    assert config.primary_instrument == "claude-code"
    assert config.pause_between_sheets_seconds == 0
    assert config.retry.max_retries == 3
    assert config.retry.base_delay_seconds == 10
    assert config.parallel.enabled is False
    assert config.cross_sheet is None
    assert config.workspace == Path.home() / "workspaces" / "a"
    assert config.sheet.count == config.sheet.stages == 3


def test_workspaces_are_relative_to_the_score() -> None:
    assert job("workspace: ../w\n").workspace == Path("/w")
    assert job("workspace: /x/./y/../z\n").workspace == Path("/x/z")
    assert job("workspace: ~/w\n").workspace == Path.home() / "w"


def test_a_name_cannot_lead_out_of_the_workspaces() -> None:
    for name in ("../../etc", "a/b", "..", "."):
        text = SMALLEST.replace("name: a", f"name: {name!r}")
        workspace = score_from_text(text, Path("x.yaml")).config.workspace
        assert workspace.parent == Path.home() / "workspaces"


def test_template_files_are_relative_to_the_score() -> None:
    text = SMALLEST.replace("template: x", "template_file: p/t.j2")
    config = score_from_text(text, Path("/scores/x.yaml")).config
    assert config.prompt.template_file == Path("/scores/p/t.j2")


def test_integer_like_keys_become_integers() -> None:
    config = job(
        'movements: {"1": {name: A}}\n'
        'instrument_config: {timeout_overrides: {"2": "60"}, timeout_seconds: "90"}\n'
    )
    assert config.movements[1].name == "A"
    assert config.instrument_config == {"timeout_overrides": {2: 60.0}, "timeout_seconds": 90.0}
    text = SMALLEST.replace(
        "template: x", 'template: x, variables: {"1": a, t: {"2": {"-3": b, "04": c, 5: d}}}'
    )
    variables = score_from_text(text, Path("x.yaml")).config.prompt.variables
    assert variables == {"1": "a", "t": {2: {-3: "b", "04": "c", 5: "d"}}}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('sheet: {size: 1, total_items: 3, dependencies: {3: [1, 2], "3": []}}', [3]),
        (
            'sheet:\n  size: 1\n  total_items: 3\n  fan_out:\n    2: 3\n    "2": 1\n    "02": 1',
            [8, 9],
        ),
        ('sheet: {size: 1, total_items: 3, per_sheet_instruments: {" 1": cli, "1": x}}', [3]),
        ('sheet: {size: 1, total_items: 3, skip_when: {+1: "true", "1": "false"}}', [3]),
        ("sheet: {size: 1, total_items: 3, fan_out_stage_map: {'1': {}, 1: {}}}", [3]),
        ('sheet: {size: 1, total_items: 3}\nmovements:\n  1: {}\n  "1": {}', [6]),
        ('sheet: {size: 1, total_items: 3}\nbackend:\n  timeout_overrides: {1: 4, "1": 9}', [5]),
        (
            "sheet: {size: 1, total_items: 3}\ninstrument_config:\n"
            "  timeout_overrides:\n    1: 4\n    '01': 9",
            [7],
        ),
    ],
)
def test_two_spellings_of_one_number_key_are_refused(text: str, lines: list[int]) -> None:
    found = problems(f"name: a\nprompt: {{template: x}}\n{text}\n", "")
    assert [(p.code, p.line) for p in found] == [("V000", line) for line in lines]
    assert all("stands twice, as " in p.message for p in found)


def test_number_keys_in_quotes_are_still_numbers() -> None:
    text = "name: a\nprompt: {template: x}\nsheet: {size: 1, total_items: 3, skip_when: "
    score = score_from_text(text + '{"2": "true", 3: "no"}}', Path("x.yaml"))
    assert score.config.sheet.skip_when == {2: "true", 3: "no"}


def test_twins_among_variable_keys_are_refused() -> None:
    text = SMALLEST.replace("template: x", 'template: x, variables: {t: {"1": a, 1: b}}')
    assert "stands twice" in problems(text, "")[0].message


def test_older_and_newer_fields_are_accepted() -> None:
    config = job(
        "code_execution: {enabled: true, require_sandbox: true}\n"
        "judgment: {enabled: true, min_confidence: 0.9}\n"
        "stale_detection: {enabled: true, max_idle_checks_before_kill: 2}\n"
        "instrument_config: {interactive: false, allowed_tools: 'Read, Edit'}\n"
        "backend: {type: aider, timeout_seconds: 100, sheet_overrides: {1: {cli_model: m}}}\n"
    )
    assert config.primary_instrument == "aider"
    assert config.instrument_config["allowed_tools"] == ["Read", "Edit"]
    text = SMALLEST.replace("total_items: 3", "total_items: 3, total_sheets: 9")
    assert score_from_text(text, Path("x.yaml")).config.sheet.count == 3


def test_the_default_of_the_legacy_block_names_no_instrument() -> None:
    assert job("backend: {timeout_seconds: 5}\n").primary_instrument == "claude-code"
    assert job("backend: {type: claude_cli}\n").primary_instrument == "claude_cli"
    assert job("instrument: x\nbackend: {skip_permissions: false}\n").primary_instrument == "x"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("retry: {base_delay_seconds: 9, max_delay_seconds: 3}", 4, "longer than"),
        ("retry: {max_retries: -1}", 4, "at least 0"),
        ("retry: {exponential_base: 1}", 4, "more than 1"),
        ("retry: {completion_threshold_percent: 0}", 4, "more than 0"),
        ("retry: {completion_threshold_percent: 101}", 4, "at most 100"),
        ("rate_limit:\n  detection_patterns: ['(']", 5, "does not compile"),
        ("circuit_breaker: {failure_threshold: 101}", 4, "at most 100"),
        ("cost_limits: {enabled: true}", 4, "no limit"),
        ("cost_limits: {max_cost_per_job: 0}", 4, "more than 0"),
        ("stale_detection:\n  idle_timeout_seconds: 10", 5, "shorter than"),
        ("parallel: {max_concurrent: 21}", 4, "at most 20"),
        ("parallel: {stagger_delay_ms: 5001}", 4, "at most 5000"),
        ("parallel: {budget_partition: false}", 4, "not supported"),
        ("pause_between_sheets_seconds: -1", 4, "at least 0"),
        ("isolation: {branch_prefix: 9a}", 4, "must look like"),
        ("logging: {format: both}", 4, "file_path"),
        ("logging: {max_file_size_mb: 1001}", 4, "at most 1000"),
        ("ai_review: {min_score: 90}", 4, "lower than min_score"),
        ("feedback: {pattern: '['}", 4, "does not compile"),
        ("checkpoints: {enabled: true}", 4, "no trigger"),
        ("checkpoints: {triggers: [{name: x}]}", 4, "at least one"),
        ("learning: {exploration_budget: {floor: 0.9}}", 4, "above ceiling"),
        ("on_success: [{type: run_job}]", 4, "job_path"),
        ("on_success: [{type: run_command}]", 4, "`command`"),
        ("notifications: [{type: desktop, on_events: [job_done]}]", 4, "job_complete"),
        ("concert: {max_chain_depth: 0}", 4, "at least 1"),
        ("techniques: {x: {kind: skill}}", 4, "`phases` is missing"),
        ("conductor: {name: ''}", 4, "must not be empty"),
        ("bridge: {context_budget_percent: 96}", 4, "at most 95"),
        ("instrument: a\nbackend: {type: b}", 4, "both"),
        ("movements: {0: {name: x}}", 4, "whole number of at least 1"),
        ("movements: {x: {name: x}}", 4, "must be a whole number"),
        ("instrument_config: {timeout_seconds: 0}", 4, "more than 0"),
        ("instrument_config: {timeout_seconds: soon}", 4, "must be a number, not 'soon'"),
        ("instruments: {a: {config: {}}}", 4, "`profile` is missing"),
        ("cross_sheet: {max_output_chars: 0}", 4, "more than 0"),
        ("validations: [{type: file_exists}]", 4, "needs `path`"),
        ("validations: [{type: content_regex, path: a, pattern: '('}]", 4, "does not compile"),
        ("validations: [{type: file_exists, path: a, stage: 11}]", 4, "at most 10"),
        ("validations: [{type: file_exists, path: a, retry_count: 11}]", 4, "at most 10"),
        ("stale_detection: {idle_timeout_seconds: .inf}", 4, "finite"),
    ],
)
def test_bounds_and_rules_name_their_line(text: str, line: int, words: str) -> None:
    (problem,) = problems(text + "\n")
    assert problem.line == line
    assert words in problem.message


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("  size: 0\n  total_items: 1\n", (4, 9), "at least 1"),
        ("  size: 1\n  total_items: 2\n  start_item: 3\n", (6, 15), "behind the last item"),
        ("  size: 2\n  total_items: 2\n  fan_out: {1: 2}\n", (4, 9), "size: 1"),
        (
            "  size: 1\n  total_items: 2\n  start_item: 2\n  fan_out: {1: 2}\n",
            (6, 15),
            "start_item: 1",
        ),
        ("  size: 1\n  total_items: 2\n  fan_out: {1: 0}\n", (6, 16), "at least 1"),
        (
            "  size: 1\n  total_items: 2\n  dependencies:\n    2: [1, 2]\n",
            (7, 12),
            "depends on itself",
        ),
        (
            "  size: 1\n  total_items: 2\n  dependencies:\n    2: [1, 5]\n",
            (7, 12),
            "does not exist",
        ),
        (
            "  size: 2\n  total_items: 4\n  dependencies:\n    3: [1]\n",
            (7, 5),
            "there is no sheet 3",
        ),
        ("  size: 1\n  total_items: 2\n  dependencies: {2: 1}\n", (6, 21), "must be a list"),
        (
            "  size: 1\n  total_items: 2\n  instrument_map:\n    a: [1]\n    b: [2, 1]\n",
            (8, 12),
            "given to 'a' and to 'b'",
        ),
        ("  size: 1\n  total_items: 2\n  prelude: [{as: skill}]\n", (6, 13), "exactly one"),
        (
            "  size: 1\n  total_items: 2\n  prelude: [{file: a, as: skil}]\n",
            (6, 27),
            "context, skill or tool",
        ),
        (
            "  size: 1\n  total_items: 2\n  skip_when_command: {1: {command: x,"
            " timeout_seconds: 61}}\n",
            (6, 56),
            "at most 60",
        ),
    ],
)
def test_sheet_rules_name_their_place(text: str, place: tuple[int, int], words: str) -> None:
    (problem,) = sheet(text)
    assert (problem.line, problem.column) == place
    assert words in problem.message


def test_dependencies_are_numbered_by_stage_with_fan_out() -> None:
    text = SMALLEST.replace(
        "total_items: 3", "total_items: 3, fan_out: {2: 9}, dependencies: {3: [2]}"
    )
    config = score_from_text(text, Path("x.yaml")).config
    assert config.sheet.stages == 3
    assert config.sheet.count == 11
    wrong = text.replace("{3: [2]}", "{3: [4]}")
    assert "stage 3 depends on stage 4" in problems(wrong, "")[0].message


def test_all_phantom_dependencies_are_named_at_once() -> None:
    found = sheet("  size: 1\n  total_items: 2\n  dependencies: {2: [7, 8], 9: [1]}\n")
    assert len(found) == 3


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 9), total=st.integers(1, 60), start=st.integers(1, 60))
def test_the_number_of_sheets_is_that_of_the_slices(size: int, total: int, start: int) -> None:
    text = f"sheet: {{size: {size}, total_items: {total}, start_item: {start}}}\n"
    text = f"name: a\nprompt: {{template: x}}\n{text}"
    if start > total:
        assert "behind" in problems(text, "")[0].message
    else:
        count = score_from_text(text, Path("x.yaml")).config.sheet.count
        assert count == len(range(start, total + 1, size))


def test_limits_switch_themselves_on() -> None:
    assert job("cost_limits: {max_cost_per_job: 5}\n").cost_limits.enabled
    assert not job("cost_limits: {enabled: false, max_cost_per_job: 5}\n").cost_limits.enabled


def test_without_coordination_other_jobs_do_not_count() -> None:
    breaker = job("circuit_breaker: {cross_workspace_coordination: false}\n").circuit_breaker
    assert not breaker.honor_other_jobs_rate_limits


def test_true_is_no_number() -> None:
    (problem,) = problems("retry: {max_retries: true}\n")
    assert "must be a number, not true" in problem.message


def test_models_do_not_change_after_loading() -> None:
    config: Any = job()
    with pytest.raises(ValueError, match="frozen"):
        config.name = "b"


def test_the_api_of_existing_programs(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(SMALLEST + "workspace: w\n", encoding="utf-8")
    assert JobConfig.from_yaml(file).workspace == tmp_path / "w"
    assert JobConfig.from_yaml_string(SMALLEST).name == "a"
    score = load_score(file)
    assert score.job_id == "s"
    assert score.path == file
    assert score.marks.value(("workspace",)) == (4, 12)


def test_fleets_are_read_and_are_no_scores(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(
        "name: f\ntype: fleet\nscores: [{path: a.yaml, group: g}]\ngroups: {g: {depends_on: []}}\n",
        encoding="utf-8",
    )
    assert load_fleet(file).scores[0].group == "g"
    with pytest.raises(ScoreError, match="is a fleet"):
        load_score(file)


@pytest.mark.skipif(not SCORES.is_dir(), reason="the scores of other people are not here")
def test_scores_of_other_people_load() -> None:
    files = sorted(SCORES.glob("*.yaml"))
    assert len(files) >= 28
    for file in files:
        score = load_score(file)
        assert score.config.sheet.count >= 1
        assert score.marks.value(("prompt", "template")) is not None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sheet: {size: 1, total_items: 10000000}", 3),
        (f"sheet: {{size: 1, total_items: {10**300}}}", 3),
        ("sheet:\n  size: 1\n  total_items: 2\n  fan_out:\n    1: 5\n    2: 100000000", 8),
        ("sheet: {size: 1, total_items: 2}\nmovements:\n  1: {name: a}\n  2: {voices: 1000000}", 6),
    ],
)
def test_too_many_sheets_are_refused_before_any_is_made(text: str, line: int) -> None:
    [problem] = problems(f"name: a\nprompt: {{template: x}}\n{text}\n", "")
    assert (problem.code, problem.line) == ("V000", line)
    assert "at most 1,000,000 are possible" in problem.message


def test_the_largest_score_that_is_possible() -> None:
    text = SMALLEST.replace("size: 1, total_items: 3", "size: 1000, total_items: 1000000000")
    assert score_from_text(text, Path("x.yaml")).config.sheet_count == 1_000_000


def test_all_faults_of_the_sheets_are_reported_at_once() -> None:
    found = problems(
        "name: a\nprompt: {template: x}\nsheet:\n"
        "  size: 2\n"
        "  total_items: 8\n"
        "  fan_out: {2: 2}\n"
        "  dependencies:\n"
        "    4: [1, 1, 9]\n"
        "    3: [3]\n"
        "  instrument_map:\n"
        "    a: [1, 2, 2]\n"
        "    b: [1]\n",
        "",
    )
    assert [p.line for p in found] == [4, 8, 8, 9, 11, 12]
    assert "stands twice" in found[1].message
    assert "does not exist" in found[2].message
