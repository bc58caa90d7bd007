"""Strays: what an attempt left behind is found and ended before the attempt is over."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from marianne_core.run import strays, system_errors
from marianne_core.run.active import Playing
from marianne_core.run.processes import Proc
from marianne_core.run.strays import Strays
from marianne_core.run.tree import SharedScans
from tests.conductor.house import is_alive
from tests.run.band import Band, left, written

_DAEMON = "setsid -f sh -c 'echo $$ > pid; exec sleep 96'; until [ -s pid ]; do sleep 0.01; done"
_ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def band(tmp_path: Path) -> AsyncIterator[Band]:
    band = Band(tmp_path)
    yield band
    await band.close()


async def test_a_daemon_is_ended_before_its_sheet_is_over(band: Band) -> None:
    attempt = band.attempt(_DAEMON)
    await band.musician.play(attempt)
    assert not is_alive(int(await written(band.workspace / "pid")))
    assert len(band.log.events("sheet.leftovers")) == 1


async def test_a_sheet_without_a_daemon_has_no_leftovers(band: Band) -> None:
    assert (await band.musician.play(band.attempt("true"))).ended == "ok"
    assert band.log.events("sheet.leftovers") == []


async def test_a_daemon_of_a_skip_command_is_ended_after_its_sheet_not_before(
    band: Band,
) -> None:
    """It carries the attempt's token, as the instrument does: looking must spare both."""
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
    # Another sheet ends meanwhile, and is looked after.
    assert (await band.musician.play(band.attempt("true"))).ended == "ok"
    assert is_alive(instrument)
    assert is_alive(pid)
    (band.workspace / "go").touch()
    assert (await playing).ended == "ok"
    assert not is_alive(pid)


@pytest.mark.parametrize("verdict", ["true", "false"])
async def test_a_daemon_of_a_command_that_decides_is_ended_before_its_sheet_is_over(
    band: Band, verdict: str
) -> None:
    """Of a skip command that skips, or of a validation: nothing is looked for once it is over."""
    skips = band.attempt(
        "true",
        f"""
        sheet:
          size: 1
          total_items: 1
          skip_when_command: {{1: {{command: "{_DAEMON}; {verdict}"}}}}
        """,
    )
    # Another file, and no second try: with an old pid in the file, the command would be over before
    # its daemon has written.
    daemon = _DAEMON.replace("'", '"').replace("pid", "other")
    validated = band.attempt(
        "true",
        "validations:\n"
        f"  - {{type: command_succeeds, retry_count: 0, command: '{daemon}; {verdict}'}}",
    )
    for attempt, file in ((skips, "pid"), (validated, "other")):
        await band.musician.play(attempt)
        assert not is_alive(int(await written(band.workspace / file)))


async def test_a_look_that_fails_is_made_again(band: Band, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_errors, "_FIRST_PAUSE", 0.02)
    scans = [0]
    fresh = SharedScans.fresh

    async def failing(self: SharedScans) -> object:
        scans[0] += 1
        if scans[0] == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        if scans[0] == 2:
            raise RuntimeError("can't start new thread")
        return await fresh(self)

    monkeypatch.setattr(SharedScans, "fresh", failing)
    await band.musician.play(band.attempt(_DAEMON))
    assert not is_alive(int(await written(band.workspace / "pid")))


@pytest.mark.parametrize("subreaper", [True, False])
async def test_what_a_sheet_of_an_earlier_conductor_left_behind_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subreaper: bool
) -> None:
    """Somebody else reaped its shim at once, and has its orphans."""
    monkeypatch.setattr(strays, "group_has_members", lambda pid: False)
    band = Band(tmp_path, subreaper=subreaper)
    first = band.attempt(f"{_DAEMON}; until [ -e go ]; do sleep 0.01; done")
    playing = asyncio.create_task(band.musician.play(first))
    daemon = int(await written(band.workspace / "pid"))
    await left(playing)
    adopted = Playing(first.run, first.num, first.number, first.mode, first.token)
    adopted.pid, adopted.intended = first.pid, True
    (band.workspace / "go").touch()
    assert (await band.musician.adopt(adopted)).ended == "ok"
    assert not is_alive(daemon)
    assert len(band.log.events("sheet.leftovers")) == 1
    await band.close()


async def test_an_attempt_that_is_left_alive_has_no_strays(band: Band) -> None:
    attempt = band.attempt("echo $$ > pid; exec sleep 97")
    playing = asyncio.create_task(band.musician.play(attempt))
    pid = int(await written(band.workspace / "pid"))
    await left(playing)
    await band.musician.close()
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


# --- orphans that do not say whose they are --------------------------------------------------------


