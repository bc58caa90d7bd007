"""Instrument profiles: the schema, where they are found, and what a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.profiles import (
    KNOWN_INSTRUMENTS,
    Profiles,
    load_profiles,
    profile_directories,
)
from marianne_core.config.read import ProfileError, read_model
from marianne_core.config.source import parse_source
from marianne_core.model.problem import Severity

MINE = """\
name: mine
display_name: Mine
kind: cli
models:
  - {name: m, context_window: 1000, cost_per_1k_input: 1, cost_per_1k_output: 2}
default_model: m
cli:
  command: {executable: mine}
"""


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shell_is_built_in() -> None:
    profiles = load_profiles()
    assert profiles.problems == ()
    cli = profiles.get("cli")
    assert cli is not None
    assert cli.cli is not None
    assert cli.cli.command.executable == "bash"
    assert cli.cli.command.prompt_flag == "-c"
    assert cli.cli.command.prompt_via_stdin is False
    assert cli.raw_prompt
    assert cli.default_timeout_seconds == 300


def test_later_directories_win_by_name(tmp_path: Path) -> None:
    home, project = profile_directories(tmp_path / "home", tmp_path / "project")
    write(home, "a.yaml", MINE)
    write(home, "cli.yml", MINE.replace("name: mine", "name: cli"))
    write(project, "b.yaml", MINE.replace("Mine", "Ours"))
    write(project, "notes.txt", "not a profile")
    write(project, ".hidden.yaml", "not: a profile")
    profiles = load_profiles((home, project))
    assert profiles.problems == ()
    mine = profiles.get("mine")
    assert mine is not None
    assert mine.display_name == "Ours"
    assert profiles.origins["mine"] == project / "b.yaml"
    assert profiles.origins["cli"] == home / "cli.yml"


def test_bad_files_are_reported_and_the_others_load(tmp_path: Path) -> None:
    bad = write(tmp_path, "bad.yaml", MINE.replace("kind: cli", "kind: clj"))
    broken = write(tmp_path, "broken.yaml", "name: [")
    write(tmp_path, "good.yaml", MINE)
    (tmp_path / "folder.yaml").mkdir()
    profiles = load_profiles((tmp_path,))
    assert profiles.get("mine") is not None
    by_file = {problem.file: problem for problem in profiles.problems}
    assert by_file[str(bad)].line == 3
    assert "`kind` must be cli or http" in by_file[str(bad)].message
    assert "closing bracket" in by_file[str(broken)].message
    assert by_file[str(broken)].line == 2
    assert "directory" in by_file[str(tmp_path / "folder.yaml")].message


def test_two_of_one_name_in_one_directory_are_reported(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", MINE)
    write(tmp_path, "b.yaml", MINE)
    (problem,) = load_profiles((tmp_path,)).problems
    assert problem.severity is Severity.WARNING
    assert "a.yaml is not used" in problem.message


def test_a_default_model_without_a_price_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", MINE.replace("default_model: m", "default_model: n"))
    (problem,) = load_profiles((tmp_path,)).problems
    assert problem.line == 6


def test_missing_directories_are_no_problem(tmp_path: Path) -> None:
    assert load_profiles((tmp_path / "absent",)).problems == ()


def resolve(name: str, profiles: Profiles | None = None) -> tuple[str, bool, bool]:
    found = (profiles or load_profiles()).resolve(name)
    return found.name, found.known, found.runnable


def test_names_are_playable_known_or_unknown() -> None:
    assert resolve("cli") == ("cli", True, True)
    assert resolve("claude-code") == ("claude-code", True, True)
    assert resolve("claude_cli") == ("claude-code", True, True)
    assert resolve("ollama") == ("ollama", True, True)
    assert resolve("recursive_light") == ("recursive_light", True, False)
    assert resolve("nobody") == ("nobody", False, False)
    assert load_profiles().resolve("claud-code").near[0] == "claude-code"


def test_every_known_name_says_why_it_cannot_be_played() -> None:
    profiles = load_profiles()
    for name in KNOWN_INSTRUMENTS:
        found = profiles.resolve(name)
        assert found.known
        assert not found.runnable
        assert found.reason


AGENTS = {
    *("claude-code", "codex-cli", "gemini-cli", "opencode", "aider", "cline-cli"),
    *("goose", "crush"),
}


SERVICES = {"anthropic_api", "openai_api", "ollama"}


def test_the_agents_are_built_in() -> None:
    profiles = load_profiles()
    assert profiles.problems == ()
    assert set(profiles.by_name) == {"cli", *AGENTS, *SERVICES}
    for name in SERVICES:
        assert profiles.by_name[name].kind == "http"
        assert profiles.by_name[name].model(None) is not None
    for name in AGENTS:
        profile = profiles.by_name[name]
        assert profile.cli is not None
        assert not profile.raw_prompt
        assert profile.default_timeout_seconds == 1800
        text = profiles.origins[name].read_text(encoding="utf-8")
        unchecked = "Unchecked" in text.splitlines()[0]
        assert unchecked or "Checked against" in text.splitlines()[0]
        assert (profile.execution_status == "warning") is unchecked


def test_each_load_has_the_built_in_ones_anew(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", MINE.replace("name: mine", "name: aider"))
    assert load_profiles([tmp_path]).by_name["aider"].display_name == "Mine"
    assert load_profiles().by_name["aider"].display_name == "Aider"


def test_a_profile_of_a_person_makes_a_known_name_playable(tmp_path: Path) -> None:
    write(tmp_path, "c.yaml", MINE.replace("name: mine", "name: claude-code"))
    assert resolve("claude_cli", load_profiles((tmp_path,))) == ("claude-code", True, True)
    write(tmp_path, "d.yaml", MINE.replace("name: mine", "name: claude_cli"))
    assert resolve("claude_cli", load_profiles((tmp_path,))) == ("claude_cli", True, True)


@pytest.mark.parametrize(
    ("family", "playable"),
    [("openai", True), ("anthropic", True), ("ollama", True), ("gemini", False)],
)
def test_models_behind_http(tmp_path: Path, family: str, playable: bool) -> None:
    write(
        tmp_path,
        "h.yaml",
        "name: h\ndisplay_name: H\nkind: http\n"
        f"http: {{base_url: 'http://localhost', schema_family: {family}, auth_env_var: KEY}}\n",
    )
    profiles = load_profiles((tmp_path,))
    assert profiles.problems == ()
    found = profiles.resolve("h")
    assert found.known
    assert found.runnable is playable
    assert ("Gemini" in found.reason) is not playable


def test_unsupported_profiles_say_so(tmp_path: Path) -> None:
    text = MINE + "execution_status: unsupported\nexecution_status_detail: it is gone\n"
    write(tmp_path, "a.yaml", text)
    assert load_profiles((tmp_path,)).resolve("mine").reason == "it is gone"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("kind: cli", "kind: http"), "needs a `http` block"),
        (("executable: mine", "executible: mine"), "did you mean `executable`?"),
        (("context_window: 1000", "context_window: 0"), "at least 1"),
        (("cost_per_1k_input: 1", "cost_per_1k_input: -1"), "at least 0"),
        (
            ("executable: mine}", "executable: mine}\n  errors: {own_exit_codes: [1]}"),
            "at least 129",
        ),
        (("kind: cli", "kind: cli\ncapabilities: [flying]"), "tool_use"),
        (("kind: cli", "kind: cli\ndefault_timeout_seconds: 0"), "more than 0"),
        (("executable: mine}", "executable: mine}\n  errors: {crash_patterns: ['(']}"), "compile"),
        (
            ("executable: mine}", "executable: mine}\n  interactive: {terminal_width: 39}"),
            "at least 40",
        ),
        (
            (
                "default_model: m",
                "  - {name: m, context_window: 1, cost_per_1k_input: 0, cost_per_1k_output: 0}",
            ),
            "listed twice",
        ),
    ],
)
def test_wrong_profiles(change: tuple[str, str], words: str) -> None:
    source = parse_source(MINE.replace(*change), Path("p.yaml"))
    with pytest.raises(ProfileError) as caught:
        read_model(InstrumentProfile, source, ProfileError)
    said = " ".join(f"{problem.message} {problem.hint}" for problem in caught.value.problems)
    assert words in said


def test_a_full_profile_is_accepted() -> None:
    text = """\
