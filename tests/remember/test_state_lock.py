"""One conductor per state directory, and who it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import marianne_core
from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.model.errors import StateError
from marianne_core.remember.home import Home
from marianne_core.remember.lock import LockHolder, StateLock

CORE = str(Path(marianne_core.__file__).parents[1])
SOCKET = Path("/s/run/mzt.sock")

HOLD = """
import sys
sys.path.insert(0, {core!r})
from pathlib import Path
from marianne_core.remember.lock import StateLock
lock = StateLock(Path({path!r}))
print(lock.try_acquire(version="1.2", socket=Path("/there/mzt.sock")), flush=True)
sys.stdin.read()
"""


def test_lock_holds_and_tells_who(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "lock")
    assert lock.holder() is None
    assert lock.try_acquire(version="1.0", socket=SOCKET)
    assert lock.held
    assert lock.try_acquire(version="1.0", socket=SOCKET)
    other = StateLock(tmp_path / "lock")
    assert other.holder() == LockHolder(os.getpid(), "1.0", str(SOCKET))
    assert not other.try_acquire(version="2.0", socket=SOCKET)
    with pytest.raises(StateError, match=rf"pid {os.getpid()}, version 1\.0") as caught:
        other.acquire(version="2.0", socket=SOCKET)
    assert "MARIANNE_HOME" in caught.value.hint
    lock.release()
    lock.release()
    assert not lock.held
    assert other.holder() is None
    other.acquire(version="2.0", socket=SOCKET)
    assert json.loads((tmp_path / "lock").read_text())["version"] == "2.0"
    other.release()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = HOLD.format(core=CORE, path=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        mine = StateLock(path)
        assert mine.holder() == LockHolder(other.pid, "1.2", "/there/mzt.sock")
        assert not mine.try_acquire(version="2", socket=SOCKET)
        other.kill()
        other.wait()
        assert mine.holder() is None
        assert mine.try_acquire(version="2", socket=SOCKET)
        mine.release()


def test_lock_is_not_inherited(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "lock")
    lock.acquire(version="1", socket=SOCKET)
    with subprocess.Popen(
        ["/bin/sh", "-c", "echo up; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        lock.release()
        assert StateLock(lock.path).holder() is None
        assert child.poll() is None
        child.communicate(b"\n")


def copy_of(lock: StateLock) -> int:
    """The descriptor that holds the lock, to be handed to a child that has a copy of it."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == str(lock.path):
                return int(name)
    raise AssertionError("nobody holds it")


def a_dead_pid() -> int:
    with subprocess.Popen(["/bin/true"]) as dead:
        return dead.pid


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are found in /proc")
def test_released_though_a_program_that_starts_has_a_copy(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "lock")
    lock.acquire(version="1", socket=SOCKET)
    copy = copy_of(lock)
    with subprocess.Popen(["/bin/sleep", "60"], pass_fds=[copy]) as child:
        lock.release()
        assert StateLock(lock.path).try_acquire(version="2", socket=SOCKET)
        child.kill()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are found in /proc")
async def test_a_conductor_waits_for_the_copies_of_a_dead_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "state")
    home.prepare()
    lock = StateLock(home.lock)
    lock.acquire(version="1", socket=SOCKET)
    text = json.dumps({"pid": a_dead_pid(), "version": "1", "socket": "/s"})
    os.ftruncate(copy_of(lock), 0)
    os.pwrite(copy_of(lock), text.encode(), 0)
    assert lock.is_a_dead_ones()
    asyncio.get_running_loop().call_later(0.05, lock.release)
    async with Conductor(DaemonConfig(), home):
        assert not lock.is_a_dead_ones()


def test_those_who_ask_do_not_disturb_who_takes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            StateLock(path).holder()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            lock = StateLock(path)
            assert lock.try_acquire(version="1", socket=SOCKET)
            lock.release()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_unreadable_content_still_means_held(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "lock")
    lock.acquire(version="1", socket=SOCKET)
    lock.path.write_text("")
    other = StateLock(lock.path)
    assert other.holder() == LockHolder(0, "", "")
    with pytest.raises(StateError, match="starting"):
        other.acquire(version="2", socket=SOCKET)
    lock.release()


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "else")
    for path in (tmp_path, tmp_path / "link", tmp_path / "no" / "lock"):
        with pytest.raises(StateError, match="cannot be used"):
            StateLock(path).try_acquire(version="1", socket=SOCKET)
