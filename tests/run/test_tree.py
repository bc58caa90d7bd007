"""Listing and ending an attempt's processes, whatever they do to get away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from marianne_core.run import processes, tree
from marianne_core.run.attempt_files import AttemptFiles, new_token, read_status
from marianne_core.run.launcher import Launcher, LaunchSpec, Shim
from marianne_core.run.processes import (
    Proc,
    Scan,
    find_tokens,
    group_has_members,
    process_start_time,
    read_proc,
    send_signal,
    still_there,
)
from marianne_core.run.tree import SharedScans, Tree, TreeEnd
from marianne_core.run.waiter import Waiter

GRACE = 10.0
"""Long: what needs no KILL must not come near it."""


class Stage:
    """Launches attempts of `sh` scripts in one folder and kills what they leave."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.waiter = Waiter()
        self.launcher = Launcher()
        self.tokens: list[str] = []
        self.count = 0

    def launch(self, script: str) -> Shim:
        self.count += 1
        self.tokens.append(new_token())
        spec = LaunchSpec(
            self.tokens[-1],
            ["/bin/sh", "-c", script],
            self.run_dir,
            dict(os.environ),
            None,
            AttemptFiles(self.run_dir, self.count, 1),
        )
        return self.launcher.launch(spec)

    async def ready(self, script: str, words: int = 1) -> Shim:
        """Launch, and wait until the script has printed that many lines."""
        shim = self.launch(script)
        await until(lambda: shim.files.stdout.read_bytes().count(b"\n") >= words)
        return shim

    async def end(self, shim: Shim, grace: float, status: bool = True) -> TreeEnd:
        end = await Tree(shim.token, shim.pid, status=shim.files.status if status else None).end(
            grace
        )
        assert end.survivors == ()
        assert shim.token not in find_tokens([shim.token])
        return end

    async def exit_status(self, shim: Shim) -> int | None:
        await asyncio.wait_for(self.waiter.exited(shim.pid, shim.files.status), 20)
        return read_status(shim.files.status).exit_status

    def close(self) -> None:
        for procs in find_tokens(self.tokens).values():
            for proc in procs:
                send_signal(proc, signal.SIGKILL)
        self.waiter.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 -- what is waited for happens in other processes
            await asyncio.sleep(0.002)


@pytest.fixture(
    params=[{}, {"MARIANNE_NO_PIDFD": "1"}, {"MARIANNE_NO_PROC": "1", "MARIANNE_NO_PIDFD": "1"}],
    ids=["linux", "no-pidfd", "no-proc"],
)
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    stage = Stage(tmp_path)
    yield stage
    stage.close()


async def test_term_is_enough_for_a_plain_program(stage: Stage) -> None:
    shim = await stage.ready("echo 1; exec sleep 60")
    end = await stage.end(shim, GRACE)
    assert await stage.exit_status(shim) == 143
    assert not end.killed
    assert end.seconds < GRACE
    assert shim.pid in {proc.pid for proc in end.signalled}


async def test_a_program_is_told_once(stage: Stage) -> None:
    shim = await stage.ready("trap 'echo term; n=1' TERM; echo 1; until [ $n ]; do sleep .2; done")
    await stage.end(shim, GRACE)
    assert shim.files.stdout.read_text() == "1\nterm\n"


async def test_kill_follows_and_the_shim_still_writes_the_exit_line(stage: Stage) -> None:
    shim = await stage.ready("trap '' TERM; echo 1; while :; do sleep 60; done")
    end = await stage.end(shim, 0.05)
    assert end.killed
    assert await stage.exit_status(shim) == 137


async def test_an_orderly_end_is_given_its_time(stage: Stage) -> None:
    # What the program starts for its orderly end is not told to end itself.
    script = "trap 'sleep 0.3 && echo saved; exit 7' TERM; echo 1; sleep 60 & wait"
    shim = await stage.ready(script)
    end = await stage.end(shim, GRACE)
    assert await stage.exit_status(shim) == 7
    assert not end.killed
    assert "saved" in shim.files.stdout.read_text()