class _Family:
    """Orphans that a sub-reaper sees: pids, with the token each one carries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens: dict[int, str | None] = {}
        self.ended: list[tuple[str, list[int]]] = []
        """Tokens of attempts whose tree was ended, and the pids that were named beside."""
        monkeypatch.setattr(strays, "adopted_children", lambda known: sorted(self.tokens))
        monkeypatch.setattr(strays, "environ_token", lambda pid: self.tokens[pid])
        monkeypatch.setattr(strays, "read_proc", lambda pid: Proc(pid, 1, pid, pid, "S", 7))
        monkeypatch.setattr(strays, "reap", lambda pids: [])
        monkeypatch.setattr(strays, "group_has_members", lambda pid: False)

    def awaited(self) -> set[int]:
        return set()

    async def end(self, attempt: Playing, also: Sequence[Proc] = ()) -> None:
        self.ended.append((attempt.token, [proc.pid for proc in also]))
        for proc in also:
            del self.tokens[proc.pid]

    def strays(self) -> Strays:
        return Strays(self, self.end, scans=SharedScans(), subreaper=True)


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> _Family:
    return _Family(monkeypatch)


def _gone(band: Band) -> Playing:
    """An attempt whose shim this process started and reaped."""
    attempt = band.attempt("true")
    attempt.pid, attempt.waited = 4711, 0
    return attempt


@pytest.mark.parametrize("token", [None, "", "of-somebody-else"])
async def test_an_orphan_without_a_name_belongs_to_the_attempt_that_lives(
    band: Band, family: _Family, token: str | None
) -> None:
    watch, attempt = family.strays(), _gone(band)
    with watch.of(attempt):
        family.tokens[50] = token
        await watch.settle(attempt, group_known=True)
    assert family.ended == [(attempt.token, [50])]


async def test_an_orphan_of_one_of_several_is_ended_with_the_last_that_may_have_left_it(
    band: Band, family: _Family
) -> None:
    watch = family.strays()
    first, second, third = (_gone(band) for _ in range(3))
    with watch.of(second):
        await watch.settle(second, group_known=True)
        with watch.of(first):
            family.tokens[50] = None
            await watch.settle(first, group_known=True)
        with watch.of(third):  # it came later: not one of those
            await watch.settle(third, group_known=True)
            assert family.ended == []
            assert watch.may_be_left(second)
            await watch.settle_helpers(second)
    assert family.ended == [(second.token, [50])]


async def test_an_orphan_whose_last_attempt_is_over_is_ended_by_whoever_looks_next(
    band: Band, family: _Family
) -> None:
    watch = family.strays()
    first, second, third = (_gone(band) for _ in range(3))
    with watch.of(second), watch.of(first):
        family.tokens[50] = None
        await watch.settle(first, group_known=True)
    assert family.ended == []
    with watch.of(third):
        await watch.settle(third, group_known=True)
        assert family.ended == [(third.token, [50])]
        await watch.settle_helpers(third)
        assert not watch.may_be_left(third)


async def test_orphans_of_living_attempts_and_of_earlier_days_are_left_alone(
    band: Band, family: _Family
) -> None:
    other, attempt = _gone(band), _gone(band)
    family.tokens[40] = None  # a child of whoever became this host
    watch = family.strays()
    with watch.of(other), watch.of(attempt):
        family.tokens[51] = f"{other.token}/c1"
        await watch.settle(attempt, group_known=True)
    assert family.ended == []


async def test_the_first_process_of_a_container_ends_no_strangers(
    band: Band, family: _Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strays, "_FIRST_PID", os.getpid())
    watch, attempt = family.strays(), _gone(band)
    with watch.of(attempt):
        family.tokens[50] = None
        await watch.settle(attempt, group_known=True)
        assert family.ended == []
        family.tokens[51] = attempt.token
        await watch.settle(attempt, group_known=True)
    assert family.ended == [(attempt.token, [])]


def test_a_child_that_cleared_its_environment_is_ended_by_a_subreaper(tmp_path: Path) -> None:
    """With everything real, in a process of its own: a test's process is no sub-reaper."""
    host = textwrap.dedent(
        """
        import asyncio, os, sys
        from pathlib import Path
        from marianne_core.run.processes import become_subreaper
        from tests.conductor.house import is_alive
        from tests.run.band import Band, written

        async def main(folder):
            band = Band(folder, subreaper=True)
            daemon = "env -i setsid /bin/sh -c 'trap : TERM; echo $$ > pid; while :; do /bin/sleep 1; done'"
            wait = "until [ -s pid ]; do sleep 0.01; done"
            await band.musician.play(band.attempt(f"{daemon} > /dev/null 2>&1 & {wait}"))
            assert not is_alive(int(await written(band.workspace / "pid")))
            assert len(band.log.events("sheet.leftovers")) == 1
            await band.close()

        if not become_subreaper():
            sys.exit(77)
        asyncio.run(main(Path(sys.argv[1])))
        """
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)])}
    ran = subprocess.run(
        [sys.executable, "-c", host, str(tmp_path)],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ran.returncode == 77:
        pytest.skip("no sub-reapers here")
    assert ran.returncode == 0, ran.stderr
