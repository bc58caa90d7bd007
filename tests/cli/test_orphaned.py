"""What a person can do about jobs whose conductor was killed, and about paused ones."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock

from .conftest import SCORE, Mzt
from .gates import (
    alive,
    open_gates,
    run_status,
    sheet_statuses,
    shim_of,
    started,
    until,
    wait_for_sheet,
)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Sheets that outlived their conductor end with the test."""
    yield
    open_gates(tmp_path)


def killed_conductor(folder: Path, *jobs: str) -> None:
    """Jobs whose first sheets run, and nobody conducts them any more."""
    first, *more = jobs
    with started(folder, "run", f"{first}.yaml", "-q", open_at_end=False) as host:
        wait_for_sheet(folder, first)
        shim_of(folder, first)
        for job in more:
            with started(folder, "run", f"{job}.yaml", "-q", open_at_end=False) as guest:
                wait_for_sheet(folder, job)
                shim_of(folder, job)
                guest.kill()
        host.kill()
    # A program that was just being started can hold a copy of the lock for some milliseconds.
    until(lambda: StateLock(Home(folder / "state").lock).holder() is None)


def test_cancel_without_a_conductor_ends_the_living_sheet_of_this_job_alone(
    score: Path, mzt: Mzt, tmp_path: Path
) -> None:
    (tmp_path / "other.yaml").write_text(
        SCORE.replace("name: gate", "name: other").replace(": work", ": work2")
    )
    killed_conductor(tmp_path, "gate", "other")
    shim, stranger = shim_of(tmp_path, "gate"), shim_of(tmp_path, "other")
    assert alive(shim)
    done = mzt("cancel", "gate", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == {
        "cancelled": True,
        "job_id": "gate",
        "run": 1,
        "job_status": "cancelled",
        "message": "gate is cancelled: cancelled by a person",
    }
    assert not alive(shim)
    assert sheet_statuses(tmp_path) == ["cancelled"] * 3
    # The job of somebody else was neither ended nor taken further.
    assert alive(stranger)
    assert sheet_statuses(tmp_path, "other") == ["in_progress", "pending", "pending"]
    assert StateLock(Home(tmp_path / "state").lock).holder() is None
    # Whoever cancels twice hears that it is done.
    again = mzt("cancel", "gate")
    assert again.returncode == 0, again.stderr
    assert again.stdout == "gate is cancelled already\n"
    open_gates(tmp_path)
    assert mzt("resume", "other", "-q").returncode == 0


def test_cancel_without_a_conductor_ends_a_paused_job(
    score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        assert mzt_here("pause", "gate").returncode == 0
        (tmp_path / "open-1").touch()
        assert host.wait(timeout=20) == 4
    assert run_status(tmp_path) == "paused"
    done = mzt("cancel", "gate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "gate is cancelled: cancelled by a person\n"
    assert sheet_statuses(tmp_path) == ["completed", "cancelled", "cancelled"]


def test_what_is_over_cannot_be_cancelled(score: Path, mzt: Mzt, tmp_path: Path) -> None:
    open_gates(tmp_path)
    assert mzt("run", "gate.yaml", "-q").returncode == 0
    done = mzt("cancel", "gate")
    assert done.returncode == 1
    assert done.stderr == "mzt: job gate is completed: nothing to cancel\n"
    assert mzt("cancel", "nope").returncode == 2


def test_the_refusal_to_pause_does_not_say_that_nothing_runs(
    score: Path, mzt_here: Mzt, tmp_path: Path
) -> None:
    killed_conductor(tmp_path, "gate")
    done = mzt_here("pause", "gate")
    assert done.returncode == 3
    assert "no conductor is running, so no new sheet starts" in done.stderr
    assert "1 sheet may still run" in done.stderr
    assert "mzt cancel gate ends it" in mzt_here("status", "gate").stdout


def test_an_interrupted_job_says_so_to_programs_too(
    score: Path, mzt_here: Mzt, tmp_path: Path
) -> None:
    killed_conductor(tmp_path, "gate")
    (listed,) = json.loads(mzt_here("list", "--json").stdout)
    status = json.loads(mzt_here("status", "gate", "--json").stdout)
    (active,) = json.loads(mzt_here("status", "--json").stdout)["active"]
    (past,) = json.loads(mzt_here("history", "--json").stdout)
    for document in (listed, status, active, past):
        assert document["status"] == "running"
        assert document["interrupted"] is True
        assert document["reason"] == "interrupted: no conductor is running"
    assert [sheet["reason"] for sheet in status["sheets"]] == [
        "may still run; no conductor is running",
        "no conductor is running",
        "no conductor is running",
    ]
    assert "interrupted: no conductor is running" in mzt_here("list").stdout


def test_a_paused_job_has_reasons_and_its_time_stands_still(
    score: Path, mzt_here: Mzt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        assert mzt_here("pause", "gate").returncode == 0
        (tmp_path / "open-1").touch()
        assert host.wait(timeout=20) == 4
    status = json.loads(mzt_here("status", "gate", "--json").stdout)
    assert status["interrupted"] is False
    assert [sheet["reason"] for sheet in status["sheets"]] == ["", *["paused by a person"] * 2]
    now = time.time()
    before = [mzt_here(*line).stdout for line in (("list",), ("history", "--runs", "gate"))]
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    after = [mzt_here(*line).stdout for line in (("list",), ("history", "--runs", "gate"))]
    assert after == before
    assert "2:00" not in mzt_here("status", "gate").stdout


def test_retry_of_a_sheet_makes_a_paused_job_go_on(
    score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path
) -> None:
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        assert mzt_here("pause", "gate").returncode == 0
        (tmp_path / "open-1").touch()
        assert host.wait(timeout=20) == 4
    open_gates(tmp_path)
    done = mzt("retry", "gate", "--sheet", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    records = json.loads(mzt_here("history", "gate", "--json").stdout)["records"]
    assert [(r["sheet"], r["attempt"]) for r in records] == [(1, 1), (1, 2), (2, 1), (3, 1)]


def test_retry_at_a_conductor_makes_a_paused_job_go_on(
    score: Path, mzt: Mzt, mzt_here: Mzt, tmp_path: Path
) -> None:
    (tmp_path / "other.yaml").write_text(
        SCORE.replace("name: gate", "name: other").replace(": work", ": work2")
    )
    with started(tmp_path, "run", "gate.yaml", "-q") as host:
        wait_for_sheet(tmp_path)
        with started(tmp_path, "run", "other.yaml", "-q", open_at_end=False) as guest:
            wait_for_sheet(tmp_path, "other")
            assert mzt_here("pause", "gate").returncode == 0
            (tmp_path / "open-1").touch()
            until(lambda: run_status(tmp_path) == "paused")
            asked = mzt("retry", "gate", "--sheet", "1")
            assert asked.returncode == 0, asked.stderr
            assert asked.stdout == "gate is running\n  mzt status gate -W follows it\n"
            open_gates(tmp_path)
            told = guest.communicate(timeout=20)
            assert guest.returncode == 0, told
        assert host.wait(timeout=20) == 4
    assert run_status(tmp_path) == "completed"
