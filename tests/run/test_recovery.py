"""What a starting conductor finds: every row of the recovery table, with real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marianne_core.run import recovery
from marianne_core.run.attempt_files import (
    AttemptFiles,
    look_at_status,
    open_status_locked,
    read_status,
)
from marianne_core.run.launcher import Launcher, LaunchSpec
from marianne_core.run.processes import (
    boot_id,
    find_tokens,
    process_start_time,
    read_proc,
    reap,
    send_signal,
)
from marianne_core.run.recovery import (
    Adopt,
    AttemptRecord,
    Exited,
    HeldByStranger,
    Lost,
    MustEnd,
    NeverRan,
    OtherBoot,
    examine,
    examine_all,
)
from marianne_core.run.tree import Tree


@pytest.fixture(
    params=[{}, {"MARIANNE_NO_PIDFD": "1"}, {"MARIANNE_NO_PROC": "1", "MARIANNE_NO_PIDFD": "1"}],
    ids=["linux", "no-pidfd", "no-proc"],
)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[AttemptRecord]:
    """An attempt of its own for each test; its processes are killed afterwards."""
    token = f"t{os.getpid()}-{time.monotonic_ns()}"
    yield AttemptRecord(token, AttemptFiles(tmp_path, 1, 1), boot_id())
    for proc in find_tokens([token]).get(token, []):
        send_signal(proc, signal.SIGKILL)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def killed_host(record: AttemptRecord, script: str) -> int:
    """Launch an attempt from a host that is then killed with SIGKILL; returns the shim's pid."""
    host = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from marianne_core.run.launcher import *
        from marianne_core.run.attempt_files import AttemptFiles
        files = AttemptFiles(Path({str(record.files.run_dir)!r}), 1, 1)
        argv = ["/bin/sh", "-c", {script!r}]
        spec = LaunchSpec({record.token!r}, argv, files.run_dir, dict(os.environ), None, files)
        print(Launcher().launch(spec).pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-c", host],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    return int(result.stdout)


def in_hand(record: AttemptRecord, script: str) -> int:
    """The same, launched from this process."""
    files = record.files
    argv = ["/bin/sh", "-c", script]
    spec = LaunchSpec(record.token, argv, files.run_dir, dict(os.environ), None, files)
    return Launcher().launch(spec).pid


def kill_shim(pid: int) -> None:
    """The shim alone, not its instrument."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def other_boot(record: AttemptRecord) -> AttemptRecord:
    return AttemptRecord(record.token, record.files, "another-boot")


# --- the table, row by row ------------------------------------------------------------------------


@pytest.mark.usefixtures("mode")
def test_an_exit_line_is_the_result(record: AttemptRecord) -> None:
    pid = in_hand(record, "exit 6")
    os.waitpid(pid, 0)
    assert examine(record) == Exited(6)


@pytest.mark.usefixtures("mode")
def test_a_living_attempt_of_a_killed_host_is_adopted(record: AttemptRecord) -> None:
    pid = killed_host(record, "echo 1; exec sleep 60")
    # At once: its pid line may not be there yet.
    assert examine(record) == Adopt(pid)
    until(lambda: record.files.stdout.read_bytes())
    assert examine(record) == Adopt(pid)


@pytest.mark.usefixtures("mode")
def test_an_attempt_that_ended_while_nobody_looked(record: AttemptRecord) -> None:
    killed_host(record, "exit 5")
    until(lambda: not look_at_status(record.files.status).held)
    assert examine(record) == Exited(5)


@pytest.mark.usefixtures("mode")
def test_a_lock_held_by_something_else_is_waited_for(record: AttemptRecord) -> None:
    """Another pid namespace: the pid in the file is a stranger's here, or nobody's."""
    for pid in (os.getpid(), 4_000_000):
        record.files.status.write_text(f"{pid}\n")
        with open(record.files.status) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert examine(record) == HeldByStranger(pid)
            assert examine(other_boot(record)) == HeldByStranger(pid)


def test_a_session_leader_without_the_token_is_a_stranger(record: AttemptRecord) -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        record.files.status.write_text(f"{stranger.pid}\n")
        with open(record.files.status) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert examine(record) == HeldByStranger(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_where_environments_cannot_be_read_the_start_time_decides(
    record: AttemptRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = in_hand(record, "exec sleep 60")
    until(lambda: read_status(record.files.status).pid)
    start = process_start_time(pid)
    assert start is not None
    monkeypatch.setattr(recovery, "environ_token", lambda pid: None)
    known = AttemptRecord(record.token, record.files, record.boot_id, start)
    wrong = AttemptRecord(record.token, record.files, record.boot_id, start + 1)
    assert examine(known) == Adopt(pid)
    assert examine(wrong) == HeldByStranger(pid)
    assert examine(record) == HeldByStranger(pid)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.usefixtures("mode")
def test_nothing_there_means_it_never_ran(record: AttemptRecord) -> None:
    assert examine(record) == NeverRan()
    record.files.status.write_bytes(b"")
    assert examine(record) == NeverRan()
    record.files.status.write_bytes(b"123")  # the shim was killed while it wrote its pid
    assert examine(record) == NeverRan()


def test_a_held_lock_without_a_pid_line_is_waited_for_and_then_a_stranger(
    record: AttemptRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_PID_LINE_PATIENCE", 0.02)
    with open(record.files.status, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert examine(record) == HeldByStranger(None)


def test_the_pid_line_may_come_while_it_is_waited_for(
    record: AttemptRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_PID_LINE_PATIENCE", 20.0)
    with open(record.files.status, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def shim_ends() -> None:
            file.write("77\n=3\n")
            file.close()

        timer = threading.Timer(0.03, shim_ends)
        timer.start()
        assert examine(record) == Exited(3)
        timer.join()


@pytest.mark.usefixtures("mode")
def test_gone_without_an_exit_line_is_lost(record: AttemptRecord) -> None:
    pid = in_hand(record, "exec sleep 60")
    until(lambda: read_status(record.files.status).pid)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until(lambda: not find_tokens([record.token]))
    assert examine(record) == Lost()
    record.files.status.write_bytes(f"{pid}\n=1".encode())  # half a line is none
    assert examine(record) == Lost()


@pytest.mark.usefixtures("mode")
async def test_a_killed_shim_whose_instrument_lives_must_be_ended_first(
    record: AttemptRecord,
) -> None:
    pid = in_hand(record, "echo 1; setsid sleep 60 & sleep 60")
    until(lambda: len(find_tokens([record.token]).get(record.token, [])) == 4)
    kill_shim(pid)
    finding = examine(record)
    assert isinstance(finding, MustEnd)
    assert (finding.pid, finding.started) == (pid, True)
    assert len(finding.processes) == 3
    end = await Tree(record.token, finding.pid).end(5.0)
    assert end.survivors == ()
    assert examine(record) == Lost()


@pytest.mark.usefixtures("mode")
async def test_a_status_file_removed_under_a_living_shim(record: AttemptRecord) -> None:
    pid = in_hand(record, "echo 1; exec sleep 60")
    until(lambda: record.files.stdout.read_bytes())
    record.files.status.unlink()
    finding = examine(record)
    assert isinstance(finding, MustEnd)
    assert (finding.pid, finding.started) == (None, True)  # it ran: it must not count as never run
    assert pid in {proc.pid for proc in finding.processes}
    assert (await Tree(record.token, finding.pid).end(5.0)).survivors == ()
    assert examine(record) == NeverRan()
    assert reap([pid]) == [pid]


def test_another_boot(record: AttemptRecord) -> None:
    old = other_boot(record)
    assert examine(old) == OtherBoot(None, False)
    record.files.status.write_text(f"{os.getpid()}\n")
    assert examine(old) == OtherBoot(None, True)
    record.files.status.write_text(f"{os.getpid()}\n=0\n")
    assert examine(old) == OtherBoot(0, True)


def test_a_boot_id_that_is_wrong_does_not_start_a_living_attempt_again(
    record: AttemptRecord,
) -> None:
    pid = in_hand(record, "echo 1; exec sleep 60")
    until(lambda: record.files.stdout.read_bytes())
    assert examine(other_boot(record)) == Adopt(pid)
    kill_shim(pid)
    finding = examine(other_boot(record))
    assert isinstance(finding, MustEnd)
    assert (finding.pid, finding.started) == (None, True)


def test_a_pid_that_was_given_to_another_is_not_touched(record: AttemptRecord) -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        record.files.status.write_text(f"{stranger.pid}\n")
        assert examine(record) == Lost()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def _helper(argv: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env=env, start_new_session=True)


def test_helper_commands_of_an_attempt_are_found_with_it(record: AttemptRecord) -> None:
    env = {**os.environ, "MARIANNE_ATTEMPT": f"{record.token}/c1"}
    helper = _helper(["sleep", "60"], env)
    try:
        # A validation command: the attempt itself has its exit line.
        record.files.status.write_text("4000000\n=0\n")
        assert examine(record) == Exited(0)
        until(lambda: find_tokens([record.token]))
        assert [proc.pid for proc in find_tokens([record.token])[record.token]] == [helper.pid]
    finally:
        helper.kill()
        helper.wait()


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("script", ["sleep 60 & sleep 60", "setsid -f sleep 60; sleep 60"])
async def test_a_skip_command_of_a_killed_conductor_is_no_start(
    record: AttemptRecord, script: str
) -> None:
    """There is no status file yet, and nothing carries the attempt's own token."""
    env = {**os.environ, "MARIANNE_ATTEMPT": f"{record.token}/c1"}
    helper = _helper(["sh", "-c", script], env)
    until(lambda: len(find_tokens([record.token]).get(record.token, [])) >= 3)
    finding = examine(record)
    assert isinstance(finding, MustEnd)
    assert (finding.pid, finding.started) == (None, False)
    assert (await Tree(record.token, finding.pid).end(5.0)).survivors == ()
    helper.wait()
    assert examine(record) == NeverRan()


def test_a_shim_killed_before_its_pid_line_never_ran(record: AttemptRecord) -> None:
    """It holds its lock until it is gone, and it starts nothing before that line."""
    os.close(open_status_locked(record.files.status))
    assert examine(record) == NeverRan()


def test_examining_changes_nothing(record: AttemptRecord) -> None:
    examine(record)
    assert list(record.files.run_dir.iterdir()) == []


def test_many_attempts_need_one_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = []

    class Counted(recovery.Scan):
        def __init__(self) -> None:
            scans.append(self)
            super().__init__()

    monkeypatch.setattr(recovery, "Scan", Counted)
    records = [
        AttemptRecord(f"many-{n}", AttemptFiles(tmp_path, n, 1), boot_id()) for n in range(1, 501)
    ]
    for n, record in enumerate(records):
        if n % 4:
            record.files.status.write_text("4000000\n=0\n" if n % 4 > 1 else "4000000\n")
    findings = examine_all(records)
    kinds = [type(findings[record.token]) for record in records]
    assert [kinds.count(kind) for kind in (NeverRan, Lost, Exited)] == [125, 125, 250]
    assert len(scans) == 1


def test_read_proc_of_nobody() -> None:
    assert read_proc(4_000_000) is None
