"""The first minute: `init` for the agent that is there, what `run` says before a turn, `doctor`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Mzt, on_a_terminal, program_env


def agent(folder: Path, name: str, variable: str, more: str = ", model_flag: --model") -> None:
    """An agent that is installed for this home, and ready where the variable is set."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\nread line\necho "did: $line"\n')
    program.chmod(0o755)
    instruments = folder / ".marianne" / "instruments"
    instruments.mkdir(parents=True, exist_ok=True)
    (instruments / f"{name}.yaml").write_text(
        f"name: {name}\ndisplay_name: {name}\nkind: cli\n"
        "models: [{name: big}]\n"
        "cli:\n"
        f"  command: {{executable: {program}, auto_approve_flag: --yes-to-all{more}}}\n"
        f"  login: {{env: [{variable}], hint: {name} login}}\n"
    )


def score_of(folder: Path, name: str) -> str:
    return (folder / f"{name}.yaml").read_text()


# --- init ---------------------------------------------------------------------------------------


def test_in_a_pipe_an_agent_that_is_ready_is_taken(mzt_here: Mzt, tmp_path: Path) -> None:
    agent(tmp_path, "fiddle", "FIDDLE_KEY")
    agent(tmp_path, "harp", "HARP_KEY")
    done = mzt_here("init", "first", HARP_KEY="x")
    assert done.returncode == 0, done.stderr
    assert "instrument: harp " in score_of(tmp_path, "first")
    assert "played by harp" in done.stdout
    assert "next: mzt run first.yaml" in done.stdout
    # Installed is not enough where nobody can say that it is logged in.
    done = mzt_here("init", "second", "--json")
    assert json.loads(done.stdout) == {"created": "second.yaml", "instrument": "cli"}
    assert "instrument: cli\n" in score_of(tmp_path, "second")


def test_the_score_for_an_agent_is_a_good_one(mzt_here: Mzt, tmp_path: Path) -> None:
    agent(tmp_path, "harp", "HARP_KEY")
    done = mzt_here("init", "first", "-i", "harp")
    assert "whether it is logged in is not known: harp login" in done.stdout
    checked = json.loads(mzt_here("validate", "first.yaml", "--json").stdout)
    assert checked["problems"] == []
    assert mzt_here("run", "-n", "first.yaml").returncode == 0
    for wanted, words in (("hapr", "did you mean harp?"), ("recursive_light", "not supported")):
        refused = mzt_here("init", "other", "-i", wanted)
        assert refused.returncode == 2
        assert words in refused.stderr
    assert not (tmp_path / "other.yaml").exists()
    named = mzt_here("init", "named", "-i", "claude_cli")
    assert named.returncode == 0
    assert "instrument: claude-code " in score_of(tmp_path, "named")


@pytest.mark.parametrize("name", ["123", "true", "null", "on", "1_000", "0x10", "2024-01-01"])
def test_a_name_that_is_text_only_in_quotes(name: str, mzt_here: Mzt, tmp_path: Path) -> None:
    assert mzt_here("init", name).returncode == 0
    checked = json.loads(mzt_here("validate", f"{name}.yaml", "--json").stdout)
    assert [problem["code"] for problem in checked["problems"]] == ["V205"]


def test_an_instrument_whose_name_is_text_only_in_quotes(mzt_here: Mzt, tmp_path: Path) -> None:
    for file, name in (("a", "42"), ("b", "odd: one #1")):
        agent(tmp_path, file, "KEY")
        profile = tmp_path / ".marianne" / "instruments" / f"{file}.yaml"
        text = profile.read_text().replace(f"\nname: {file}\n", "\n")
        profile.write_text(text.replace(f"name: {file}\n", f"name: {json.dumps(name)}\n", 1))
        assert mzt_here("init", f"first-{file}", "-i", name).returncode == 0
        assert f"plays: {name}, " in mzt_here("run", "-n", f"first-{file}.yaml").stdout


def test_an_instrument_that_is_not_there_yet_is_said_to_be_so(mzt_here: Mzt) -> None:
    done = mzt_here("init", "first", "-i", "aider")
    assert "it cannot be played here yet: no program 'aider' found\n" in done.stdout


def test_the_score_for_a_model_behind_http_asks_for_text(mzt_here: Mzt, tmp_path: Path) -> None:
    assert mzt_here("init", "first", "-i", "anthropic_api").returncode == 0
    checked = json.loads(mzt_here("validate", "first.yaml", "--json").stdout)
    # It makes no file that could be looked at.
    assert [problem["code"] for problem in checked["problems"]] == ["V203"]
    told = mzt_here("run", "-n", "first.yaml").stdout
    assert "plays: anthropic_api, model claude-sonnet-4-5-20250929, 2 sheets\n" in told


