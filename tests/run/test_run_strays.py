"""Strays: what ended attempts left behind is found and ended, whatever goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from marianne_core.run import strays
from marianne_core.run.active import Playing
from marianne_core.run.processes import find_tokens
from marianne_core.run.strays import Strays
from tests.conductor.house import is_alive
from tests.run.band import Band, until, written

_DAEMON = "setsid -f sh -c 'echo $$ > pid; exec sleep 96'; until [ -s pid ]; do sleep 0.01; done"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "_SWEEP_AFTER", 0.05)


@pytest.fixture
async def band(tmp_path: Path) -> AsyncIterator[Band]:
    band = Band(tmp_path)
    yield band
    await band.close()


class _NoChildren:
    def awaited(self) -> set[int]:
        return set()


class _Ender:
    """Takes note of what it is asked to end; ends nothing before it may."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float | None]] = []
        self.may = asyncio.Event()
        self.over: list[str] = []

    async def __call__(self, attempt: Playing, grace: float | None = None) -> None:
        self.asked.append((attempt.token, grace))
        await self.may.wait()
        self.over.append(attempt.token)


def _found(monkeypatch: pytest.MonkeyPatch, *tokens: str) -> None:
    """Let a scan see these tokens."""
    monkeypatch.setattr(strays, "find_tokens", lambda asked: {t: [] for t in asked if t in tokens})


async def test_a_daemon_is_ended_after_its_sheet(band: Band) -> None:
    attempt = band.attempt(_DAEMON)
    await band.musician.play(attempt)
    pid = int(await written(band.workspace / "pid"))
    await until(lambda: not is_alive(pid))
    await until(lambda: len(band.log.events("sheet.leftovers")) == 1)


async def test_a_daemon_of_a_skip_command_is_ended_after_its_sheet_not_before(
    band: Band,
) -> None:
    """It carries the attempt's token, as the instrument does: sweeping must spare both."""
    attempt = band.attempt(
        "echo $$ > up; until [ -e go ]; do sleep 0.01; done",
        f"""
        sheet:
          size: 1
          total_items: 1
          skip_when_command: {{1: {{command: "{_DAEMON}; false"}}}}
        """,
    )
    playing = asyncio.create_task(band.musician.play(attempt))
    pid = int(await written(band.workspace / "pid"))
    instrument = int(await written(band.workspace / "up"))
    await asyncio.sleep(0.3)  # six sweeps' time
    assert is_alive(instrument)
    (band.workspace / "go").touch()
    assert (await playing).ended == "ok"
    await until(lambda: not is_alive(pid))


async def test_a_sweep_that_fails_is_not_the_last(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def find(tokens: list[str]) -> dict[str, Any]:
        calls.append(tokens)
        if len(calls) <= 2:
            raise OSError(errno.EMFILE, "Too many open files")
        return find_tokens(tokens)

    monkeypatch.setattr(strays, "find_tokens", find)
    attempt = band.attempt(_DAEMON)
    await band.musician.play(attempt)
    pid = int(await written(band.workspace / "pid"))
    await until(lambda: not is_alive(pid))
    assert len(calls) >= 3
    # Nor for those that come after it.
    (band.workspace / "pid").unlink()
    await band.musician.play(band.attempt(_DAEMON))
    pid = int(await written(band.workspace / "pid"))
    await until(lambda: not is_alive(pid))


async def test_any_exception_leaves_the_sweeping_alive(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    ender = _Ender()
    watch = Strays(_NoChildren(), ender, subreaper=False)
    attempt = band.attempt("true")
    failures = [ValueError("no thread"), RuntimeError("can't start new thread")]

    def find(tokens: list[str]) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return {token: [] for token in tokens}

    monkeypatch.setattr(strays, "find_tokens", find)
    with watch.of(attempt):
        pass
    await until(lambda: ender.asked)
    ender.may.set()
    await watch.close()


async def test_a_slow_ending_delays_no_other(band: Band, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (band.attempt("true") for _ in range(3))
    _found(monkeypatch, first.token, second.token, third.token)
    ender = _Ender()
    watch = Strays(_NoChildren(), ender, subreaper=False)
    for attempt in (first, second):
        with watch.of(attempt):
            pass
    await until(lambda: len(ender.asked) == 2)  # together
    with watch.of(third):
        pass
    await until(lambda: len(ender.asked) == 3)  # and a later sweep goes on beside them
    assert ender.over == []
    ender.may.set()
    await until(lambda: len(ender.over) == 3)
    await watch.close()


async def test_closing_looks_after_what_is_gone_and_what_is_being_ended(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = band.attempt("true"), band.attempt("true")
    _found(monkeypatch, first.token, second.token)
    ender = _Ender()
    watch = Strays(_NoChildren(), ender, subreaper=False)
    with watch.of(first):
        pass
    await until(lambda: ender.asked)  # being ended
    with watch.of(second):
        pass  # gone, not looked for yet
    ender.asked.clear()
    ender.may.set()
    await watch.close()
    assert {token for token, _ in ender.asked} == {first.token, second.token}
    assert all(grace is not None and grace <= 0.5 for _, grace in ender.asked)
    assert set(ender.over) == {first.token, second.token}


async def test_closing_during_a_sweep_drops_nobody(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = band.attempt("true")
    looking = asyncio.Event()
    loop = asyncio.get_running_loop()

    def find(tokens: list[str]) -> dict[str, Any]:
        if not looking.is_set():
            loop.call_soon_threadsafe(looking.set)
            time.sleep(0.1)
        return {token: [] for token in tokens}

    monkeypatch.setattr(strays, "find_tokens", find)
    ender = _Ender()
    ender.may.set()
    watch = Strays(_NoChildren(), ender, subreaper=False)
    with watch.of(attempt):
        pass
    await looking.wait()
    await watch.close()
    assert ender.over == [attempt.token]


async def test_closing_takes_no_longer_than_a_host_may(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = band.attempt("true")
    _found(monkeypatch, attempt.token)
    watch = Strays(_NoChildren(), _Ender(), subreaper=False)  # it never ends
    with watch.of(attempt):
        pass
    started = time.monotonic()
    await watch.close()
    assert time.monotonic() - started < 2.0


async def test_an_attempt_that_is_left_alive_has_no_strays(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = band.attempt("echo $$ > pid; exec sleep 97")
    playing = asyncio.create_task(band.musician.play(attempt))
    pid = int(await written(band.workspace / "pid"))
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    await band.musician.close()
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)