name: full
display_name: Full
description: all keys
kind: cli
capabilities: [tool_use, mcp, thinking]
code_mode: {interfaces: [{name: a, typescript: b}], runtime: node_vm, max_execution_ms: 100}
execution_status: warning
execution_status_detail: slow
cli:
  command:
    executable: x
    subcommand: run
    prompt_flag: -p
    model_flag: -m
    auto_approve_flag: --yes
    output_format_flag: -o
    output_format_value: json
    system_prompt_flag: -s
    allowed_tools_flag: -t
    mcp_config_flag: -c
    mcp_disable_args: [--none]
    mcp_config_workspace_path: .x/mcp.json
    mcp_config_workspace_merge_key: servers
    mcp_config_prefix_args: [--pre]
    timeout_flag: --timeout
    working_dir_flag: -C
    extra_flags: [--quiet]
    env: {A: "${B}"}
    prompt_via_stdin: false
    stdin_sentinel: "-"
    start_new_session: true
    required_env: [A]
  output:
    format: jsonl
    result_path: a.b
    error_path: c
    completion_event_type: done
    completion_event_filter: {ok: true}
    input_tokens_path: d
    output_tokens_path: e
    aggregate_tokens: true
    result_in_pieces: true
    more_input_tokens_paths: [f]
    more_output_tokens_paths: [g.h]
    cost_path: i
    usage_of_last_event: true
    usage_pattern: (?P<input>\\d+)
  errors:
    success_exit_codes: [0, 2]
    own_exit_codes: [144]
    success_event_type: done
    success_event_filter: {ok: true}
    success_pattern: well
    status_path: j
    connection_patterns: [k]
    rate_limit_patterns: [a]
    rate_limit_event_type: limit
    rate_limit_event_filter: {x: 1}
    rate_limit_reset_path: l
  interactive:
    ready_pattern: ">"
    startup_gates: [{pattern: trust}]
"""
    source = parse_source(text, Path("p.yaml"))
    profile = read_model(InstrumentProfile, source, ProfileError)
    assert profile.cli is not None
    assert profile.cli.interactive is not None
    assert profile.cli.interactive.startup_gates[0].keys == ["Enter"]
    assert profile.cli.output.completion_event_filter == {"ok": True}


def test_a_model_may_be_named_without_its_numbers() -> None:
    text = MINE.replace(", context_window: 1000, cost_per_1k_input: 1, cost_per_1k_output: 2", "")
    profile = read_model(InstrumentProfile, parse_source(text, None), ProfileError)
    model = profile.model(None)
    assert model is not None
    assert (model.context_window, model.cost_per_1k_output, model.max_concurrent) == (None, None, 4)


def test_prices_are_found_by_model() -> None:
    profile = read_model(InstrumentProfile, parse_source(MINE, None), ProfileError)
    model = profile.model(None)
    assert model is not None
    assert model.cost_per_1k_output == 2
    assert profile.model("other") is None