def test_on_a_terminal_it_is_asked_which_one(tmp_path: Path) -> None:
    env = program_env(tmp_path / "state", TERM="dumb", HARP_KEY="x", PATH="/usr/bin:/bin")
    agent(tmp_path, "harp", "HARP_KEY")
    status, written = on_a_terminal(env, tmp_path, "init", "alone")
    assert (status, b"Who shall play it?" in written) == (0, False)
    agent(tmp_path, "fiddle", "FIDDLE_KEY")
    status, written = on_a_terminal(env, tmp_path, "init", "second", typed=b"2\n")
    assert status == 0, written
    assert b"1  harp (ready, login: HARP_KEY)" in written
    assert b"2  fiddle (installed, login not seen)" in written
    assert b"3  cli (" in written
    assert "instrument: fiddle " in score_of(tmp_path, "second")
    status, _ = on_a_terminal(env, tmp_path, "init", "third", typed=b"\n")
    assert "instrument: harp " in score_of(tmp_path, "third")
    status, _ = on_a_terminal(env, tmp_path, "init", "fourth", typed=b"3\n")
    assert "instrument: cli\n" in score_of(tmp_path, "fourth")
    # A name that is taken is told before the question.
    status, written = on_a_terminal(env, tmp_path, "init", "third", typed=b"1\n")
    assert (status, b"Who shall play it?" in written) == (2, False)


def test_a_turn_is_asked_about_on_a_terminal(tmp_path: Path) -> None:
    env = program_env(tmp_path / "state", TERM="dumb")
    agent(tmp_path, "harp", "HARP_KEY")
    check = ("instruments", "check", "harp")
    status, written = on_a_terminal(env, tmp_path, *check, typed=b"n\n")
    assert status == 130
    assert b"It may cost money." in written
    assert b"harp --yes-to-all < prompt of" in written
    assert b"harp works" not in written
    status, written = on_a_terminal(env, tmp_path, *check, typed=b"y\n")
    assert status == 0, written
    assert b"harp works" in written
    status, written = on_a_terminal(env, tmp_path, "instruments", "check", "cli")
    assert (status, b"It may cost money." in written) == (0, False)


# --- run ----------------------------------------------------------------------------------------

SCORE = """\
name: song
workspace: work
instrument: harp
instrument_config: {{timeout_seconds: 90{config}}}
sheet: {{size: 1, total_items: 3}}
retry: {{max_retries: 2}}
prompt: {{template: 'play {{{{ sheet_num }}}}'}}
{more}"""


def song(folder: Path, config: str = "", more: str = "") -> None:
    (folder / "song.yaml").write_text(SCORE.format(config=config, more=more))


def before_the_first_event(output: str) -> list[str]:
    lines = output.splitlines()
    return lines[: next(n for n, line in enumerate(lines) if line.startswith("song#"))]


def test_a_run_says_who_plays_and_what_it_may_spend(mzt: Mzt, tmp_path: Path) -> None:
    agent(tmp_path, "harp", "HARP_KEY")
    song(tmp_path)
    assert before_the_first_event(mzt("run", "song.yaml").stdout)[1:] == [
        "plays: harp, the program's own choice of model, permissions skipped (--yes-to-all), 3 sheets",
        "may spend: up to 3 attempts a sheet, 9 in all, each at most 1:30 long;"
        " no limit on cost is in effect",
    ]
    # On a terminal too, before the first turn.
    env = program_env(tmp_path / "state", TERM="xterm")
    status, written = on_a_terminal(env, tmp_path, "run", "song.yaml")
    assert status == 0
    assert written.index(b"may spend: ") < written.index(b"song#")


def test_what_is_said_follows_the_score(mzt_here: Mzt, tmp_path: Path) -> None:
    agent(tmp_path, "harp", "HARP_KEY")

    def said(*options: str) -> str:
        return mzt_here("run", "-n", "song.yaml", *options).stdout

    song(tmp_path, ", model: big, skip_permissions: false")
    assert "plays: harp, model big, permissions not skipped, 3 sheets\n" in said()
    assert "permissions not skipped, 1 sheet\n" in said("-s", "3")
    # A model that the program is not told of is not promised.
    agent(tmp_path, "harp", "HARP_KEY", more="")
    assert "plays: harp, the program's own choice of model, permissions not" in said()
    # Some validations can pass in part: then the rest is asked for.
    song(tmp_path, more="validations: [{type: file_exists, path: a}]\n")
    assert "up to 8 attempts a sheet, 24 in all" in said()
    # A limit that is accepted and does nothing is not promised.
    song(tmp_path, more="cost_limits: {max_cost_per_job: 3}\n")
    assert "no limit on cost is in effect" in said()
    song(tmp_path, more="movements: {2: {instrument: cli}}\n")
    assert "2 sheets\n" in said()
    song(
        tmp_path,
        more="movements: {1: {instrument: cli}, 2: {instrument: cli}, 3: {instrument: cli}}\n",
    )
    assert "plays:" not in said()
    assert "may spend:" not in said()


