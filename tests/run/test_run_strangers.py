"""A lock that is held by a process this conductor cannot see: waited for, never signalled."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from marianne_core.model.outcome import Ended
from marianne_core.run.active import Playing
from tests.run.band import Band, until

_HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
file.write("=0\\n")
"""


class Stranger:
    """Holds an attempt's lock, as a shim in another pid namespace would, and leaves when told."""

    def __init__(self, attempt: Playing) -> None:
        status = attempt.files.status
        status.write_text("999999999\n")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(status)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def leave(self) -> None:
        self._process.communicate("\n", timeout=20)
        assert self._process.returncode == 0


@pytest.fixture
async def band(tmp_path: Path) -> AsyncIterator[Band]:
    band = Band(tmp_path)
    yield band
    await band.close()


@pytest.fixture
async def attempt(band: Band) -> Playing:
    attempt = band.attempt("true", "validations: [{type: file_exists, path: '{workspace}/made'}]")
    attempt.intended = True
    attempt.files.stdout.touch()
    attempt.files.stderr.touch()
    (band.workspace / "made").touch()
    return attempt


async def test_a_person_sees_why_it_waits(band: Band, attempt: Playing) -> None:
    stranger = Stranger(attempt)
    adopted = asyncio.create_task(band.musician.adopt(attempt))
    await until(lambda: "a process this conductor cannot see" in attempt.doing)
    stranger.leave()
    assert (await adopted).ended is Ended.OK


async def test_its_timeout_cannot_be_carried_out(
    band: Band, attempt: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Stranger(attempt)
    adopted = asyncio.create_task(band.musician.adopt(attempt))
    await until(lambda: attempt.held_by_stranger)
    await band.musician.end(attempt, Ended.TIMEOUT, "took over 3 s")
    assert "its timeout cannot be carried out" in attempt.doing
    (warning,) = band.log.events("sheet.warning")
    assert "its timeout cannot be carried out" in warning["reason"]
    assert stranger.lives
    assert not adopted.done()
    stranger.leave()
    # It came to its end, was paid for, and counts.
    outcome = await adopted
    assert (outcome.ended, outcome.pass_rate) == (Ended.OK, 100.0)


async def test_its_cancellation_counts_once_it_is_gone(band: Band, attempt: Playing) -> None:
    stranger = Stranger(attempt)
    adopted = asyncio.create_task(band.musician.adopt(attempt))
    await until(lambda: attempt.held_by_stranger)
    await band.musician.end(attempt, Ended.CANCELLED, "by hand")
    assert "cannot be ended" in attempt.doing
    assert "by hand" in attempt.doing
    assert band.log.events("ending")  # the next conductor may be able to
    assert stranger.lives
    assert not adopted.done()
    stranger.leave()
    assert (await adopted).ended is Ended.CANCELLED


async def test_an_order_that_comes_before_it_is_taken_up(band: Band, attempt: Playing) -> None:
    """A deadline that is past orders the end before the attempt's own task has begun."""
    stranger = Stranger(attempt)
    attempt.shim_alive = True
    await band.musician.end(attempt, Ended.TIMEOUT, "took over 3 s")
    adopted = asyncio.create_task(band.musician.adopt(attempt))
    await asyncio.sleep(0.05)
    assert "its timeout cannot be carried out" in attempt.doing
    stranger.leave()
    assert (await adopted).ended is Ended.OK


async def test_one_that_is_seen_is_ended(band: Band) -> None:
    """Only what cannot be seen is spared."""
    attempt = band.attempt("echo $$ > pid; exec sleep 97")
    playing = asyncio.create_task(band.musician.play(attempt))
    await until(lambda: attempt.pid is not None and (band.workspace / "pid").exists())
    await band.musician.end(attempt, Ended.TIMEOUT, "too long")
    assert (await playing).ended is Ended.TIMEOUT
    assert attempt.waited == 128 + signal.SIGTERM
