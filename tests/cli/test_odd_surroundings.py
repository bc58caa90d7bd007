"""Names, numbers, terminals and surroundings that nobody planned for: words, never a traceback."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from marianne_core.model.errors import InputError
from marianne_core.model.runs import JobRef
from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock
from marianne_tui.cli.columns import table
from marianne_tui.cli.views import LineView, make_view

from .conftest import Mzt, on_a_terminal, program_env

HUGE = "9" * 30


@pytest.mark.parametrize(
    "name", ["job#x", "#3", "a#3#4", "a#0", f"a#{HUGE}", "a#" + "9" * 5000, "a#²", "a#٣", "\udcff"]
)
def test_a_name_that_names_no_job(name: str, mzt_here: Mzt) -> None:
    with pytest.raises(InputError):
        JobRef.parse(name)
    for command in ("status", "logs", "errors", "history", "pause", "cancel"):
        done = mzt_here(command, name)
        assert done.returncode == 2, command
        assert "does not name a job" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--limit", HUGE],
        ["list", "--limit", HUGE, "--all", "--debug"],
        ["history", "--limit", HUGE],
        ["logs", "a", "--sheet", HUGE],
        ["logs", "a", "--sheet", "1", "--attempt", HUGE],
        ["clear", "-y", "--older-than", "nan"],
        ["clear", "-y", "--older-than", "inf"],
    ],
)
def test_a_number_that_is_none(arguments: list[str], mzt_here: Mzt) -> None:
    done = mzt_here(*arguments)
    assert done.returncode == 2
    assert "internal error" not in done.stderr


def test_a_name_that_is_not_text_is_seen_as_such(mzt_here: Mzt) -> None:
    done = mzt_here("run", "no\udcffpe.yaml")
    assert done.returncode == 2
    assert "no\ufffdpe.yaml: there is no such file" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["\x1b[2J"],
        ["--bad\x1b[2J"],
        ["status", "a\x1b[2J"],
        ["list", "--status", "\x1b[2J"],
        ["run", "\x1b[2J.yaml"],
    ],
)
def test_what_was_typed_is_not_obeyed_by_the_terminal(arguments: list[str], tmp_path: Path) -> None:
    status, written = on_a_terminal(program_env(tmp_path / "state"), tmp_path, *arguments)
    assert status == 2
    assert written
    assert b"\x1b[2J" not in written


def test_a_terminal_is_told_what_ctrl_c_does(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "name: one\nworkspace: work\ninstrument: cli\n"
        "sheet: {size: 1, total_items: 1}\nprompt: {template: 'true'}\n"
    )
    env = program_env(tmp_path / "state", TERM="dumb")
    status, written = on_a_terminal(env, tmp_path, "run", "one.yaml")
    assert status == 0, written
    assert b"Ctrl-C: once starts no new sheets" in written


def test_a_dumb_terminal_gets_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mzt: Mzt
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_view(), LineView)


@pytest.mark.parametrize("closed", ["0", "1", "2"])
@pytest.mark.parametrize("arguments", ["--version", "list", "doctor", "run one.yaml"])
def test_standard_streams_that_are_closed(closed: str, arguments: str, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "name: one\nworkspace: work\ninstrument: cli\nsheet: {size: 1, total_items: 1}\n"
        "prompt: {template: 'cat; echo said'}\n"
    )
    script = f'exec "$0" -m marianne_tui {arguments} {closed}>&-'
    done = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable],
        env=program_env(tmp_path / "state"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if arguments.startswith("run"):
        (output,) = (tmp_path / "state" / "runs").glob("*/1.1.out")
        assert output.read_text() == "said\n"


def test_a_confirmation_without_anyone_to_ask(tmp_path: Path) -> None:
    script = 'cd "$1" && "$0" -m marianne_tui init && "$0" -m marianne_tui run my-score.yaml -q'
    script += ' && exec "$0" -m marianne_tui clear --job my-score <&-'
    done = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, str(tmp_path)],
        env=program_env(tmp_path / "state"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_a_directory_that_was_removed(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && exec "$0" -m marianne_tui run x/y.yaml'
    (tmp_path / "one.yaml").write_text("name: one\n")
    for score in ("x.yaml", str(tmp_path / "one.yaml")):
        gone.mkdir(exist_ok=True)
        done = subprocess.run(
            ["/bin/sh", "-c", script.replace("x/y.yaml", score), sys.executable, str(gone)],
            env=program_env(tmp_path / "state"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("home", ["", "relative", None])
def test_without_a_home_directory_the_systems_word_counts(
    home: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Entry:
        pw_dir = str(tmp_path)

    monkeypatch.setattr("pwd.getpwuid", lambda uid: Entry)
    env = {} if home is None else {"HOME": home}
    assert Home.find(env).root == tmp_path / ".local/state/marianne"

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(InputError, match="no home directory"):
        Home.find(env)


def test_a_conductor_that_is_starting_is_waited_for(
    tmp_path: Path, mzt_here: Mzt, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "state")
    home.prepare()
    lock = StateLock(home.lock)
    lock.acquire(version="0", socket=home.socket)
    monkeypatch.setattr("marianne_tui.cli.steering._STARTING", 0.3)
    before = time.monotonic()
    assert mzt_here("pause", "nope").returncode == 2  # it is asked about in the store
    assert time.monotonic() - before >= 0.3
    # It is waited for only as long as it is there.
    threading.Timer(0.1, lock.release).start()
    monkeypatch.setattr("marianne_tui.cli.steering._STARTING", 60.0)
    before = time.monotonic()
    assert mzt_here("pause", "nope").returncode == 2
    assert time.monotonic() - before < 30


def test_a_long_note_is_cut_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marianne_tui.cli.columns._terminal_width", lambda: 40)
    before = time.process_time()
    lines = table(("", "note"), [["x", "é名" * 50_000]])
    assert time.process_time() - before < 2
    assert lines[1].endswith("…")
    assert len(lines[1]) < 40
