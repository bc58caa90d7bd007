"""The host as a process: what each signal does, how it ends, and how fast."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marianne_core.remember.home import Home
from tests.programs import Program

PROGRAM = Path(__file__).with_name("host_program.py")
SECONDS = 30


class Hosted:
    """One running host program."""

    def __init__(self, home: Path, manner: str, ignored: signal.Signals | None) -> None:
        self.home = Home(home)
        path = os.pathsep.join(entry for entry in sys.path if entry)
        env = {**os.environ, "PYTHONPATH": path}
        start = [str(PROGRAM), str(home), manner]
        self.process: Program | subprocess.Popen[str]
        if ignored is None:
            self.process = Program(start, env=env)
        else:
            trap = f"trap '' {ignored.name[3:]}; exec \"$@\""
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", trap, "sh", sys.executable, *start],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                env=env,
            )
        self.lines: list[str] = []

    def until(self, beginning: str) -> None:
        """Read lines up to one that begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return
        pytest.fail(f"no line {beginning!r} in {self.lines}")

    def until_logged(self, event: str) -> None:
        """Wait for an entry of the log; the loop that waits ends with the process at the latest."""
        while not any(entry["event"] == event for entry in self.log()):
            assert self.process.poll() is None
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """The exit status."""
        # Not `communicate`: it passes over what `until` has left in the stream's buffer.
        status = self.process.wait(timeout=SECONDS)
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return status

    def log(self) -> list[dict[str, object]]:
        whole_lines = self.home.log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in whole_lines]

    @property
    def said(self) -> list[str]:
        return [line.removeprefix("say: ") for line in self.lines if line.startswith("say: ")]


Start = Callable[..., Hosted]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Hosted] = []

    def begin(
        manner: str = "", *, ready: str = "ready", ignored: signal.Signals | None = None
    ) -> Hosted:
        hosted = Hosted(tmp_path / "home", manner, ignored)
        started.append(hosted)
        hosted.until(ready)
        return hosted

    yield begin
    for hosted in started:
        if hosted.process.poll() is None:
            hosted.process.kill()
        hosted.process.communicate()


def test_once_drains(start: Start) -> None:
    hosted = start()
    assert hosted.home.socket.is_socket()
    hosted.send(signal.SIGINT)
    hosted.until("say: draining")
    hosted.send(signal.SIGUSR1)
    assert hosted.end() == 4
    assert hosted.lines[-1] == "left: drain"
    assert len(hosted.said) == 1
    assert not hosted.home.socket.exists()


def test_twice_leaves_the_sheets_alive(start: Start) -> None:
    hosted = start()
    hosted.send(signal.SIGINT)
    hosted.until("say: draining")
    hosted.send(signal.SIGINT)
    hosted.until("say: leaving")
    assert hosted.end() == 4
    assert hosted.lines[-1] == "left: drain, stop_dispatch"
    assert not hosted.home.socket.exists()


def test_three_times_ends_them(start: Start) -> None:
    hosted = start()
    for word in ("draining", "leaving", "ending"):
        hosted.send(signal.SIGINT)
        hosted.until(f"say: {word}")
    assert hosted.end() == 130
    assert hosted.lines[-1] == "left: drain, stop_dispatch, end_sheets"


def test_once_more_gives_up_a_hanging_end(start: Start) -> None:
    hosted = start("hangs at ending")
    for word in ("say: draining", "say: leaving", "ending"):
        hosted.send(signal.SIGINT)
        hosted.until(word)
    hosted.send(signal.SIGINT)
    assert hosted.end() == 130
    assert hosted.lines[-1].startswith("left:")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("manner", ["", "does not see the stop", "has lost its terminal"])
def test_term_and_hangup_leave_at_once(start: Start, number: signal.Signals, manner: str) -> None:
    hosted = start(manner)
    before = time.monotonic()
    hosted.send(number)
    assert hosted.end() == 4
    assert time.monotonic() - before < 2
    assert hosted.lines[-1] == "left: stop_dispatch"
    assert hosted.said == []
    assert not hosted.home.socket.exists()
    leaving = [entry for entry in hosted.log() if entry["event"] == "host.leaving"]
    assert [entry["reason"] for entry in leaving] == [number.name]


def test_a_lost_terminal_does_not_stop_a_drain(start: Start) -> None:
    hosted = start("has lost its terminal")
    hosted.send(signal.SIGINT)
    hosted.until_logged("host.not_heard")
    hosted.send(signal.SIGUSR1)
    assert hosted.end() == 4


def test_a_conductor_that_hangs_at_opening_is_left(start: Start) -> None:
    hosted = start("hangs at opening", ready="opening")
    before = time.monotonic()
    hosted.send(signal.SIGTERM)
    assert hosted.end() == 4
    assert time.monotonic() - before < 2


def test_a_conductor_that_hangs_at_closing_is_left(start: Start) -> None:
    hosted = start("hangs at closing")
    before = time.monotonic()
    hosted.send(signal.SIGTERM)
    hosted.until("closing")
    assert hosted.end() == 4
    assert time.monotonic() - before < 3


def test_jobs_of_other_terminals_are_waited_for(start: Start) -> None:
    hosted = start("is done, another job runs")
    hosted.until("say: this conductor still runs one#1; Ctrl-C once pauses that, twice leaves")
    hosted.send(signal.SIGUSR1)
    assert hosted.end() == 0
    assert hosted.lines[-2:] == ["say: one#1 is completed", "left: "]


def test_jobs_of_other_terminals_can_be_left(start: Start) -> None:
    hosted = start("is done, another job runs")
    hosted.until("say: this conductor still runs one#1; Ctrl-C once pauses that, twice leaves")
    hosted.send(signal.SIGTERM)
    assert hosted.end() == 0


def test_a_signal_ignored_from_the_start_stays_ignored(start: Start) -> None:
    hosted = start(ignored=signal.SIGHUP)
    hosted.send(signal.SIGHUP)
    hosted.send(signal.SIGINT)
    hosted.until("say: draining")
    hosted.send(signal.SIGUSR1)
    assert hosted.end() == 4
