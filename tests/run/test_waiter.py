"""Waiting for shims and helpers: by pidfd and by lock, our children and adopted ones."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.run.attempt_files import AttemptFiles, look_at_status, read_status
from marianne_core.run.launcher import Launcher, LaunchSpec, Shim
from marianne_core.run.processes import process_start_time, reap
from marianne_core.run.spawn import spawn
from marianne_core.run.waiter import Waiter


def launch(run_dir: Path, *argv: str, sheet: int = 1) -> Shim:
    spec = LaunchSpec(
        f"t{sheet}", argv, run_dir, dict(os.environ), None, AttemptFiles(run_dir, sheet, 1)
    )
    return Launcher().launch(spec)


@pytest.fixture(params=["", "1"], ids=["pidfd", "lock"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MARIANNE_NO_PIDFD", request.param)
    return str(request.param)


async def test_children_and_their_ends(tmp_path: Path, mode: str) -> None:
    waiter = Waiter()
    threads = threading.active_count()
    shims = [launch(tmp_path, "/bin/sh", "-c", f"exit {n}", sheet=n) for n in range(1, 9)]
    waits = [waiter.exited(shim.pid, shim.files.status) for shim in shims]
    assert (threading.active_count() > threads) <= bool(mode)
    assert await asyncio.wait_for(asyncio.gather(*waits), 20) == list(range(1, 9))
    assert all(is_reaped(shim.pid) for shim in shims)
    waiter.close()


async def test_a_killed_shim(tmp_path: Path, mode: str) -> None:
    waiter = Waiter()
    shim = launch(tmp_path, "/bin/sleep", "60")
    wait = waiter.exited(shim.pid, shim.files.status)
    await asyncio.sleep(0.01)
    assert not wait.done()
    os.killpg(shim.pid, signal.SIGKILL)
    assert await asyncio.wait_for(wait, 20) == -signal.SIGKILL
    waiter.close()


async def test_a_shim_that_is_gone_already(tmp_path: Path, mode: str) -> None:
    waiter = Waiter()
    shim = launch(tmp_path, "/bin/sh", "-c", "exit 3")
    until(lambda: read_status(shim.files.status).exit_status is not None)
    assert await asyncio.wait_for(waiter.exited(shim.pid, shim.files.status), 20) == 3
    # And once more, now that it is reaped: somebody else took the status.
    assert await asyncio.wait_for(waiter.exited(shim.pid, shim.files.status), 20) is None
    waiter.close()


async def test_an_adopted_shim(tmp_path: Path, mode: str) -> None:
    """Started by a host that was killed: not our child, its end shows all the same."""
    pid = orphan_shim(tmp_path, "read x < fifo; exit 9")
    status = AttemptFiles(tmp_path, 1, 1).status
    waiter = Waiter()
    wait = waiter.exited(pid, status, child=False)
    by_lock = waiter.exited(None, status)
    await asyncio.sleep(0.01)
    assert not wait.done()
    assert not by_lock.done()
    (tmp_path / "fifo").write_text("go\n")
    assert await asyncio.wait_for(asyncio.gather(wait, by_lock), 20) == [None, None]
    assert read_status(status).exit_status == 9
    assert not look_at_status(status).held
    waiter.close()


async def test_the_pid_of_an_adopted_shim_was_given_to_another(tmp_path: Path, mode: str) -> None:
    """The lock is free, so whoever has the pid now is not waited for."""
    stranger = start_stranger()
    status = tmp_path / "1.1.st"
    status.write_text(f"{stranger.pid}\n")
    waiter = Waiter()
    try:
        wait = waiter.exited(stranger.pid, status, child=False)
        assert await asyncio.wait_for(wait, 20) is None
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    waiter.close()


async def test_an_adopted_shim_when_no_file_can_be_opened(tmp_path: Path, mode: str) -> None:
    """A shortage of descriptors must not be taken for the end of an attempt."""
    pid = orphan_shim(tmp_path, "read x < fifo; exit 9")
    status = AttemptFiles(tmp_path, 1, 1).status
    waiter = Waiter()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        wait = waiter.exited(pid, status, child=False)
        await asyncio.sleep(0.05)
        assert not wait.done()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await asyncio.sleep(0.05)
    assert not wait.done()
    (tmp_path / "fifo").write_text("go\n")
    assert await asyncio.wait_for(wait, 20) is None
    assert read_status(status).exit_status == 9
    waiter.close()


async def test_a_child_when_no_file_can_be_opened(tmp_path: Path, mode: str) -> None:
    waiter = Waiter()
    shim = launch(tmp_path, "/bin/sh", "-c", "exit 7")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        wait = waiter.exited(shim.pid, shim.files.status)
        assert await asyncio.wait_for(wait, 20) == 7
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    waiter.close()


async def test_an_adopted_shim_without_its_status_file(tmp_path: Path, mode: str) -> None:
    waiter = Waiter()
    wait = waiter.exited(os.getppid(), tmp_path / "gone", child=False)
    assert await asyncio.wait_for(wait, 20) is None
    waiter.close()


async def test_a_cancelled_wait_still_reaps(tmp_path: Path, mode: str) -> None:
    waiter = Waiter()
    shim = launch(tmp_path, "/bin/sleep", "60")
    waiter.exited(shim.pid, shim.files.status).cancel()
    await asyncio.sleep(0)
    assert shim.pid in waiter.awaited()
    os.killpg(shim.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while process_start_time(shim.pid) is not None:  # noqa: ASYNC110 -- a zombie has one, too
            await asyncio.sleep(0.005)
    assert is_reaped(shim.pid)
    assert shim.pid not in waiter.awaited()
    waiter.close()


async def test_helpers_without_a_status_file(mode: str) -> None:
    waiter = Waiter()
    pids = [
        spawn("/bin/sh", ["sh", "-c", text], {}, []) for text in ("exit 5", "kill -9 $$", "exit 0")
    ]
    ends = await asyncio.wait_for(asyncio.gather(*map(waiter.child_exited, pids)), 20)
    assert ends == [5, -9, 0]
    waiter.close()


async def test_no_descriptor_is_left(tmp_path: Path, mode: str) -> None:
    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    waiter = Waiter()
    before, while_waiting = descriptors(), set()
    for sheet in range(1, 6):
        shim = launch(tmp_path, "/bin/true", sheet=sheet)
        await asyncio.wait_for(waiter.exited(shim.pid, shim.files.status), 20)
        while_waiting.add(descriptors())
    assert len(while_waiting) == 1
    shim = launch(tmp_path, "/bin/sleep", "60", sheet=9)
    wait = waiter.exited(shim.pid, shim.files.status)
    waiter.close()
    os.killpg(shim.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while descriptors() > before:  # noqa: ASYNC110 -- a waiting thread ends with the lock
            await asyncio.sleep(0.005)
        while not mode and not reap([shim.pid]):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.005)
    assert not wait.done()


def test_waiting_threads_do_not_keep_a_program_from_ending(tmp_path: Path) -> None:
    host = textwrap.dedent(
        f"""
        import asyncio, os
        from pathlib import Path
        from marianne_core.run.launcher import *
        from marianne_core.run.attempt_files import AttemptFiles
        from marianne_core.run.waiter import Waiter
        files = AttemptFiles(Path({str(tmp_path)!r}), 1, 1)
        async def main():
            spec = LaunchSpec("t", ["/bin/sleep", "60"], files.run_dir, {{}}, None, files)
            shim = Launcher().launch(spec)
            waiter = Waiter()
            wait = waiter.exited(shim.pid, files.status)
            await asyncio.sleep(0.05)
            waiter.close()
            print(shim.pid)
        asyncio.run(main())
        """
    )
    result = run_host(host, MARIANNE_NO_PIDFD="1")
    os.killpg(int(result), signal.SIGKILL)


def start_stranger() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


def is_reaped(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def orphan_shim(run_dir: Path, script: str) -> int:
    """A shim whose host killed itself with SIGKILL right after the launch; returns its pid."""
    os.mkfifo(run_dir / "fifo")
    host = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from marianne_core.run.launcher import *
        from marianne_core.run.attempt_files import AttemptFiles
        files = AttemptFiles(Path({str(run_dir)!r}), 1, 1)
        argv = ["/bin/sh", "-c", {script!r}]
        spec = LaunchSpec("t1", argv, files.run_dir, dict(os.environ), None, files)
        print(Launcher().launch(spec).pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    pid = int(run_host(host, expect=-signal.SIGKILL))
    until(lambda: read_status(run_dir / "1.1.st").pid is not None)
    return pid


def run_host(code: str, expect: int = 0, **env: str) -> str:
    paths = os.pathsep.join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **env},
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == expect
    return result.stdout
