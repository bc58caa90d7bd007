"""Processes that cannot be ended hold the slot of their sheet, and a person sees why."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from marianne_core.model.outcome import Ended
from marianne_core.run import ending, tree
from marianne_core.run.active import Playing
from marianne_core.run.processes import Proc, find_tokens, process_name, read_proc
from marianne_core.run.tree import Tree
from tests.run.band import Band, left, until, written

_FREEZER = Path("/sys/fs/cgroup/freezer")
_numbers = itertools.count(1)


@pytest.fixture
async def band(tmp_path: Path) -> AsyncIterator[Band]:
    band = Band(tmp_path)
    yield band
    await band.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; what is waited for is waited for by events all the same."""
    monkeypatch.setattr(ending, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(ending, "_LOOK_EVERY", 0.02)
    monkeypatch.setattr(ending, "_LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(ending, "DEFAULT_PATIENCE", 0.2)


class Freezer:
    """Processes that hang in the kernel (state D) and take no signal, until they are thawed."""

    def __init__(self, group: Path) -> None:
        self._group = group

    def freeze(self, pid: int) -> None:
        (self._group / "cgroup.procs").write_text(str(pid))
        (self._group / "freezer.state").write_text("FROZEN")
        while "FREEZING" in (self._group / "freezer.state").read_text():
            time.sleep(0.001)

    def thaw(self) -> None:
        (self._group / "freezer.state").write_text("THAWED")


@pytest.fixture
def freezer() -> Iterator[Freezer]:
    group = _FREEZER / f"mzt-test-{os.getpid()}-{next(_numbers)}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("needs a cgroup freezer that this user may use")
    freezer = Freezer(group)
    yield freezer
    freezer.thaw()
    deadline = time.monotonic() + 10
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            assert time.monotonic() < deadline, "the frozen processes do not leave"
            time.sleep(0.01)


class Wall:
    """Stands before chosen processes: a signal to them is refused, as to another user's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.protected: set[int] = set()
        real_send, real_killpg = tree.send_signal, os.killpg

        def send_signal(proc: Proc, number: signal.Signals) -> bool:
            if proc.pid in self.protected:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            return real_send(proc, number)

        def killpg(group: int, number: int) -> None:
            members = {pid for pid in self.protected if os.getpgid(pid) == group}
            if number and members:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            real_killpg(group, number)

        monkeypatch.setattr(tree, "send_signal", send_signal)
        monkeypatch.setattr(os, "killpg", killpg)

    def fall(self) -> None:
        self.protected.clear()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


async def _pid(band: Band, name: str = "pid") -> int:
    return int(await written(band.workspace / name))


def _shows(attempt: Playing, *words: str) -> Callable[[], bool]:
    return lambda: all(word in attempt.doing for word in words)


async def test_a_process_that_hangs_in_the_kernel_keeps_the_slot(
    band: Band, freezer: Freezer
) -> None:
    attempt = band.attempt("echo $$ > pid; exec sleep 97")
    playing = asyncio.create_task(band.musician.play(attempt))
    pid = await _pid(band)
    freezer.freeze(pid)
    over = asyncio.create_task(band.musician.end(attempt, Ended.CANCELLED, "by hand"))
    await until(_shows(attempt, "being ended: by hand"))
    await until(_shows(attempt, "could not be ended yet", f"pid {pid} (sleep) hangs in the kernel"))
    await asyncio.sleep(0.3)  # some more tries
    assert not playing.done()
    assert not over.done()
    told = band.log.events("sheet.survivors")
    assert [event["pids"] for event in told] == [[pid]]
    freezer.thaw()
    outcome = await playing
    assert (outcome.ended, outcome.reason) == (Ended.CANCELLED, "by hand")
    await over
    assert find_tokens([attempt.token]) == {}


async def test_the_shim_is_spared_for_as_long_as_its_child_hangs(
    band: Band, freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the lock: another conductor must not take the attempt for over."""
    monkeypatch.setattr(ending, "DEFAULT_PATIENCE", 1.2)  # over twenty rounds of KILL
    attempt = band.attempt("echo $$ > pid; exec sleep 97")
    playing = asyncio.create_task(band.musician.play(attempt))
    freezer.freeze(await _pid(band))
    over = asyncio.create_task(band.musician.end(attempt, Ended.TIMEOUT, "too long"))
    await until(_shows(attempt, "could not be ended yet"))
    assert attempt.pid is not None
    shim = read_proc(attempt.pid)
    assert shim is not None
    assert not shim.dead
    freezer.thaw()
    assert (await playing).ended is Ended.TIMEOUT
    await over
    assert attempt.waited in (128 + signal.SIGTERM, 128 + signal.SIGKILL)


async def test_leaving_does_not_wait_for_what_cannot_be_ended(band: Band, freezer: Freezer) -> None:
    attempt = band.attempt("echo $$ > pid; exec sleep 97")
    playing = asyncio.create_task(band.musician.play(attempt))
    freezer.freeze(await _pid(band))
    over = asyncio.create_task(band.musician.end(attempt, Ended.CANCELLED, "by hand"))
    await until(_shows(attempt, "could not be ended yet"))
    started = time.monotonic()
    await left(over)
    await left(playing)
    await band.musician.close()
    assert time.monotonic() - started < 1.0
    assert playing.cancelled()  # no outcome: it is in progress, and the next conductor's
    freezer.thaw()
    # The next one adopts it and goes on.
    again = Band(band.folder)
    attempt = Playing(attempt.run, 1, 1, attempt.mode, attempt.token)
    attempt.pid = int((again.run_dir / "1.1.st").read_text().split()[0])
    attempt.shim_alive = True
    await again.musician.end(attempt, Ended.CANCELLED, "again")
    assert (await again.musician.adopt(attempt)).ended is Ended.CANCELLED
    await again.close()


async def test_another_users_process_keeps_the_slot(band: Band, wall: Wall) -> None:
    attempt = band.attempt("sleep 98 & echo $! > pid; wait")
    playing = asyncio.create_task(band.musician.play(attempt))
    pid = await _pid(band)
    wall.protected.add(pid)
    over = asyncio.create_task(band.musician.end(attempt, Ended.TIMEOUT, "too long"))
    await until(_shows(attempt, f"pid {pid} (sleep) belongs to another user"))
    assert not playing.done()
    assert not over.done()
    wall.fall()
    assert (await playing).ended is Ended.TIMEOUT
    await over


async def test_what_a_sheet_leaves_behind_and_cannot_be_ended_keeps_its_slot(
    band: Band, wall: Wall
) -> None:
    attempt = band.attempt("sleep 98 & echo $! > pid; until [ -e go ]; do sleep 0.01; done")
    playing = asyncio.create_task(band.musician.play(attempt))
    pid = await _pid(band)
    wall.protected.add(pid)
    (band.workspace / "go").touch()
    await until(_shows(attempt, "could not be ended yet", f"pid {pid}"))
    assert not attempt.shim_alive
    assert not playing.done()
    # The instrument is done: a timeout spares it, leftovers or not.
    await band.musician.end(attempt, Ended.TIMEOUT, "too long")
    assert attempt.ended_as is None
    wall.fall()
    assert (await playing).ended is Ended.OK
    assert attempt.doing == ""
    assert len(band.log.events("sheet.leftovers")) == 1


async def test_an_event_tells_of_other_survivors(band: Band, wall: Wall) -> None:
    attempt = band.attempt(
        "sleep 98 & echo $! > pid; sleep 99 & echo $! > other; until [ -e go ]; do sleep 0.01; done"
    )
    playing = asyncio.create_task(band.musician.play(attempt))
    first, second = await _pid(band), await _pid(band, "other")
    wall.protected |= {first, second}
    (band.workspace / "go").touch()
    await until(lambda: len(band.log.events("sheet.survivors")) == 1)
    wall.protected.discard(first)
    await until(lambda: len(band.log.events("sheet.survivors")) == 2)
    await until(_shows(attempt, f"pid {second}"))
    assert f"pid {first}" not in attempt.doing
    wall.fall()
    await playing
    told = band.log.events("sheet.survivors")
    assert [sorted(event["pids"]) for event in told] == [sorted([first, second]), [second]]


async def test_a_failed_attempt_is_not_over_before_its_processes_are(
    band: Band, wall: Wall
) -> None:
    """What the engine calls when a part raised."""
    attempt = band.attempt("sleep 98 & echo $! > pid; wait")
    playing = asyncio.create_task(band.musician.play(attempt))
    wall.protected.add(await _pid(band))
    await left(playing)
    sure = asyncio.create_task(band.musician.make_sure_it_is_over(attempt))
    await until(_shows(attempt, "belongs to another user"))
    assert not sure.done()
    wall.fall()
    await sure
    assert find_tokens([attempt.token]) == {}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
        OSError(errno.EIO, "Input/output error"),
    ],
)
async def test_a_system_that_refuses_to_look_is_asked_again(
    band: Band, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    attempt = band.attempt("echo $$ > pid; exec sleep 97")
    playing = asyncio.create_task(band.musician.play(attempt))
    await _pid(band)
    with monkeypatch.context() as patch:

        async def refused(self: Tree) -> list[Proc]:
            raise error

        patch.setattr(Tree, "probe", refused)
        over = asyncio.create_task(band.musician.end(attempt, Ended.CANCELLED, "by hand"))
        await until(_shows(attempt, "could not be ended yet"))
        await asyncio.sleep(0.1)
        assert not playing.done()
        assert len(band.log.events("sheet.warning")) == 1
    await over
    assert (await playing).ended is Ended.CANCELLED


async def test_one_ending_at_a_time(band: Band, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shim ends while its tree is being ended: what it left is not told a second time."""
    attempt = band.attempt(
        """
        (trap 'echo term >> told; sleep 0.3; exit' TERM; echo $BASHPID > pid; while :; do sleep 0.01; done) &
        exec sleep 97
        """
    )
    playing = asyncio.create_task(band.musician.play(attempt))
    await _pid(band)
    band.musician._endings.grace = 5.0  # long: KILL must not be what ends it
    await band.musician.end(attempt, Ended.CANCELLED, "by hand")
    await playing
    assert (band.workspace / "told").read_text() == "term\n"


async def test_the_journal_knows_of_the_order_before_any_signal(band: Band) -> None:
    attempt = band.attempt("trap 'echo term > told; exit' TERM; echo $$ > pid; sleep 97 & wait")
    playing = asyncio.create_task(band.musician.play(attempt))
    await _pid(band)
    told: list[bool] = []

    async def ending(attempt: Playing) -> None:
        await asyncio.sleep(0.1)
        told.append((band.workspace / "told").exists())

    band.log.ending = ending  # type: ignore[method-assign]
    await band.musician.end(attempt, Ended.CANCELLED, "by hand")
    await playing
    assert told == [False]


async def test_a_tree_of_other_users_alone_is_given_up_at_once(
    band: Band, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once KILL was refused by all, more scans of the whole machine would be waste."""
    attempt = band.attempt("echo $$ > pid; exec sleep 97")
    playing = asyncio.create_task(band.musician.play(attempt))
    pid = await _pid(band)
    wall.protected.add(pid)
    started = time.monotonic()
    end = await Tree(attempt.token, attempt.pid, status=attempt.files.name("st")).end(
        0.05, patience=30.0
    )
    assert time.monotonic() - started < 5.0
    assert [proc.pid for proc in end.refused] == [pid]
    assert pid in {proc.pid for proc in end.survivors}
    assert pid not in {proc.pid for proc in end.signalled}
    wall.fall()
    await band.musician.end(attempt, Ended.CANCELLED, "over")
    await playing


def test_a_name_cannot_write_escape_sequences() -> None:
    with contextlib.suppress(FileNotFoundError):
        before = Path("/proc/self/comm").read_text()
        try:
            Path("/proc/self/comm").write_text("\x1b[31mred\x07")
            assert process_name(os.getpid()) == "?[31mred?"
        finally:
            Path("/proc/self/comm").write_text(before)
    assert process_name(2**22 + 1) == ""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, where set-user-id programs work."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to make a process of another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.statvfs(folder).f_flag & os.ST_NOSUID:
            pytest.skip("set-user-id programs do not work in the temporary folder")
        folder.chmod(0o777)
        yield folder


def test_a_process_that_really_is_another_users(open_folder: Path) -> None:
    """Found by its descent (its environment cannot be read), refused, and reported."""
    setpriv = open_folder / "setpriv"
    shutil.copy(shutil.which("setpriv") or "", setpriv)
    setpriv.chmod(0o4755)
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": str(here.parent.parent / "core")}
    done = subprocess.run(
        [sys.executable, str(here / "other_user.py"), str(open_folder), str(setpriv)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    os.kill(told["pid"], signal.SIGKILL)
    assert told["uid"] == 0
    assert told["survivors"] == told["refused"] == [told["pid"]]
    assert told["pid"] not in told["signalled"]
    assert told["seconds"] < 10
