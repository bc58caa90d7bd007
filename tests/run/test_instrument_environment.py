from __future__ import annotations

from marianne_core.run.instrument.environment import build_environment

BASE = {
    "PATH": "/bin",
    "HOME": "/h",
    "SECRET": "s",
    "AWS_REGION": "eu",
    "AWS_PROFILE": "p",
    "ANTHROPIC_API_KEY": "k",
    "https_proxy": "http://proxy",
    "ANTHROPIC_BASE_URL": "http://gateway",
    "SSL_CERT_FILE": "/ca",
    "MARIANNE_HOME": "/m",
}


def test_without_a_list_everything_is_inherited() -> None:
    environment = build_environment(BASE)
    assert environment.variables == {**BASE, "GIT_TERMINAL_PROMPT": "0"}
    assert environment.notes() == ()


def test_a_list_keeps_system_network_and_named_variables() -> None:
    environment = build_environment(BASE, required=["ANTHROPIC_API_KEY", "AWS_*", "ABSENT"])
    assert set(environment.variables) == set(BASE) - {"SECRET"} | {"GIT_TERMINAL_PROMPT"}
    assert environment.removed == ("SECRET",)
    assert "SECRET" in environment.notes()[0]


def test_an_empty_list_is_a_list() -> None:
    environment = build_environment(BASE, required=[])
    assert "ANTHROPIC_API_KEY" not in environment.variables
    assert environment.variables["PATH"] == "/bin"


def test_added_variables_win_and_see_what_the_filter_kept_back() -> None:
    environment = build_environment(
        BASE, required=[], added={"TOKEN": "${SECRET}", "HOME": "/x", "MIX": "a-${SECRET}-$HOME"}
    )
    assert environment.variables["TOKEN"] == "s"
    assert environment.variables["HOME"] == "/x"
    assert environment.variables["MIX"] == "a-s-$HOME"


def test_a_reference_to_nothing_leaves_the_variable_out() -> None:
    environment = build_environment(
        {**BASE, "KEY": "inherited"}, added={"KEY": "${NO_KEY}", "URL": "http://${NO_HOST}/"}
    )
    assert "KEY" not in environment.variables
    assert environment.variables["URL"] == "http:///"
    assert environment.unset == ("NO_HOST", "NO_KEY")
    assert "NO_KEY" in environment.notes()[0]


def test_git_asks_nobody_unless_somebody_wants_it_to() -> None:
    assert build_environment({}).variables["GIT_TERMINAL_PROMPT"] == "0"
    kept = build_environment({"GIT_TERMINAL_PROMPT": "1"})
    assert kept.variables["GIT_TERMINAL_PROMPT"] == "1"
    added = build_environment({}, added={"GIT_TERMINAL_PROMPT": "1"})
    assert added.variables["GIT_TERMINAL_PROMPT"] == "1"


def test_values_are_never_in_the_notes() -> None:
    notes = " ".join(build_environment(BASE, required=[]).notes())
    assert "ANTHROPIC_API_KEY" in notes
    assert BASE["AWS_REGION"] not in notes.split()


def test_git_is_told_even_when_the_variable_is_filtered() -> None:
    environment = build_environment({"GIT_TERMINAL_PROMPT": "1"}, required=[])
    assert environment.variables["GIT_TERMINAL_PROMPT"] == "0"
