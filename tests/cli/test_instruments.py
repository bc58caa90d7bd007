"""`mzt instruments`: the listing, the real turn of `check`, and the profile that `new` writes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from marianne_core.config.profiles import load_profiles
from marianne_core.read.redact import MARK
from tests.real_cli.stand_in import StandIn
from tests.real_cli.turns import READ, WRITTEN, Say

from .conftest import Mzt, program_env

NOWHERE = "/nowhere"
KEY = "sk-ant-" + "a1" * 20


def player(folder: Path, body: str, more: str = "", command: str = "") -> Path:
    """A program `player` in `folder`/bin, and its profile for all folders of this home."""
    program = folder / "bin" / "player"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/bash\n{body}\n")
    program.chmod(0o755)
    instruments = folder / ".marianne" / "instruments"
    instruments.mkdir(parents=True, exist_ok=True)
    (instruments / "player.yaml").write_text(
        "name: player\ndisplay_name: Player\nkind: cli\ndefault_model: big\n"
        f"cli:\n  command: {{executable: {program}, model_flag: --model{command}}}\n{more}"
    )
    return program


def listed(mzt: Mzt, *options: str, **env: str) -> dict[str, dict[str, Any]]:
    done = mzt("instruments", "list", "--json", *options, **env)
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


# --- list ---------------------------------------------------------------------------------------


def test_the_listing_tells_what_is_there(mzt_here: Mzt, tmp_path: Path) -> None:
    player(
        tmp_path,
        'echo "player 4.5.6"',
        "  login: {env: [PLAYER_KEY], hint: player login}\n",
        ", version_args: [-V]",
    )
    found = listed(mzt_here, PLAYER_KEY="x")
    assert (found["cli"]["state"], found["cli"]["login"]) == ("ready", "not needed")
    assert re.match(r"\d+\.\d+", found["cli"]["version"])
    mine = found["player"]
    assert (mine["state"], mine["version"], mine["login_by"]) == ("ready", "4.5.6", "PLAYER_KEY")
    assert (mine["installed"], mine["ready"], mine["kind"]) == (True, True, "cli")
    without = listed(mzt_here)["player"]
    assert (without["state"], without["ready"], without["login"]) == ("installed", None, "not seen")
    agents = ("claude-code", "codex-cli", "gemini-cli", "opencode", "aider", "cline-cli")
    absent = listed(mzt_here, PATH=NOWHERE)
    for name in (*agents, "goose", "crush"):
        assert (absent[name]["state"], absent[name]["installed"]) == ("missing", False)
        assert absent[name]["profile"].endswith(f"{name}.yaml")
    assert (found["recursive_light"]["state"], found["recursive_light"]["ready"]) == (
        "no profile",
        False,
    )
    text = mzt_here("instruments", "list").stdout
    assert re.search(r"player +installed +4\.5\.6 +not seen +Player", text)


def test_a_bad_file_is_named_and_the_others_are_listed(mzt_here: Mzt, tmp_path: Path) -> None:
    player(tmp_path, "true")
    (tmp_path / ".marianne" / "instruments" / "broken.yaml").write_text("name: [\n")
    done = mzt_here("instruments", "list")
    assert done.returncode == 0
    assert "player" in done.stdout
    assert "broken.yaml:2" in done.stderr
    # The home directory is this one: nothing is read twice.
    assert "defined again" not in done.stderr


def test_a_script_without_its_interpreter_is_not_called_ready(
    mzt_here: Mzt, tmp_path: Path
) -> None:
    program = player(tmp_path, "", "  login: {needed: false}\n")
    assert listed(mzt_here)["player"]["state"] == "ready"
    program.write_text("#!/usr/bin/env no-such-node\n")
    mine = listed(mzt_here)["player"]
    assert (mine["state"], mine["ready"]) == ("broken", False)
    assert "'no-such-node' does not exist" in mine["detail"]
    done = mzt_here("instruments", "check", "player", "--yes")
    assert done.returncode == 1
    assert "broken" in done.stdout
    assert "no-such-node" in mzt_here("doctor").stdout


def test_nine_slow_programs_do_not_hold_up_the_listing(
    mzt_here: Mzt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player(tmp_path, 'sleep 60; echo "player 1.0"', command=", version_args: [-V]")
    mine = tmp_path / ".marianne" / "instruments"
    text = (mine / "player.yaml").read_text()
    for number in range(8):
        copy = text.replace("name: player\n", f"name: player{number}\n", 1)
        copy = copy.replace("[-V]", f"[-V, '{number}']")
        (mine / f"player{number}.yaml").write_text(copy)
    monkeypatch.setattr("marianne_tui.cli.commands.instruments._AT_ONCE", 0.2)
    before = time.monotonic()
    done = mzt_here("instruments", "list")
    assert time.monotonic() - before < 20
    assert "9 programs did not say the version in 0.2 s" in done.stdout
    assert re.search(r"player7 +installed +not known", done.stdout)


def test_versions_are_asked_again_only_when_that_is_wanted(mzt_here: Mzt, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text("1.0")
    player(tmp_path, f"cat {answer}", command=", version_args: [-V]")
    assert listed(mzt_here)["player"]["version"] == "1.0"
    answer.write_text("2.0")
    assert listed(mzt_here)["player"]["version"] == "1.0"
    assert listed(mzt_here, "--versions")["player"]["version"] == "2.0"
    assert (tmp_path / "state" / "versions.json").stat().st_mode & 0o77 == 0


def test_a_listing_starts_nothing_that_the_folder_brings_along(
    mzt_here: Mzt, tmp_path: Path
) -> None:
    player(tmp_path, f"touch {tmp_path}/started; echo 1.2.3", command=", version_args: [-V]")
    (tmp_path / "home").mkdir()
    env = {"HOME": str(tmp_path / "home")}
    assert listed(mzt_here, **env)["player"]["version"] is None
    assert re.search(r"player +installed +not asked", mzt_here("instruments", "list", **env).stdout)
    assert mzt_here("init", "first", **env).returncode == 0
    assert mzt_here("doctor", **env).returncode == 0
    assert not (tmp_path / "started").exists()
    assert listed(mzt_here, "--versions", **env)["player"]["version"] == "1.2.3"


# --- check --------------------------------------------------------------------------------------


def test_looking_needs_no_turn(mzt_here: Mzt, tmp_path: Path) -> None:
    played = tmp_path / "played"
    player(tmp_path, f"touch {played}")
    done = mzt_here("instruments", "check", "player", "--no-turn")
    assert done.returncode == 0
    assert "login: not known" in done.stdout
    assert not played.exists()
    assert mzt_here("instruments", "check", "claude-code", PATH=NOWHERE).returncode == 1
    alias = mzt_here("instruments", "check", "claude_cli", "--no-turn", PATH=NOWHERE)
    assert "alias of: claude-code" in alias.stdout
    unknown = mzt_here("instruments", "check", "clu")
    assert unknown.returncode == 2
    assert "did you mean" in unknown.stderr


def test_a_turn_that_may_cost_is_not_played_unasked(mzt_here: Mzt, tmp_path: Path) -> None:
    played = tmp_path / "played"
    player(tmp_path, f"touch {played}")
    for options in ([], ["--json"]):
        done = mzt_here("instruments", "check", "player", *options)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "--yes" in done.stderr
    assert not played.exists()


def test_a_bare_prompt_does_not_make_a_turn_free(mzt_here: Mzt, tmp_path: Path) -> None:
    played = tmp_path / "played"
    player(tmp_path, f"touch {played}")
    path = tmp_path / ".marianne" / "instruments" / "player.yaml"
    path.write_text(path.read_text() + "raw_prompt: true\n")
    assert mzt_here("instruments", "check", "player").returncode == 2
    assert not played.exists()


def test_a_program_beside_the_person_is_the_one_that_is_played(mzt: Mzt, tmp_path: Path) -> None:
    program = player(tmp_path, 'cat; echo "from $0"')
    path = tmp_path / ".marianne" / "instruments" / "player.yaml"
    path.write_text(path.read_text().replace(str(program), "./bin/player"))
    done = mzt("instruments", "check", "player", "--yes", "--prompt", "sing {{ nobody }}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"command: {program} --model big < prompt" in done.stdout
    assert f"| from {program}" in done.stdout
    assert (
        "sing {{ nobody }}"
        in mzt(
            "instruments", "check", "player", "-y", "--json", "--prompt", "sing {{ nobody }}"
        ).stdout
    )


def test_a_turn_on_the_shell_costs_nothing(mzt: Mzt, tmp_path: Path) -> None:
    done = mzt("instruments", "check", "cli")
    assert done.returncode == 0, done.stderr
    assert "bash -c 'echo ready'" in done.stdout
    assert "cli works" in done.stdout
    assert "    | ready\n" in done.stdout
    assert "cost" not in done.stdout
    # It left nothing in the state directory of the person but what programs said.
    assert mzt("list", "--all", "--json").stdout.strip() == "[]"


def test_a_turn_shows_command_answer_use_and_environment(mzt: Mzt, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    player(
        tmp_path,
        # What it really gets, for the test; then its answer, as programs give it.
        f"""python3 -c '
