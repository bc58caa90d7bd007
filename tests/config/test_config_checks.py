"""Static checks of a score: each code, its severity and its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from marianne_core.config.checks import check_score
from marianne_core.config.load import score_from_text
from marianne_core.config.profiles import load_profiles
from marianne_core.model.problem import Problem, Severity

PROFILES = load_profiles()
CLEAN = """\
name: a
instrument: cli
workspace: w
sheet: {size: 1, total_items: 3}
prompt: {template: x}
validations:
  - {type: file_exists, path: a}
  - {type: command_succeeds, command: "true"}
"""
BARE = "name: a\ninstrument: cli\nsheet: {size: 1, total_items: 3}\nprompt: {template: x}\n"


def check(
    text: str, folder: Path, *, workspace: Path | None = None, to_run: bool = False
) -> list[Problem]:
    score = score_from_text(text, folder / "s.yaml")
    return check_score(score, PROFILES, workspace=workspace, to_run=to_run)


def one(text: str, folder: Path, code: str) -> Problem:
    (problem,) = [problem for problem in check(text, folder) if problem.code == code]
    return problem


def test_a_clean_score_has_no_problem(tmp_path: Path) -> None:
    assert check(CLEAN, tmp_path) == []


@pytest.mark.parametrize(
    ("text", "code", "severity", "line", "words"),
    [
        ("instrument_config: {system_prompt_file: no.md}", "V004", "error", 9, "no.md"),
        ("backend: {system_prompt_file: no.md}", "V004", "error", 9, "no.md"),
        ("backend: {working_directory: /no/such}", "V005", "error", 9, "/no/such"),
        ("backend: {timeout_seconds: 59}", None, "", 0, ""),
        ("instruments: {x: {profile: nobody}}", "V211", "warning", 9, "nobody"),
        ("instrument_fallbacks: [cli, nobody]", "V211", "warning", 9, "unknown"),
        ("instrument_fallbacks: [recursive_light]", "V211", "info", 9, "passed over"),
        ("movements: {2: {instrument: nobody}}", "V210", "error", 9, "'nobody'"),
        ("movements: {4: {name: x}}", "V212", "warning", 9, "no stage 4"),
        ("instrument_config: {tiemout_seconds: 9}", "V213", "warning", 9, "tiemout_seconds"),
        ("instrument_config: {disable_mcp: false}", "V209", "info", 9, "MCP"),
        ("code_execution: {enabled: true}", "V304", "warning", 9, "sandbox"),
    ],
)
def test_codes(
    tmp_path: Path, text: str, code: str | None, severity: str, line: int, words: str
) -> None:
    found = check(f"{CLEAN}{text}\n", tmp_path)
    if code is None:
        assert found == []
        return
    (problem,) = found
    assert (problem.code, problem.severity.value, problem.line) == (code, severity, line)
    assert words in problem.message


def test_the_workspace_must_be_makeable(tmp_path: Path) -> None:
    text = CLEAN.replace("workspace: w", "workspace: no/w")
    problem = one(text, tmp_path, "V002")
    assert problem.severity is Severity.ERROR
    assert problem.line == 3
    assert problem.hint == f"mkdir -p {tmp_path / 'no'}"
    assert check(text, tmp_path, workspace=tmp_path / "other") == []
    (tmp_path / "w").write_text("a file", encoding="utf-8")
    assert "not a directory" in one(CLEAN, tmp_path, "V002").message


def test_a_read_only_place_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Mode bits do not bind root, so the answer of the system is what is changed.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written" in one(CLEAN, tmp_path, "V002").message
    (tmp_path / "w").mkdir()
    assert f"{tmp_path / 'w'} cannot be written" in one(CLEAN, tmp_path, "V002").message


@pytest.mark.parametrize("place", ["/proc", "/sys"])
def test_a_place_where_even_root_makes_nothing_is_said(place: str, tmp_path: Path) -> None:
    if not os.path.ismount(place):
        pytest.skip(f"no {place} here")
    (problem,) = check(CLEAN, tmp_path, workspace=Path(place) / "w")
    assert problem.code == "V002"
    assert f"{place} cannot be written" in problem.message


def test_an_omitted_workspace_is_made_when_needed(tmp_path: Path) -> None:
    text = CLEAN.replace("workspace: w\n", "").replace("name: a", "name: no-such-score")
    assert check(text, tmp_path) == []


def test_files_that_are_there_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("x", encoding="utf-8")
    text = (
        f"{CLEAN}instrument_config: {{system_prompt_file: p.md, working_directory: {tmp_path}}}\n"
    )
    assert check(text, tmp_path) == []


def test_timeouts_of_agents_are_looked_at(tmp_path: Path) -> None:
    agent = CLEAN.replace("instrument: cli", "instrument: claude-code")
    short = one(f"{agent}instrument_config: {{timeout_seconds: 59}}\n", tmp_path, "V103")
    assert short.severity is Severity.WARNING
    long = one(f"{agent}backend: {{timeout_seconds: 7201}}\n", tmp_path, "V104")
    assert long.severity is Severity.INFO
    asks = one(f"{agent}instrument_config: {{skip_permissions: false}}\n", tmp_path, "V204")
    assert asks.severity is Severity.WARNING


def test_known_instruments_that_cannot_be_played(tmp_path: Path) -> None:
    model = CLEAN.replace("instrument: cli", "instrument: recursive_light")
    problem = one(model, tmp_path, "V210")
    assert (problem.severity, problem.line) == (Severity.WARNING, 2)
    (refused,) = check(model, tmp_path, to_run=True)
    assert refused.severity is Severity.ERROR


def test_a_default_instrument_that_cannot_be_played(tmp_path: Path) -> None:
    (tmp_path / "claude.yaml").write_text(
        "name: claude-code\ndisplay_name: C\nkind: cli\nexecution_status: unsupported\n"
        "cli: {command: {executable: claude}}\n"
    )
    score = score_from_text(CLEAN.replace("instrument: cli\n", ""), tmp_path / "s.yaml")
    (problem,) = check_score(score, load_profiles([tmp_path]))
    assert problem.code == "V210"
    assert "names no instrument" in problem.message


def test_agents_with_a_built_in_profile_are_no_problem(tmp_path: Path) -> None:
    for name in ("claude-code", "claude_cli", "codex-cli", "goose"):
        agent = CLEAN.replace("instrument: cli", f"instrument: {name}")
        assert check(agent, tmp_path, to_run=True) == []
    assert check(CLEAN.replace("instrument: cli\n", ""), tmp_path, to_run=True) == []


def test_unknown_primary_instruments_are_errors_with_a_hint(tmp_path: Path) -> None:
    problem = one(CLEAN.replace("instrument: cli", "instrument: claud-code"), tmp_path, "V210")
    assert problem.severity is Severity.ERROR
    assert "claude-code" in problem.hint


def test_aliases_are_resolved_and_blamed_at_their_definition(tmp_path: Path) -> None:
    text = CLEAN.replace("instrument: cli", "instrument: fast")
    assert check(f"{text}instruments: {{fast: {{profile: cli}}}}\n", tmp_path) == []
    problem = one(f"{text}instruments: {{fast: {{profile: nobody}}}}\n", tmp_path, "V210")
    assert problem.severity is Severity.ERROR
    assert problem.line == 9


def test_an_instrument_that_plays_nothing_is_not_blamed(tmp_path: Path) -> None:
    text = CLEAN.replace("instrument: cli", "instrument: claude-code")
    movements = "movements: {1: {instrument: cli}, 2: {instrument: cli}, 3: {instrument: cli}}\n"
    assert check(text + movements, tmp_path) == []
    single = text.replace("total_items: 3", "total_items: 3, instrument_map: {cli: [1, 2, 3]}")
    assert check(single, tmp_path) == []


def test_validations_are_asked_for(tmp_path: Path) -> None:
    assert one(BARE, tmp_path, "V203").severity is Severity.WARNING
    only = BARE + "validations: [{type: file_exists, path: a}]\n"
    assert one(only, tmp_path, "V205").severity is Severity.INFO


def test_patterns_and_paths_of_rules(tmp_path: Path) -> None:
    text = BARE + (
        "validations:\n"
        "  - {type: content_contains, path: a, pattern: ''}\n"
        "  - {type: file_exists, path: '{{ workspace }}/{{ x | upper }}'}\n"
        "  - {type: file_exists, path: '{{ workspace }}/{instance}'}\n"
    )
    assert one(text, tmp_path, "V106").line == 6
    assert one(text, tmp_path, "V201").line == 7


def test_format_placeholders_in_templates(tmp_path: Path) -> None:
    text = CLEAN.replace(
        "prompt: {template: x}\n",
        "prompt:\n  variables: {goal: g}\n  template: |\n"
        "    ${goal} {{goal}} {other} {'goal'}\n    write {goal} to {workspace} and {goal}\n",
    )
    found = [problem for problem in check(text, tmp_path) if problem.code == "V202"]
    assert [problem.line for problem in found] == [9, 9]
    assert "{{ goal }}" in found[0].hint


def test_fan_out_wants_dependencies_and_parallel(tmp_path: Path) -> None:
    text = CLEAN.replace("total_items: 3", "total_items: 3, fan_out: {2: 3}")
    assert {problem.code for problem in check(text, tmp_path)} == {"V206", "V207"}
    calm = text.replace("{2: 3}", "{2: 3}, dependencies: {2: [1]}") + "parallel: {enabled: true}\n"
    assert check(calm, tmp_path) == []
    alone = CLEAN.replace("total_items: 3", "total_items: 3, fan_out: {2: 1}")
    assert check(alone, tmp_path) == []


@pytest.mark.parametrize(
    "setting",
    [
        "descriptions: {6: x}",
        "cadenzas: {6: []}",
        "prompt_extensions: {6: []}",
        "spec_tags: {6: []}",
        "per_sheet_instruments: {6: cli}",
        "per_sheet_instrument_config: {6: {}}",
        "per_sheet_fallbacks: {6: []}",
        "instrument_map: {cli: [5, 6]}",
        "skip_when: {4: 'True'}",
        "skip_when_command: {4: {command: 'true'}}",
    ],
)
def test_numbers_beyond_the_last_sheet_have_no_effect(tmp_path: Path, setting: str) -> None:
    # Three stages, the second of them three sheets wide: five sheets.
    text = CLEAN.replace(
        "total_items: 3",
        f"total_items: 3, fan_out: {{2: 3}}, dependencies: {{2: [1]}}, {setting}",
    )
    problem = one(text, tmp_path, "V212")
    assert problem.severity is Severity.WARNING
    assert problem.line == 4
    fine = text.replace("{6:", "{5:").replace("[5, 6]", "[4, 5]").replace("{4:", "{3:")
    assert not [found for found in check(fine, tmp_path) if found.code == "V212"]


def test_voices_of_a_movement_count_as_sheets(tmp_path: Path) -> None:
    text = CLEAN.replace("total_items: 3", "total_items: 3, descriptions: {5: x}")
    assert one(text, tmp_path, "V212").line == 4
    assert check(f"{text}movements: {{2: {{voices: 3}}}}\n", tmp_path) == []


def test_a_prompt_without_a_template(tmp_path: Path) -> None:
    text = CLEAN.replace("template: x", "stakes: high")
    assert one(text, tmp_path, "V214").line == 5


def test_problems_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = BARE.replace("template: x", "stakes: x") + "workspace: no/w\nmovements: {9: {}}\n"
    lines = [problem.line or 0 for problem in check(text, tmp_path)]
    assert len(lines) >= 3
    assert lines == sorted(lines)


def test_a_skill_without_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    text = f"{CLEAN}techniques: {{neat: {{kind: skill, phases: [all], config: {{path: n.md}}}}}}\n"
    problem = one(text, tmp_path, "V301")
    assert (problem.severity, problem.line) == (Severity.WARNING, 9)
    for place in ("n.md", "home/.marianne/techniques/neat.md", ".marianne/techniques/neat.md"):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x", encoding="utf-8")
        assert check(text, tmp_path) == []
        file.unlink()


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("plan-v3", ("workspace: w", "workspace: plan-v2"), 3),
        ("plan-v3", ("path: a", "path: ../plan-v1/out.md"), 7),
        ("plan-v3", ('command: "true"', "command: cat /data/plan-v2/x"), 8),
        ("plan-v3", ("workspace: w", "workspace: plan-v3"), None),
        ("plan-v3", ("workspace: w", "workspace: my-plan-v2"), None),
        ("plan-v3", ("workspace: w", "workspace: plan-v2x"), None),
        ("plan", ("workspace: w", "workspace: plan-v2"), None),
        ("v3", ("workspace: w", "workspace: v2"), None),
    ],
)
def test_paths_of_an_older_version(
    tmp_path: Path, name: str, change: tuple[str, str], line: int | None
) -> None:
    found = check(CLEAN.replace("name: a", f"name: {name}").replace(*change), tmp_path)
    assert [(p.code, p.severity.value, p.line) for p in found if p.code == "V009"] == (
        [] if line is None else [("V009", "warning", line)]
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "{type: file_exists, path: a, command: c, pattern: z, timeout_seconds: 5}",
            ["V216", "V216", "V216"],
        ),
        ("{type: file_modified, path: a, working_directory: q}", ["V216"]),
        ("{type: content_regex, path: a, pattern: b, timeout_seconds: 5}", []),
        ("{type: command_succeeds, command: c, working_directory: q, timeout_seconds: 5}", []),
        ("{type: command_succeeds, command: c, path: a, pattern: ''}", ["V216", "V216"]),
        ("{type: command_succeeds, command: ' '}", ["V106"]),
        ("{type: file_exists, path: ''}", ["V106"]),
        ("{type: content_contains, path: a, pattern: ' '}", ["V106"]),
    ],
)
def test_keys_of_rules_that_do_nothing(tmp_path: Path, rule: str, expected: list[str]) -> None:
    found = check(f"{CLEAN}  - {rule}\n", tmp_path)
    assert [(p.code, p.severity, p.line) for p in found] == [
        (code, Severity.WARNING, 9) for code in expected
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("instrument_config: {timeout_overrides: {9: 4, 2: 5}}", 9),
        ("backend:\n  timeout_overrides: {9: 4, 3: 1}", 10),
        ("backend:\n  sheet_overrides:\n    9: {timeout_seconds: 4}", 11),
        ("instruments:\n  x: {profile: cli, config: {timeout_overrides: {9: 4}}}", 10),
        ("movements: {2: {instrument_config: {timeout_overrides: {4: 4}}}}", 9),
    ],
)
def test_timeouts_of_sheets_that_do_not_exist(tmp_path: Path, text: str, line: int) -> None:
    (problem,) = check(f"{CLEAN}{text}\n", tmp_path)
    assert (problem.code, problem.severity, problem.line) == ("V212", Severity.WARNING, line)


def test_an_empty_template_is_said(tmp_path: Path) -> None:
    for template in ('""', "' '"):
        problem = one(CLEAN.replace("template: x", f"template: {template}"), tmp_path, "V214")
        assert (problem.line, problem.severity) == (5, Severity.WARNING)


def test_aliases_of_aliases_are_followed(tmp_path: Path) -> None:
    text = CLEAN.replace("instrument: cli", "instrument: a")
    chain = "instruments:\n  a: {profile: b}\n  b: {profile: NAME}\n"
    assert check(text + chain.replace("NAME", "cli"), tmp_path, to_run=True) == []
    problem = one(text + chain.replace("NAME", "nobody"), tmp_path, "V210")
    assert (problem.line, "'nobody'" in problem.message) == (11, True)
    circle = one(text + chain.replace("NAME", "a"), tmp_path, "V210")
    assert circle.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ("movements: {1: {instrument: cli}, 2: {instrument: cli}}", True),
        ("movements: {1: {instrument: cli}, 3: {instrument: cli}}\nSHEET 2", False),
        ("movements: {1: {instrument: cli}, 3: {instrument: cli}}\nSHEET 3", True),
        ("movements: {1: {instrument: cli}, 2: {instrument: cli, voices: 2}}\nSHEET 3", True),
        ("movements: {1: {instrument: cli}, 2: {instrument: cli, voices: 2}}\nSHEET 4", False),
    ],
)
def test_an_instrument_that_plays_nothing_need_not_be_playable(
    tmp_path: Path, more: str, refused: bool
) -> None:
    text = CLEAN.replace("instrument: cli", "instrument: recursive_light")
    more, _, own = more.partition("\nSHEET ")
    if own:
        text = text.replace(
            "total_items: 3", f"total_items: 3, per_sheet_instruments: {{{own}: cli}}"
        )
    found = check(f"{text}{more}\n", tmp_path, to_run=True)
    assert [p.code for p in found if p.severity is Severity.ERROR] == ["V210"] * refused
