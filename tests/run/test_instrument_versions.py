"""Versions of programs: what they print, how long they may take, and what is remembered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from marianne_core.run.instrument.versions import KEPT_FOR, Question, Versions, ask_all, version_in

ENV = {"PATH": "/usr/bin:/bin"}


def question(folder: Path, name: str, body: str, *arguments: str) -> Question:
    """A program that also notes down every call of itself."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho called >> {folder}/{name}.calls\n{body}\n")
    path.chmod(0o755)
    return Question(str(path), arguments or ("--version",), {**ENV, "FOLDER": str(folder)})


def calls(asked: Question) -> int:
    noted = Path(f"{asked.program}.calls")
    return len(noted.read_text().splitlines()) if noted.exists() else 0


def ask(asked: Question, seconds: float) -> str | None:
    (answer,) = ask_all([asked], seconds)
    return answer


def lives(pid: int) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.1.330 (Claude Code)\n", "2.1.330"),
        ("WARNING: proceeding\ncodex-cli 0.169.0\n", "0.169.0"),
        ("aider 0.86.2", "0.86.2"),
        ("v1.18.33", "1.18.33"),
        ("GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)", "5.2.15"),
        ("tool 1.0.0-rc.1+x", "1.0.0-rc.1+x"),
        ("in 3 words", None),
        ("", None),
    ],
)
def test_the_version_in_what_is_printed(text: str, version: str | None) -> None:
    assert version_in(text) == version


def test_a_program_is_asked(tmp_path: Path) -> None:
    good = question(tmp_path, "good", 'echo "good $1 7.8.9"', "version")
    assert ask(good, 10) == "7.8.9"
    assert ask(question(tmp_path, "err", "echo err 1.2 >&2"), 10) == "1.2"
    assert ask(question(tmp_path, "mute", "exit 3"), 10) is None
    assert ask(question(tmp_path, "reads", "read line; echo 1.$line.5"), 10) is None
    assert ask(Question(str(tmp_path / "gone"), ("--version",), ENV), 10) is None


def test_one_that_does_not_answer_is_ended_with_what_it_started(tmp_path: Path) -> None:
    slow = question(tmp_path, "slow", 'sleep 300 & echo $! > "$FOLDER/child"; wait')
    began = time.monotonic()
    assert ask(slow, 1.0) is None
    assert time.monotonic() - began < 20
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + 10
    while lives(child):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_nobody_waits_for_a_program_after_ctrl_c(tmp_path: Path) -> None:
    slow = question(tmp_path, "slow", "sleep 300")

    main = threading.main_thread().ident
    assert main is not None

    def press() -> None:
        while not calls(slow):
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Versions(tmp_path / "state" / "versions.json").of([slow], seconds=300)
    pressing.join()
    assert time.monotonic() - began < 60


def test_nothing_is_left_of_it_when_ctrl_c_is_pressed_twice(tmp_path: Path) -> None:
    slow = question(
        tmp_path, "slow", 'echo $$ > "$FOLDER/part"; mv "$FOLDER/part" "$FOLDER/pid"; sleep 300'
    )
    program = (
        "import pathlib, sys; from marianne_core.run.instrument.versions import Question, Versions\n"
        "asked = Question(sys.argv[1], (), {'PATH': '/usr/bin:/bin', 'FOLDER': sys.argv[2]})\n"
        "Versions(pathlib.Path(sys.argv[2]) / 'state' / 'versions.json').of([asked], seconds=300)"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", program, slow.program, str(tmp_path)], stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "pid").exists():
        assert asking.poll() is None
        time.sleep(0.01)
    for _ in range(2):
        asking.send_signal(signal.SIGINT)
        time.sleep(0.02)
    asking.wait(60)
    assert not lives(int((tmp_path / "pid").read_text()))


def test_all_are_asked_at_once(tmp_path: Path) -> None:
    # Each waits until all nine are there: one after the other they would never answer.
    body = (
        'touch "$FOLDER/here-$$"; i=0; '
        'while [ "$(ls "$FOLDER" | grep -c ^here-)" -lt 9 ] && [ $i -lt 1000 ];'
        " do sleep 0.02; i=$((i+1)); done; echo 1.2.3"
    )
    questions = [question(tmp_path, f"p{number}", body) for number in range(9)]
    found = Versions(tmp_path / "state" / "versions.json").of(questions, seconds=30)
    assert found == ["1.2.3"] * 9


def test_what_was_heard_is_remembered_until_the_file_is_another(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "state" / "versions.json")
    asked = question(tmp_path, "p", "echo 1.0")
    assert versions.known([asked]) == [None]
    assert versions.of([asked], seconds=10) == ["1.0"]
    assert versions.of([asked], seconds=10) == ["1.0"]
    assert versions.known([asked]) == ["1.0"]
    assert calls(asked) == 1
    assert versions.of([asked], seconds=10, anew=True) == ["1.0"]
    assert calls(asked) == 2
    other = question(tmp_path, "p", "echo 2.0")  # of the same size
    os.utime(other.program, (0, 0))  # as packages leave them
    assert versions.of([other], seconds=10) == ["2.0"]
    # Other arguments are another question.
    again = Question(asked.program, ("-v",), ENV)
    assert versions.known([again]) == [None]


def test_old_and_unreadable_memories_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "state" / "versions.json"
    versions = Versions(file)
    asked = question(tmp_path, "p", "echo 1.0")
    versions.of([asked], seconds=10)
    memory = json.loads(file.read_text())
    (entry,) = memory.values()
    entry["at"] -= KEPT_FOR + 1
    file.write_text(json.dumps(memory))
    assert versions.known([asked]) == [None]
    for text in ("", "[]", "no", json.dumps(dict.fromkeys(memory, 3))):
        file.write_text(text)
        assert versions.of([asked], seconds=10) == ["1.0"]


def test_without_a_place_to_remember_it_works_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    versions = Versions(tmp_path / "file" / "versions.json")
    asked = question(tmp_path, "p", "echo 1.0")
    assert versions.of([asked], seconds=10) == ["1.0"]
    assert versions.of([asked], seconds=10) == ["1.0"]
    assert calls(asked) == 2