async def test_a_daemon_is_found_by_its_token(stage: Stage) -> None:
    daemon = "(setsid sh -c \"trap '' TERM; echo daemon; sleep 60\" &)"
    shim = await stage.ready(f"{daemon}; exit 0")
    assert await stage.exit_status(shim) == 0
    assert not group_has_members(shim.pid)  # the cheap look does not see it
    end = await stage.end(shim, 0.05)
    assert end.killed


async def test_children_left_in_the_group_are_seen_by_one_call(stage: Stage) -> None:
    shim = await stage.ready("sleep 60 & echo 1")
    assert await stage.exit_status(shim) == 0
    assert group_has_members(shim.pid)
    end = await stage.end(shim, GRACE)
    assert not end.killed
    # Whoever adopted the dead child may reap it late, or never (pid 1 of some containers).
    assert all(not still_there(proc) for proc in end.signalled)


async def test_a_session_without_environment_is_found_by_its_descent(stage: Stage) -> None:
    shim = await stage.ready("env -i setsid /bin/sh -c 'echo $$; sleep 60' & wait")
    hidden = int(shim.files.stdout.read_text())
    found = {proc.pid for proc in Tree(shim.token, shim.pid).processes()}
    assert {shim.pid, hidden} <= found
    await stage.end(shim, GRACE)
    assert read_gone(hidden)


async def test_what_was_seen_once_is_known_again(stage: Stage) -> None:
    """Session left, environment cleared, parent gone: only the record knows."""
    script = "env -i setsid /bin/sh -c 'echo $$; sleep 60' & read x < fifo"
    os.mkfifo(stage.run_dir / "fifo")
    shim = await stage.ready(script)
    hidden = int(shim.files.stdout.read_text())
    tree = Tree(shim.token, shim.pid, status=shim.files.status)
    await until(lambda: len(tree.processes()) == 4)  # shim, script, hidden shell, sleep
    (stage.run_dir / "fifo").write_text("\n")
    assert await stage.exit_status(shim) == 0
    assert hidden not in {proc.pid for proc in Tree(shim.token, shim.pid).processes()}
    assert [proc.pid for proc in tree.processes() if proc.session == hidden]
    assert (await tree.end(GRACE)).survivors == ()
    assert read_gone(hidden)


async def test_a_stopped_tree_ends(stage: Stage) -> None:
    shim = await stage.ready("echo 1; exec sleep 60")
    os.killpg(shim.pid, signal.SIGSTOP)
    end = await stage.end(shim, GRACE)
    assert not end.killed
    assert await stage.exit_status(shim) == 143


async def test_a_killed_shim_leaves_a_tree_that_can_be_ended(stage: Stage) -> None:
    shim = await stage.ready("trap '' TERM; echo 1; while :; do sleep 60; done")
    os.kill(shim.pid, signal.SIGKILL)
    assert await stage.exit_status(shim) is None
    end = await stage.end(shim, 0.05)
    assert end.killed


async def test_processes_that_start_others_when_told_to_end(stage: Stage) -> None:
    chain = "n=0; trap 'setsid sh again $1 & exit' TERM; echo $1; while :; do sleep .05; done"
    (stage.run_dir / "again").write_text(chain)
    shim = await stage.ready("sh again a & sh again b & wait", words=2)
    await stage.end(shim, 0.3)


async def test_a_signal_in_the_first_millisecond_leaves_an_exit_line(stage: Stage) -> None:
    shims = [stage.launch("exec sleep 60") for _ in range(8)]
    scans = SharedScans()
    trees = [Tree(s.token, s.pid, status=s.files.status, scans=scans) for s in shims]
    ends = await asyncio.gather(*(tree.end(GRACE) for tree in trees))
    assert not any(end.killed for end in ends)
    assert [await stage.exit_status(shim) for shim in shims] == [143] * 8


