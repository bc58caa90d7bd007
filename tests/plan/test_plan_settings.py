"""Settings that an instrument cannot be given are said, with the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.config.load import Score, score_from_text
from marianne_core.config.profiles import load_profiles
from marianne_core.model.problem import Problem
from marianne_core.plan.checks import check_plan

PROFILES = load_profiles()
HEAD = "name: a\nworkspace: w\nprompt: {template: x}\nsheet: {size: 1, total_items: 3}\n"


def found(text: str) -> list[Problem]:
    score = score_from_text(f"{HEAD}{text}\n", Path("s.yaml"))
    return [p for p in check_plan(score, PROFILES) if p.code == "V215"]


@pytest.mark.parametrize(
    ("text", "line", "severity", "message"),
    [
        (
            "instrument: codex-cli\ninstrument_config:\n  allowed_tools: [Read]",
            7,
            "warning",
            "codex-cli has no flag for allowed_tools: it has no effect there",
        ),
        ("instrument: codex-cli\ninstrument_config: {system_prompt: x}", 6, "warning", "codex-cli"),
        ("instrument: goose\nbackend: {skip_permissions: false}", 6, "warning", "goose"),
        ("instrument: aider\ninstrument_config: {disable_mcp: true}", 6, "info", "aider"),
        (
            "instrument: cli\ninstrument_config: {model: m}",
            6,
            "warning",
            "cli has no flag for model",
        ),
        (
            "instrument: x\ninstruments:\n  x:\n    profile: crush\n    config: {allowed_tools: a}",
            9,
            "warning",
            "crush has no flag",
        ),
        (
            "instrument: claude-code\nmovements:\n"
            "  2: {instrument: codex-cli, instrument_config: {allowed_tools: [Read]}}",
            7,
            "warning",
            "codex-cli",
        ),
        # A restriction that binds one agent and not the other.
        (
            "instrument: claude-code\ninstrument_config: {allowed_tools: [Read]}\n"
            "movements: {2: {instrument: codex-cli}, 3: {instrument: cli}}",
            6,
            "warning",
            "codex-cli has no flag for allowed_tools",
        ),
        (
            "instrument: aider\ninstrument_config: {allowed_tools: [Read]}\n"
            "movements: {2: {instrument: codex-cli}}",
            6,
            "warning",
            "aider and codex-cli have no flag",
        ),
    ],
)
def test_a_setting_without_a_flag(text: str, line: int, severity: str, message: str) -> None:
    [problem] = found(text)
    assert (problem.line, problem.severity.value) == (line, severity)
    assert message in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "instrument: claude-code\ninstrument_config: {allowed_tools: [Read], system_prompt: x}",
        "instrument: codex-cli\ninstrument_config: {model: m, skip_permissions: false}",
        "instrument: cli\ninstrument_config: {skip_permissions: true, allowed_tools: []}",
        # A shell script among agents has no model and no tools.
        "instrument: claude-code\ninstrument_config: {model: m, allowed_tools: [Read]}\n"
        "movements: {2: {instrument: cli}}",
        "instrument: nobody\ninstrument_config: {allowed_tools: [Read]}",
        "instrument: ollama\ninstrument_config: {model: m}",
        # An alias that plays no sheet.
        "instrument: claude-code\ninstruments: {x: {profile: aider, config: {allowed_tools: a}}}",
    ],
)
def test_settings_that_have_their_effect_or_nobody_to_be_for(text: str) -> None:
    assert found(text) == []


NAMELESS = """
name: nameless
display_name: Nameless
kind: http
http: {base_url: http://x, schema_family: openai}
"""


def test_a_model_behind_http_has_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "nameless.yaml").write_text(NAMELESS)
    profiles = load_profiles([tmp_path])

    def errors(text: str) -> list[tuple[str, int | None]]:
        score = score_from_text(f"{HEAD}instrument: nameless\n{text}", Path("s.yaml"))
        return [(p.message, p.line) for p in check_plan(score, profiles) if p.code == "V217"]

    message = "nameless has no default model, and the score names none"
    assert errors("") == [(message, 5)]
    assert errors("instrument_config: {model: m}\n") == []
    assert (
        errors("movements: {1: {instrument: cli}, 2: {instrument: cli}, 3: {instrument: cli}}\n")
        == []
    )


def test_settings_of_one_sheet(score_of: Callable[[str], Score]) -> None:
    text = (
        "instrument: claude-code\nmovements: {2: {instrument: aider}}\n"
        "validations: [{type: file_exists, path: a}]"
    )
    sheet = (
        "sheet: {size: 1, total_items: 3, per_sheet_instrument_config: {NUM: {allowed_tools: a}}}"
    )
    for num, expected in ((1, 0), (2, 1)):
        score = score_of(f"{sheet.replace('NUM', str(num))}\n{text}")
        assert len([p for p in check_plan(score, PROFILES) if p.code == "V215"]) == expected


@pytest.mark.parametrize(
    ("instrument", "phases", "line"),
    [
        ("aider", "[1, 2]", 6),
        ("aider", "[all]", None),
        ("aider", "[2]", 6),
        ("claude-code", "[all]", None),
        ("aider", "[3]", None),
        ("nobody", "[all]", None),
    ],
)
def test_a_technique_with_servers_needs_an_instrument_for_them(
    instrument: str, phases: str, line: int | None
) -> None:
    text = (
        f"{HEAD}instrument: {instrument}\ntechniques: {{t: {{kind: mcp, phases: {phases}}}}}\n"
        "movements: {3: {instrument: goose}}\n"
    )
    problems = check_plan(score_from_text(text, Path("s.yaml")), PROFILES)
    found = [(p.severity.value, p.line) for p in problems if p.code == "V302"]
    assert found == ([] if line is None else [("warning", line)])
