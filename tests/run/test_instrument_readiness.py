"""Whether an instrument can be played here: its program, its interpreter, its login, without a turn."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from marianne_core.config.profiles import Profiles, load_profiles
from marianne_core.run.instrument.readiness import (
    Login,
    Readiness,
    State,
    costs_nothing,
    expanded,
    look_at,
)

PROFILE = """\
name: player
display_name: Player
kind: cli
cli:
  command: {{executable: {executable}{more}}}
{login}"""
LOGIN = "  login: {env: [PLAYER_KEY], files: ['${PLAYER_HOME:-~/.player}/auth.json'], hint: player login}\n"


def profiles(folder: Path, executable: str, *, more: str = "", login: str = LOGIN) -> Profiles:
    instruments = folder / "instruments"
    instruments.mkdir(exist_ok=True)
    text = PROFILE.format(executable=executable, more=more, login=login)
    (instruments / "player.yaml").write_text(text)
    found = load_profiles([instruments])
    assert found.problems == ()
    return found


def script(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def look(
    folder: Path, executable: str, *, more: str = "", login: str = LOGIN, **env: str
) -> Readiness:
    environ = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder / "home"), **env}
    known = profiles(folder, executable, more=more, login=login)
    return look_at(known, "player", environ, folder)


@pytest.fixture
def program(tmp_path: Path) -> str:
    return script(tmp_path, "player", "#!/bin/sh\n").name


def test_a_program_that_is_there_and_one_that_is_not(tmp_path: Path, program: str) -> None:
    here = look(tmp_path, program, PLAYER_KEY="x")
    assert (here.state, here.installed, here.ready) == (State.READY, True, True)
    assert here.program == str(tmp_path / "player")
    gone = look(tmp_path, "no-such-player")
    assert (gone.state, gone.installed, gone.ready) == (State.MISSING, False, False)
    assert "no-such-player" in gone.reason
    assert look(tmp_path, "./gone/player").state is State.MISSING


def test_what_is_no_program_is_broken(tmp_path: Path) -> None:
    script(tmp_path, "plain", "text", 0o644)
    (tmp_path / "folder").mkdir()
    for executable in ("plain", "./plain", "./folder"):
        here = look(tmp_path, executable)
        assert (here.state, here.installed, here.ready) == (State.BROKEN, True, False), executable
        assert here.reason


@pytest.mark.parametrize(
    ("first", "missing"),
    [
        ("#!/no/such/python", "/no/such/python"),
        ("#!/usr/bin/env no-such-node", "no-such-node"),
        ("#!/usr/bin/env -S no-such-node --flag", "no-such-node"),
        ("#!/usr/bin/env A=b no-such-node", "no-such-node"),
        ("#!/usr/bin/env sh", ""),
        ("#!/bin/sh", ""),
        ("no first line", ""),
    ],
)
def test_a_script_without_its_interpreter_is_not_ready(
    first: str, missing: str, tmp_path: Path
) -> None:
    script(tmp_path, "player", f"{first}\n")
    here = look(tmp_path, "player", PLAYER_KEY="x")
    assert here.state is (State.BROKEN if missing else State.READY)
    assert repr(missing) in here.reason if missing else here.reason == ""


def test_a_login_is_seen_in_a_variable_or_a_file(tmp_path: Path, program: str) -> None:
    none = look(tmp_path, program)
    assert (none.state, none.login, none.ready) == (State.INSTALLED, Login.NOT_SEEN, None)
    assert none.login_by == f"PLAYER_KEY, {tmp_path}/home/.player/auth.json"
    assert none.login_hint == "player login"
    assert look(tmp_path, program, PLAYER_KEY="").login is Login.NOT_SEEN
    by_variable = look(tmp_path, program, PLAYER_KEY="x")
    assert (by_variable.login, by_variable.login_by) == (Login.SEEN, "PLAYER_KEY")
    file = tmp_path / "home" / ".player" / "auth.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}\n")
    assert look(tmp_path, program).login is Login.NOT_SEEN  # what a logout leaves behind
    file.write_text('{"key": "a long one"}')
    by_file = look(tmp_path, program)
    assert (by_file.login, by_file.login_by, by_file.state) == (Login.SEEN, str(file), State.READY)
    # Another home of the program: the file of the usual one does not count.
    assert look(tmp_path, program, PLAYER_HOME=str(tmp_path / "else")).login is Login.NOT_SEEN


def test_a_variable_that_the_program_does_not_get_is_no_login(tmp_path: Path, program: str) -> None:
    kept_back = look(tmp_path, program, more=", required_env: [OTHER_*]", PLAYER_KEY="x")
    assert kept_back.login is Login.NOT_SEEN
    passed = look(tmp_path, program, more=", required_env: [PLAYER_*]", PLAYER_KEY="x")
    assert passed.login is Login.SEEN
    assert passed.environment is not None
    assert look(tmp_path, program, more=", env: {PLAYER_KEY: x}").login is Login.SEEN


def test_what_no_profile_says_is_not_known(tmp_path: Path, program: str) -> None:
    silent = look(tmp_path, program, login="")
    assert (silent.state, silent.login) == (State.INSTALLED, Login.NOT_KNOWN)
    empty = look(tmp_path, program, login="  login: {hint: player login}\n")
    assert empty.login is Login.NOT_KNOWN
    free = look(tmp_path, program, login="  login: {needed: false}\n")
    assert (free.state, free.login) == (State.READY, Login.NOT_NEEDED)


def test_names_without_a_program(tmp_path: Path) -> None:
    known = load_profiles()
    here = look_at(known, "recursive_light", {}, tmp_path)
    assert (here.state, here.installed, here.ready) == (State.NO_PROFILE, None, False)
    assert here.reason
    (tmp_path / "a.yaml").write_text(
        "name: a\ndisplay_name: A\nkind: cli\nexecution_status: unsupported\n"
        "execution_status_detail: it hums\ncli: {command: {executable: sh}}\n"
    )
    refused = look_at(load_profiles([tmp_path]), "a", dict(os.environ), tmp_path)
    assert (refused.state, refused.reason) == (State.UNSUPPORTED, "it hums")


def test_a_service_has_a_key_and_no_program(tmp_path: Path) -> None:
    known = load_profiles()
    here = look_at(known, "openai_api", {"OPENAI_API_KEY": "x"}, tmp_path)
    assert (here.state, here.login, here.login_by) == (State.READY, Login.SEEN, "OPENAI_API_KEY")
    assert (here.installed, here.ready, here.program) == (None, True, "")
    assert here.address == "https://api.openai.com/v1/chat/completions"
    without = look_at(known, "openai_api", {}, tmp_path)
    assert (without.state, without.ready) == (State.MISSING, False)
    assert "OPENAI_API_KEY" in without.reason
    assert not costs_nothing(known.by_name["openai_api"])
    assert costs_nothing(known.by_name["ollama"])
    assert costs_nothing(known.by_name["cli"])
    assert not costs_nothing(known.by_name["goose"])


@pytest.mark.parametrize("key", ["  ", "two\nlines"])
def test_a_key_that_no_turn_can_use_is_none(key: str, tmp_path: Path) -> None:
    here = look_at(load_profiles(), "openai_api", {"OPENAI_API_KEY": key}, tmp_path)
    assert here.state is State.MISSING
    assert "OPENAI_API_KEY" in here.reason
    assert key not in here.reason


@pytest.mark.parametrize("address", ["gateway", "http://g:port", "ftp://g"])
def test_an_address_that_no_turn_can_use_is_none(address: str, tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": address}
    here = look_at(load_profiles(), "openai_api", environ, tmp_path)
    assert (here.state, here.address) == (State.MISSING, "")
    assert here.reason.startswith("OPENAI_BASE_URL: the address of the service ")


def test_a_service_on_this_machine_has_to_listen(tmp_path: Path) -> None:
    known = load_profiles()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        environ = {"OLLAMA_HOST": f"127.0.0.1:{server.getsockname()[1]}"}
        gone = look_at(known, "ollama", environ, tmp_path)
        assert (gone.state, gone.login) == (State.MISSING, None)
        assert f"nothing listens at http://{environ['OLLAMA_HOST']}" in gone.reason
        server.listen()
        here = look_at(known, "ollama", environ, tmp_path)
        assert (here.state, here.login) == (State.READY, Login.NOT_NEEDED)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("~/a", "/h/a"),
        ("~", "/h"),
        ("~other/a", "~other/a"),
        ("${A}/b", "/a/b"),
        ("${A:-~/x}/b", "/a/b"),
        ("${E:-~/x}/b", "/h/x/b"),
        ("${NO:-~/x}/b", "/h/x/b"),
        ("${NO}/b", "/b"),
    ],
)
def test_paths_of_profiles(template: str, path: str) -> None:
    assert expanded(template, {"HOME": "/h", "A": "/a", "E": ""}) == path


AGENTS = {
    "claude-code": ("ANTHROPIC_API_KEY", ".claude/.credentials.json"),
    "codex-cli": ("CODEX_API_KEY", ".codex/auth.json"),
    "gemini-cli": ("GEMINI_API_KEY", ".gemini/oauth_creds.json"),
    "opencode": ("OPENCODE_API_KEY", ".local/share/opencode/auth.json"),
    "aider": ("OPENAI_API_KEY", ".aider/oauth-keys.env"),
    "cline-cli": (None, ".cline/data/settings/providers.json"),
}


@pytest.mark.parametrize("name", AGENTS)
def test_logins_of_the_built_in_agents(name: str, tmp_path: Path) -> None:
    variable, file = AGENTS[name]
    known = load_profiles()
    profile = known.by_name[name]
    assert profile.cli is not None
    assert profile.cli.command.version_args == ["--version"]
    script(tmp_path, profile.cli.command.executable, "#!/bin/sh\n")
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    assert look_at(known, name, environ, tmp_path).login is Login.NOT_SEEN
    if variable:
        by_variable = look_at(known, name, {**environ, variable: "x"}, tmp_path)
        assert (by_variable.login, by_variable.login_by) == (Login.SEEN, variable)
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text('{"of": "somebody"}')
    by_file = look_at(known, name, environ, tmp_path)
    assert (by_file.login, by_file.login_by) == (Login.SEEN, str(path))