def test_a_service_without_a_key_that_the_score_gives_one(mzt_here: Mzt, tmp_path: Path) -> None:
    song(tmp_path, ", base_url: 'https://models.example', api_key_env: THE_KEY")
    score = tmp_path / "song.yaml"
    score.write_text(score.read_text().replace("instrument: harp", "instrument: ollama"))
    assert (
        "plays: ollama, model llama3.1:8b, 3 sheets\n" in mzt_here("run", "-n", "song.yaml").stdout
    )


@pytest.mark.parametrize("options", [["-q"], ["--json"], ["--json", "-q"]])
def test_programs_and_the_silent_are_not_told(options: list[str], mzt: Mzt, tmp_path: Path) -> None:
    agent(tmp_path, "harp", "HARP_KEY")
    more = "validations: [{type: file_exists, path: a}]\nretry: {max_retries: 0}\n"
    song(tmp_path, more=more)
    done = mzt("run", "song.yaml", *options)
    assert "may spend" not in done.stdout + done.stderr


def test_json_and_quiet_say_nothing_on_stderr(mzt: Mzt, tmp_path: Path) -> None:
    (tmp_path / "song.yaml").write_text(
        "name: song\nworkspace: work\ninstrument: cli\nsheet: {size: 1, total_items: 1}\n"
        "stale_detection: {enabled: true}\nprompt: {template: 'true'}\n"
    )
    loud = mzt("run", "song.yaml", "--json")
    assert "not yet in effect" in loud.stderr
    quiet = mzt("run", "song.yaml", "--json", "-q")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert json.loads(quiet.stdout.splitlines()[-1])["status"] == "completed"


# --- doctor -------------------------------------------------------------------------------------


def test_the_doctor_tells_of_programs_and_logins(mzt_here: Mzt, tmp_path: Path) -> None:
    agent(tmp_path, "harp", "HARP_KEY")

    def check(name: str, **env: str) -> dict[str, str]:
        document = json.loads(mzt_here("doctor", "--json", **env).stdout)
        (found,) = [check for check in document["checks"] if check["name"] == name]
        return dict(found)

    seen = check("instrument harp", HARP_KEY="x")
    assert (seen["level"], seen["found"]) == ("ok", f"{tmp_path}/bin/harp; login: HARP_KEY")
    unseen = check("instrument harp")
    assert (unseen["level"], unseen["hint"]) == ("warning", "if it is not logged in: harp login")
    assert "login not seen" in unseen["found"]
    assert check("instrument claude-code", PATH="/nowhere")["level"] == "absent"
    assert "login" not in check("instrument cli")["found"]
    assert check("working directory")["found"] == str(tmp_path)


def test_a_disk_that_is_nearly_full(mzt_here: Mzt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marianne_tui.cli.commands.doctor._LOW_DISK", 1 << 60)
    done = mzt_here("doctor", "--json")
    (disk,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "disk"]
    assert disk["level"] == "warning"


def test_a_store_of_an_earlier_version_is_no_hindrance(mzt_here: Mzt, tmp_path: Path) -> None:
    assert mzt_here("doctor").returncode == 0  # makes the state directory
    shutil.copy(ROOT / "tests" / "data" / "store-v1.db", tmp_path / "state" / "marianne.db")
    done = mzt_here("doctor", "--json")
    (store,) = [c for c in json.loads(done.stdout)["checks"] if c["name"] == "database"]
    assert (done.returncode, store["level"]) == (0, "warning")
    assert "mzt run" in store["hint"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("doctor", 0, "the current directory does not exist any more"),
        ("instruments list", 0, "cli"),
        ("instruments check cli", 0, "cli works"),
        ("init", 2, "the current directory does not exist any more"),
        ("instruments new x", 2, "the current directory does not exist any more"),
    ],
)
def test_a_working_directory_that_was_removed(
    arguments: str, status: int, words: str, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    instruments = tmp_path / ".marianne" / "instruments"
    instruments.mkdir(parents=True)
    (instruments / "broken.yaml").write_text("name: [\n")
    done = subprocess.run(
        [
            "/bin/bash",
            "-c",
            f'cd "$1" && rmdir "$1" && exec "$0" -m marianne_tui {arguments}',
            sys.executable,
            str(gone),
        ],
        env=program_env(tmp_path / "state"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "getcwd" not in done.stderr
