"""Runs that others look at, steer, join and interrupt: real conductors in real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock

from .conftest import SCORE, Mzt
from .gates import open_gates, run_status, sheet_statuses, started, until, wait_for_sheet


def test_others_see_steer_and_resume_a_running_job(
    score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml", "--json") as host:
        wait_for_sheet(tmp_path)
        # What others see.
        text = mzt_here("status", "gate").stdout
        assert "in progress" in text
        assert "waits for sheet 1" in text
        listed = mzt_here("list").stdout
        assert "gate#1" in listed
        assert f"conductor: running (pid {host.pid})" in listed
        # The same score again is refused while it runs.
        again = mzt("run", "gate.yaml")
        assert again.returncode == 2
        assert "gate is running already" in again.stderr
        assert "mzt status gate -W follows it, mzt resume gate goes on" in again.stderr
        # Pause: the running sheet ends, no other starts.
        paused = mzt_here("pause", "gate")
        assert paused.returncode == 0, paused.stderr
        (tmp_path / "open-1").touch()
        output, told = host.communicate(timeout=20)
        assert host.returncode == 4
        events = [json.loads(line) for line in output.splitlines()]
        assert events[-1]["status"] == "paused"
        assert events[-1]["sheets_completed"] == 1
        names = [event["event"] for event in events[:-1]]
        assert names.count("sheet.started") == 1
        assert names[-1] == "job.paused"
        assert "Ctrl-C" not in told, "there is no terminal on which to press it"
    assert mzt_here("list", "-s", "paused", "--json").stdout.count('"job_id": "gate"') == 1
    # Without a conductor, resume becomes one.
    resumed = mzt("resume", "gate")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "gate#1 completed: 3 completed" in resumed.stdout


def test_a_second_run_joins_and_ctrl_c_only_stops_following(
    score: Path, mzt: Mzt, tmp_path: Path
) -> None:
    (tmp_path / "other.yaml").write_text(
        SCORE.replace("name: gate", "name: other").replace(": work", ": work2")
    )
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        with started(tmp_path, "run", "other.yaml") as guest:
            assert guest.stdout is not None
            assert guest.stdout.readline() == "1 warning: mzt validate other.yaml shows more\n"
            assert f"joined the conductor of pid {host.pid}" in guest.stdout.readline()
            wait_for_sheet(tmp_path, "other")
            guest.send_signal(signal.SIGINT)
            rest, _ = guest.communicate(timeout=20)
            assert guest.returncode == 4
            assert "not followed any longer" in rest
        # All gates are open now: both jobs end, and the host only after the other's job.
        assert host.wait(timeout=20) == 0
    assert run_status(tmp_path, "other") == "completed"


def test_ctrl_c_twice_leaves_the_sheet_alive_and_resume_adopts_it(
    score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml") as host:
        wait_for_sheet(tmp_path)
        host.send_signal(signal.SIGINT)
        until(lambda: run_status(tmp_path) == "pausing")
        host.send_signal(signal.SIGINT)
        output, _ = host.communicate(timeout=20)
        assert host.returncode == 4
        assert "Traceback" not in output
        assert sheet_statuses(tmp_path)[0] == "in_progress"
        text = mzt_here("status", "gate").stdout
        assert "no conductor is running" in text
    resumed = mzt("resume", "gate")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    records = json.loads(mzt_here("history", "gate", "--json").stdout)["records"]
    assert [(r["sheet"], r["attempt"]) for r in records] == [(1, 1), (2, 1), (3, 1)]


def test_cancel_ends_the_processes_and_the_host_says_4(
    score: Path, mzt_here: Mzt, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        cancelled = mzt_here("cancel", "gate", "--json")
        assert cancelled.returncode == 0, cancelled.stderr
        assert json.loads(cancelled.stdout)["cancelled"] is True
        _, told = host.communicate(timeout=20)
        assert host.returncode == 4
        assert "cancelled" in told
    assert sheet_statuses(tmp_path)[0] == "cancelled"


def test_logs_follow_a_sheet_to_its_end_and_clean_it(
    score: Path, mzt_here: Mzt, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q"):
        wait_for_sheet(tmp_path)
        with started(tmp_path, "logs", "gate", "--sheet", "1", "-f") as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "begin 1\n"
            (tmp_path / "open-1").touch()
            assert follower.stdout.readline() == "end 1\n"
            assert follower.wait(timeout=20) == 0
        assert "\x1b[31m1\x1b[0m" in mzt_here("logs", "gate", "--sheet", "1", "--raw").stdout


def test_what_needs_a_conductor_says_so(
    score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path
) -> None:
    open_gates(tmp_path)
    assert mzt("run", "gate.yaml", "-q").returncode == 0
    done = mzt_here("pause", "gate")
    assert done.returncode == 3
    assert "no conductor is running" in done.stderr
    assert mzt_here("pause", "nope").returncode == 2
    for command in ("resume", "retry"):
        assert mzt(command, "nope").returncode == 2
        # No conductor is started to say what the store knows.
        refused = mzt(command, "gate")
        assert refused.returncode == 1
        assert refused.stdout == ""
        assert refused.stderr.startswith(
            ("mzt: job gate is completed", "mzt: no sheet of job gate")
        )


def test_retry_without_a_conductor_runs_what_failed_again(mzt: Mzt, tmp_path: Path) -> None:
    (tmp_path / "repair.yaml").write_text(
        "name: repair\nworkspace: work\ninstrument: cli\nretry: {max_retries: 0}\n"
        "sheet: {size: 1, total_items: 2}\nprompt: {template: 'test -e ../repaired'}\n"
    )
    assert mzt("run", "repair.yaml", "-q").returncode == 1
    (tmp_path / "repaired").touch()
    done = mzt("retry", "repair")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "repair#1 completed: 2 completed" in done.stdout


def test_a_slow_validation_is_waited_for_and_a_daemon_is_ended(mzt: Mzt, tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text(
        "name: slow\nworkspace: work\ninstrument: cli\nretry: {max_retries: 0}\n"
        "sheet: {size: 1, total_items: 1}\n"
        "prompt:\n  template: |\n"
        "    python3 -c 'import os, time\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        '        open("daemon", "w").write(str(os.getpid()))\n'
        "        time.sleep(60)'\n"
        "    until [ -s daemon ]; do sleep 0.02; done\n"
        "validations:\n"
        "  - {type: command_succeeds, command: sleep 1.2, retry_count: 0}\n"
    )
    done = mzt("run", "slow.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    daemon = int((tmp_path / "work" / "daemon").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)


def test_two_runs_of_one_score_at_the_same_moment(score: Path, mzt: Mzt, tmp_path: Path) -> None:
    open_gates(tmp_path)
    with started(tmp_path, "run", "gate.yaml") as one, started(tmp_path, "run", "gate.yaml") as two:
        told = [process.communicate(timeout=30) for process in (one, two)]
    statuses = sorted((one.returncode, two.returncode))
    # Either the second came while the first ran, and was refused; or after it, and ran again.
    assert statuses in ([0, 2], [0, 0]), told
    assert not any("Traceback" in text for pair in told for text in pair)


def test_a_conductor_that_hangs_up_unheard_is_not_the_last_word(
    score: Path, mzt: Mzt, tmp_path: Path
) -> None:
    open_gates(tmp_path)
    home = Home(tmp_path / "state")
    home.prepare()
    leaving = socket.socket(socket.AF_UNIX)
    leaving.bind(str(home.socket))
    leaving.listen()
    asked: list[bytes] = []

    def hang_up() -> None:
        connection, _ = leaving.accept()
        asked.append(connection.recv(4096))
        leaving.close()
        home.socket.unlink()
        connection.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    done = mzt("run", "gate.yaml")
    thread.join()
    assert b"daemon.health" in asked[0]
    assert done.returncode == 0, done.stderr
    assert "gate#1 completed" in done.stdout


def test_clear_asks_the_conductor_that_runs(
    score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path
) -> None:
    (tmp_path / "quick.yaml").write_text(
        "name: quick\nworkspace: work\ninstrument: cli\n"
        "sheet: {size: 1, total_items: 1}\nprompt: {template: 'true'}\n"
    )
    assert mzt("run", "quick.yaml", "-q").returncode == 0
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        assert len(os.listdir(tmp_path / "state" / "runs")) == 2
        done = mzt_here("clear", "--job", "quick", "--job", "gate", "-y")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            "gate#1 stays: it is running, and only what is over is cleared",
            "cleared 1 run",
        ]
        assert len(os.listdir(tmp_path / "state" / "runs")) == 1
        assert mzt_here("status", "quick").returncode == 2
        assert mzt_here("pause", "quick").returncode == 2
        open_gates(tmp_path)
        assert host.wait(timeout=20) == 0
    assert run_status(tmp_path, "gate") == "completed"


def test_clear_forgets_rows_and_files(score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path) -> None:
    open_gates(tmp_path)
    assert mzt("run", "gate.yaml", "-q").returncode == 0
    runs = tmp_path / "state" / "runs"
    assert len(os.listdir(runs)) == 1
    asked = mzt_here("clear", "--job", "gate")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert json.loads(mzt_here("clear", "-s", "failed", "-y", "--json").stdout) == {"deleted": 0}
    assert len(os.listdir(runs)) == 1
    assert mzt_here("clear", "--job", "gate", "-y").stdout == "cleared 1 run\n"
    assert os.listdir(runs) == []
    assert mzt_here("status", "gate").returncode == 2


def test_doctor_names_the_log_that_the_conductor_writes(mzt_here: Mzt, tmp_path: Path) -> None:
    home = Home(tmp_path / "state")
    home.prepare()
    lock = StateLock(home.lock)
    lock.acquire(version="0", socket=home.socket)
    try:
        assert str(home.log) in mzt_here("doctor").stdout
        (tmp_path / ".marianne").mkdir()
        own = tmp_path / "my own.log"
        (tmp_path / ".marianne" / "conductor.yaml").write_text(f"log_file: {own}\n")
        assert f"look at {own}" in mzt_here("doctor").stdout
    finally:
        lock.release()