async def test_many_trees_share_their_scans(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    class Counted(Scan):
        def __init__(self) -> None:
            nonlocal made
            made += 1
            super().__init__()

    monkeypatch.setattr(tree, "Scan", Counted)
    shims = [await stage.ready("echo 1; exec sleep 60") for _ in range(12)]
    scans = SharedScans()
    trees = [Tree(s.token, s.pid, status=s.files.status, scans=scans) for s in shims]
    ends = await asyncio.gather(*(tree.end(GRACE) for tree in trees))
    assert all(end.survivors == () for end in ends)
    assert made < 3 * len(shims)


async def test_a_derived_token_belongs_to_its_attempt_alone(stage: Stage) -> None:
    shim = await stage.ready("echo 1; sleep 60")
    script = "MARIANNE_ATTEMPT=$MARIANNE_ATTEMPT/c1 setsid sleep 60 & echo $!; wait"
    other = await stage.ready(script)
    asked = [other.token, f"{other.token}/c1", f"{shim.token}/c1", shim.token]
    await until(lambda: len(find_tokens(asked)) == 3)  # the last of them executes setsid first
    found = find_tokens(asked)
    assert set(found) == {other.token, f"{other.token}/c1", shim.token}
    helper = found[f"{other.token}/c1"]
    assert len(helper) == 1
    assert helper[0] in found[other.token]
    await Tree(f"{other.token}/c1", None).end(GRACE)
    assert find_tokens([other.token, shim.token]).keys() >= {shim.token}
    await stage.end(shim, GRACE)
    await stage.end(other, GRACE)


# --- strangers ------------------------------------------------------------------------------------


@contextlib.contextmanager
def stranger() -> Any:
    """A session leader without any token, as a program that got an old shim's pid would be."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        yield process
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


async def test_a_stranger_that_got_the_pid_is_not_touched(stage: Stage) -> None:
    with stranger() as process:
        old = Tree("gone", process.pid, status=stage.run_dir / "none")
        assert old.processes() == []
        end = await old.end(0.0)
        assert end.signalled == ()
        assert end.survivors == ()


async def test_a_start_time_proves_or_refutes(stage: Stage) -> None:
    with stranger() as process:
        start = process_start_time(process.pid)
        assert start is not None
        assert Tree("t", process.pid, start_time=start - 1).processes() == []
        found = Tree("t", process.pid, start_time=start).processes()
        assert [proc.pid for proc in found] == [process.pid]


async def test_no_signal_reaches_a_later_process_of_the_same_pid(stage: Stage) -> None:
    with stranger() as process:
        proc = read_proc(process.pid)
        assert proc is not None
        before = Proc(proc.pid, proc.ppid, proc.group, proc.session, "S", proc.start_time - 1)
        assert not still_there(before)
        assert not send_signal(before, signal.SIGKILL)
        assert send_signal(proc, signal.SIGCONT)


async def test_the_conductor_itself_is_never_a_member(stage: Stage) -> None:
    """Even when it was started inside the attempt and carries its token."""
    host = textwrap.dedent(
        """
        import asyncio, os, sys
        from marianne_core.run.tree import Tree
        end = asyncio.run(Tree(os.environ["MARIANNE_ATTEMPT"], os.getsid(0)).end(0.0))
        print("alive", len(end.signalled), flush=True)
        """
    )
    (stage.run_dir / "host.py").write_text(host)
    paths = os.pathsep.join(path for path in sys.path if path)
    shim = stage.launch(f"PYTHONPATH='{paths}' exec '{sys.executable}' host.py")
    assert await stage.exit_status(shim) is None  # its own shim was a member
    await until(lambda: b"\n" in shim.files.stdout.read_bytes())
    assert shim.files.stdout.read_text() == "alive 1\n"


# --- looking --------------------------------------------------------------------------------------


def test_what_is_read_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        direct = read_proc(odd.pid)
        monkeypatch.setenv("MARIANNE_NO_PROC", "1")
        asked = read_proc(odd.pid)
        assert direct is not None
        assert asked is not None
        for proc in (direct, asked):
            assert (proc.pid, proc.ppid, proc.session, proc.group) == (
                odd.pid,
                os.getpid(),
                odd.pid,
                odd.pid,
            )
            assert not proc.dead
    finally:
        odd.kill()
        odd.wait()
    assert read_proc(odd.pid) is None
    assert process_start_time(odd.pid) is None


def test_a_zombie_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    for no_proc in ("", "1"):
        monkeypatch.setenv("MARIANNE_NO_PROC", no_proc)
        proc = read_proc(pid)
        assert proc is not None
        assert proc.dead
        assert not still_there(proc)
    os.waitpid(pid, 0)


def test_an_odd_program_name_does_not_confuse(tmp_path: Path) -> None:
    if not processes.has_proc():
        pytest.skip("no /proc here")
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "60"])
    try:
        proc = read_proc(process.pid)
        assert proc is not None
        assert proc.ppid == os.getpid()
        assert not proc.dead
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("no_proc", ["", "1"])
def test_tokens_are_read_from_large_environments(
    monkeypatch: pytest.MonkeyPatch, no_proc: str
) -> None:
    monkeypatch.setenv("MARIANNE_NO_PROC", no_proc)
    env = {f"V{n}": "x" * 1000 for n in range(200)}
    env |= {"XMARIANNE_ATTEMPT": "wrong", "MARIANNE_ATTEMPT": "right", "Z": "MARIANNE_ATTEMPT=no"}
    process = subprocess.Popen(["/bin/sleep", "60"], env=env)
    try:
        # While a program is being executed its environment is empty for a moment.
        while not (token := processes.environ_token(process.pid)):
            assert process.poll() is None
        assert token == "right"
    finally:
        process.kill()
        process.wait()
    assert processes.environ_token(process.pid) is None


@pytest.mark.parametrize("without", ["", "MARIANNE_NO_PROC"])
def test_the_age_of_a_process(monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    if without:
        monkeypatch.setenv(without, "1")
    before = time.monotonic()
    process = subprocess.Popen(["sleep", "60"])
    time.sleep(0.2)
    age = processes.process_age(process.pid)
    assert age is not None
    # Both clocks of the system may be cut to hundredths, psutil's boot time even to seconds.
    slack = 1.1 if without else 0.02
    assert 0.2 - slack <= age <= time.monotonic() - before + slack
    process.kill()
    process.wait()
    assert processes.process_age(process.pid) is None


def test_the_boot_id_stays() -> None:
    assert processes.boot_id() == processes.boot_id() != ""


def test_a_subreaper_gets_the_orphans_and_reaps_them() -> None:
    host = textwrap.dedent(
        """
        import os, subprocess, sys, time
        from marianne_core.run.processes import *
        from marianne_core.run.processes import adopted_children, become_subreaper, reap
        if not become_subreaper():
            sys.exit(77)
        own = subprocess.Popen(["sleep", "60"], start_new_session=True)
        helper = subprocess.Popen(["sleep", "60"])
        subprocess.run(["sh", "-c", "setsid sleep 60 & echo"], stdin=None)
        deadline = time.monotonic() + 20
        while not (adopted := adopted_children({own.pid})) and time.monotonic() < deadline:
            time.sleep(0.002)
        assert len(adopted) == 1, adopted
        os.kill(adopted[0], 9)
        while not (dead := reap(adopted)) and time.monotonic() < deadline:
            time.sleep(0.002)
        assert dead == adopted and adopted_children({own.pid}) == [] == reap(adopted)
        own.kill(); own.wait(); helper.kill(); helper.wait()
        """
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": paths}
    result = subprocess.run(
        [sys.executable, "-c", host], env=env, stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    if result.returncode == 77:
        pytest.skip("no sub-reapers here")
    assert result.returncode == 0


def read_gone(pid: int) -> bool:
    proc = read_proc(pid)
    return proc is None or proc.dead


def test_waiting_is_bounded() -> None:
    """The constants that bound an ending are what the documentation of `Tree.end` rests on."""
    started = time.monotonic()
    end = asyncio.run(Tree("nobody-has-this-token", None).end(GRACE))
    assert end == TreeEnd((), (), False, end.seconds)
    assert time.monotonic() - started < GRACE
