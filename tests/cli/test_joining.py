"""Commands that follow a job at the conductor of another process."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from .conftest import SCORE, Mzt
from .gates import open_gates, run_status, started, until, wait_for_sheet


def other_score(folder: Path) -> None:
    (folder / "other.yaml").write_text(
        SCORE.replace("name: gate", "name: other").replace(": work", ": work2")
    )


def test_a_joined_run_goes_on_when_its_conductor_is_killed(score: Path, tmp_path: Path) -> None:
    other_score(tmp_path)
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        with started(tmp_path, "run", "other.yaml", "--json") as guest:
            wait_for_sheet(tmp_path, "other")
            host.kill()
            host.wait()
            open_gates(tmp_path)
            output, told = guest.communicate(timeout=30)
            assert guest.returncode == 0, told
    last = json.loads(output.splitlines()[-1])
    assert (last["job_id"], last["status"]) == ("other", "completed")
    assert "the conductor has gone; this command goes on with other#1" in told
    assert "taking up 2 interrupted jobs: gate#1, other#1" in told
    # It took up the job of the other terminal too, and stayed for it.
    assert run_status(tmp_path) == "completed"


def test_watch_follows_a_running_job_to_its_end(
    score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q"):
        wait_for_sheet(tmp_path)
        refused = mzt("run", "gate.yaml")
        assert refused.returncode == 2
        assert "mzt status gate -W follows it" in refused.stderr
        assert "joined" not in refused.stdout
        with started(tmp_path, "status", "gate", "--watch") as watcher:
            assert watcher.stdout is not None
            assert "Ctrl-C stops following" in watcher.stdout.readline()
            open_gates(tmp_path)
            output, told = watcher.communicate(timeout=30)
            assert watcher.returncode == 0, told
            assert "gate#1 completed: 3 completed" in output
    over = mzt_here("status", "gate", "-W")
    assert over.returncode == 0
    assert "completed" in over.stdout
    assert mzt_here("status", "-W").returncode == 2


def test_a_watcher_whose_conductor_is_killed_says_how_the_job_stands(
    score: Path, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        with started(tmp_path, "status", "gate", "-W", "--json") as watcher:
            assert watcher.stderr is not None
            assert "joined" in watcher.stderr.readline()
            host.kill()
            host.wait()
            output, told = watcher.communicate(timeout=30)
            assert watcher.returncode == 4
    last = json.loads(output.splitlines()[-1])
    assert last["status"] == "running"
    assert last["interrupted"] is True
    assert "the conductor has gone" in told


def test_a_watcher_hears_of_a_cancel_and_adds_nothing(
    score: Path, mzt_here: Mzt, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q"):
        wait_for_sheet(tmp_path)
        with started(tmp_path, "status", "gate", "-W") as watcher:
            assert watcher.stdout is not None
            assert "joined" in watcher.stdout.readline()
            assert mzt_here("cancel", "gate").returncode == 0
            output, _ = watcher.communicate(timeout=30)
            assert watcher.returncode == 4
    assert "gate#1 cancelled" in output
    assert "not followed" not in output


def test_ctrl_c_ends_a_watcher_alone(score: Path, tmp_path: Path) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        with started(tmp_path, "status", "gate", "-W") as watcher:
            assert watcher.stdout is not None
            assert "joined" in watcher.stdout.readline()
            watcher.send_signal(signal.SIGINT)
            output, _ = watcher.communicate(timeout=30)
            assert watcher.returncode == 4
            assert "not followed any longer; mzt status gate -W follows it again" in output
        assert host.poll() is None
        open_gates(tmp_path)
        until(lambda: run_status(tmp_path) == "completed")