import json, os, sys
given = {{"argv": sys.argv[1:], "prompt": sys.stdin.read(), "cwd": os.getcwd(), "env": dict(os.environ)}}
json.dump(given, open("{told}", "w"))
' "$@"
echo '{{"say": "ready {KEY}", "in": 1200, "out": 45, "usd": 0.5}}'""",
        "  output: {format: json, result_path: say, input_tokens_path: in, output_tokens_path: out,"
        " cost_path: usd}\n",
        ", required_env: [PLAYER_*], env: {GIVEN: '${ABSENT_ONE}'}",
    )
    env = {"SECRET_OF_OTHERS": "s3cr3t-value", "PLAYER_HINT": "h"}
    done = mzt("instruments", "check", "player", "--yes", "--model", "small", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    given = json.loads(told.read_text())
    assert given["argv"] == ["--model", "small"]
    assert "Answer with the single word: ready" in given["prompt"]
    assert given["env"]["PLAYER_HINT"] == "h"
    assert "SECRET_OF_OTHERS" not in given["env"]
    assert not Path(given["cwd"]).exists()
    size = len(given["prompt"].encode())
    assert f"player --model small < prompt of {size} bytes" in done.stdout
    assert "kept back by required_env: " in done.stdout
    assert "SECRET_OF_OTHERS" in done.stdout
    assert "s3cr3t-value" not in done.stdout
    assert "named by the profile and not set: ABSENT_ONE" in done.stdout
    assert f"| ready {MARK}" in done.stdout
    assert "tokens: 1,200 read, 45 written" in done.stdout
    assert "cost: $0.5000" in done.stdout
    document = json.loads(mzt("instruments", "check", "player", "-y", "--json", **env).stdout)
    turn = document["turn"]
    assert turn["command"][1:] == ["--model", "big"]
    assert (turn["ok"], turn["ended"], turn["answer"]) == (True, "ok", f"ready {MARK}")
    assert (turn["input_tokens"], turn["output_tokens"], turn["cost_usd"]) == (1200, 45, 0.5)
    assert "SECRET_OF_OTHERS" in turn["environment_removed"]
    assert turn["environment_unset"] == ["ABSENT_ONE"]
    assert turn["seconds"] > 0


def test_a_model_behind_http_answers_too(mzt: Mzt) -> None:
    with StandIn(Say("ready"), without_tools=str) as service:
        env = {"OPENAI_BASE_URL": f"{service.url}/v1", "OPENAI_API_KEY": KEY, "OTHER_KEY": "x"}
        refused = mzt("instruments", "check", "openai_api", **env)
        assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
        done = mzt("instruments", "check", "openai_api", "-y", "-m", "gpt-4o", "--json", **env)
        assert service.played == 1
    document = json.loads(done.stdout)
    turn = document["turn"]
    assert (done.returncode, turn["ok"], turn["answer"]) == (0, True, "ready"), turn
    assert (turn["input_tokens"], turn["output_tokens"]) == (READ, WRITTEN)
    assert (document["kind"], document["installed"], document["ready"]) == ("http", None, True)
    assert f"{service.url}/v1/chat/completions" in document["detail"]
    assert "OTHER_KEY" in turn["environment_removed"]
    assert KEY not in done.stdout
    looked = mzt("instruments", "check", "openai_api")
    assert (looked.returncode, "OPENAI_API_KEY is not set" in looked.stdout) == (1, True)


def test_a_turn_that_fails_says_why_and_is_not_tried_again(mzt: Mzt, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    player(
        tmp_path,
        f"echo called >> {calls}; echo 'Please log in: {KEY}' >&2; exit 1",
        "  errors: {auth_error_patterns: [please log in], rate_limit_patterns: [slow down]}\n",
    )
    done = mzt("instruments", "check", "player", "--yes")
    assert done.returncode == 1
    assert "✗ player failed" in done.stdout
    assert "E502" in done.stdout
    assert KEY not in done.stdout
    assert calls.read_text() == "called\n"
    player(
        tmp_path,
        f"echo called >> {calls}; echo 'slow down' >&2; exit 1",
        "  errors: {rate_limit_patterns: [slow down]}\n",
    )
    limited = json.loads(mzt("instruments", "check", "player", "-y", "--json").stdout)["turn"]
    assert (limited["ok"], limited["code"]) == (False, "E102")
    assert calls.read_text() == "called\n" * 2


def test_a_turn_that_takes_too_long_is_ended(mzt: Mzt, tmp_path: Path) -> None:
    player(tmp_path, "sleep 300")
    done = mzt("instruments", "check", "player", "--yes", "--timeout", "1")
    assert done.returncode == 1
    assert "E001" in done.stdout
    assert "--timeout" in mzt("instruments", "check", "player", "-y", "--timeout", "0").stderr


def test_a_turn_that_does_not_come_to_an_end_is_given_up(tmp_path: Path) -> None:
    player(tmp_path, "sleep 300")
    script = (
        "import sys; from marianne_tui.cli import trial; from marianne_tui.cli.guard import run_guarded\n"
        "trial._PATIENCE = 1 - 120\n"
        "sys.exit(run_guarded(['instruments', 'check', 'player', '--yes']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=program_env(tmp_path / "state"),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "nothing came of it in time" in done.stdout


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_turn_is_ended_by_a_signal_and_nothing_is_left(
    number: signal.Signals, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    player(
        tmp_path,
        f"trap '' INT HUP; sleep 300 & echo $$ $! > {pids}.part; mv {pids}.part {pids}; wait",
    )
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "marianne_tui", "instruments", "check", "player", "--yes"],
        env=program_env(tmp_path / "state", TMPDIR=str(rooms)),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not pids.exists():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "the turn was ended" in told
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list(rooms.iterdir()) == []


# --- new ----------------------------------------------------------------------------------------


def uncommented(text: str) -> str:
    """A profile whose fields without a value were all given their example."""
    return re.sub(r"^( *)#(?=[a-z_]+:)", r"\1", text, flags=re.MULTILINE)


def test_a_new_profile_loads_and_can_be_checked(mzt_here: Mzt, tmp_path: Path) -> None:
    done = mzt_here("instruments", "new", "mine")
    assert done.returncode == 0
    path = tmp_path / ".marianne" / "instruments" / "mine.yaml"
    assert "wrote " in done.stdout
    assert "mzt instruments check mine" in done.stdout
    text = path.read_text()
    profiles = load_profiles([path.parent])
    assert profiles.problems == ()
    mine = profiles.by_name["mine"]
    assert mine.cli is not None
    assert mine.cli.command.executable == "mine"
    assert mzt_here("instruments", "check", "mine").returncode == 1  # there is no such program
    # Every field that has no value yet can be given the one that stands there.
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "mine.yaml").write_text(uncommented(text))
    full = load_profiles([tmp_path / "more"])
    assert full.problems == ()
    cli = full.by_name["mine"].cli
    assert cli is not None
    assert cli.login is not None
    assert cli.command.version_args == ["--version"]
    # What is there already stays.
    path.write_text("mine")
    again = mzt_here("instruments", "new", "mine")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert path.read_text() == "mine"


@pytest.mark.parametrize("source", sorted(load_profiles().by_name))
def test_a_new_profile_can_begin_as_a_copy(source: str, mzt_here: Mzt, tmp_path: Path) -> None:
    done = mzt_here("instruments", "new", "copy", "--from", source, "--json")
    assert done.returncode == 0, done.stderr
    path = Path(json.loads(done.stdout)["created"])
    profiles = load_profiles([path.parent])
    assert profiles.problems == ()
    original = profiles.by_name[source]
    assert profiles.by_name["copy"] == original.model_copy(update={"name": "copy"})
    lines = path.read_text().splitlines()
    assert max(map(len, (line for line in lines if not line.lstrip().startswith("#")))) < 400


def test_a_profile_for_all_folders_and_one_that_replaces(mzt_here: Mzt, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    done = mzt_here(
        "instruments", "new", "cli", "--from", "cli", "--global", HOME=str(tmp_path / "else")
    )
    assert done.returncode == 0
    assert "it goes before" in done.stdout
    assert (tmp_path / "else" / ".marianne" / "instruments" / "cli.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["../x"], "cannot be the name"),
        (["a b"], "cannot be the name"),
        (["x", "--from", "clu"], "did you mean cli?"),
        (["x", "--from", "recursive_light"], "no profile"),
    ],
)
def test_names_that_no_profile_can_have(arguments: list[str], words: str, mzt_here: Mzt) -> None:
    done = mzt_here("instruments", "new", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_model_that_nobody_would_be_told_of(mzt_here: Mzt) -> None:
    done = mzt_here("instruments", "check", "cli", "--model", "big")
    assert done.returncode == 2
    assert "cli has no flag for a model" in done.stderr
    assert done.stdout == ""
