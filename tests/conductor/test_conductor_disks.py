"""Folders that are not there, cannot be written, or are full: a clear sentence, and nothing hangs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from marianne_core.model.errors import StateError
from marianne_core.model.requests import SubmitReply, SubmitRequest
from tests.conductor.house import House, Playing

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent


async def _rejected(house: House, score: Path, **request: Any) -> SubmitReply:
    async with house.conductor() as conductor:
        reply = await conductor.submit(SubmitRequest(str(score), **request))
    assert (reply.status, reply.exit_code) == ("rejected", 2), reply
    assert house.rows() == []
    assert len(reply.message.splitlines()) <= 2
    return reply


async def test_a_workspace_whose_parent_is_missing(house: House) -> None:
    house.workspace = house.root / "no" / "such" / "ws"
    reply = await _rejected(house, house.score("", script="true"))
    assert str(house.root / "no" / "such") in reply.message
    assert not (house.root / "no").exists()


async def test_a_workspace_that_is_a_file(house: House) -> None:
    house.workspace.write_text("")
    reply = await _rejected(house, house.score("", script="true"))
    assert str(house.workspace) in reply.message


async def test_a_workspace_given_by_the_person_is_looked_at_too(house: House) -> None:
    score = house.score("", script="true")
    reply = await _rejected(house, score, workspace="no/such/ws", client_cwd=str(house.root))
    assert str(house.root / "no" / "such") in reply.message


async def test_a_workspace_given_by_the_person_counts_from_where_they_are(house: House) -> None:
    (house.root / "desk").mkdir()
    score = house.score("", script="touch made")
    run = await house.play(score, workspace="own", client_cwd=str(house.root / "desk"))
    assert run.status == "completed"
    assert (house.root / "desk" / "own" / "made").exists()


async def test_a_workspace_that_vanishes_while_the_job_runs(house: House) -> None:
    """The next sheet makes it anew, or fails with a reason; nothing hangs."""
    score = house.score(
        "", sheets=2, script="touch up; until [ -e {{ workspace }}/go ]; do sleep 0.02; done"
    )
    async with Playing(house, score) as song:
        await house.appears("up")
        shutil.rmtree(house.workspace)
        house.put("go")
        run = await song.end()
    assert run.status == "completed"


async def test_a_workspace_that_becomes_a_file_while_the_job_runs(house: House) -> None:
    score = house.score(
        "",
        sheets=2,
        script="{% if sheet_num == 1 %}cd /; rm -rf {{ workspace }}; echo > {{ workspace }}{% endif %}",
    )
    run = await house.play(score)
    assert run.statuses == ["completed", "failed"]
    assert str(house.workspace) in run.sheet(2)["reason"]


async def test_attempt_files_that_vanish_are_a_reason_not_a_crash(house: House) -> None:
    score = house.score(
        "cross_sheet: {auto_capture_stdout: true}",
        sheets=2,
        script="""
        {% if sheet_num == 1 %}
        touch up; until [ -e go ]; do sleep 0.02; done; echo said
        {% else %}
        echo {{ previous_outputs.get(1, "") | quote }} > told
        {% endif %}
        """,
    )
    async with Playing(house, score) as song:
        await house.appears("up")
        (run_dir,) = house.home.runs.iterdir()
        (run_dir / "1.1.out").unlink()
        house.put("go")
        run = await song.end()
    assert not run.status.active
    assert run.sheet(1)["status"] in ("completed", "failed")


async def test_a_run_directory_that_vanishes_fails_the_next_sheet(house: House) -> None:
    score = house.score("", sheets=2, script="touch up; until [ -e go ]; do sleep 0.02; done")
    async with Playing(house, score) as song:
        await house.appears("up")
        shutil.rmtree(house.home.runs)
        house.put("go")
        run = await song.end()
    assert not run.status.active
    assert all(sheet["status"] != "in_progress" for sheet in run.picture["sheets"])
    if run.sheet(2)["status"] == "failed":
        assert run.sheet(2)["reason"]


# --- the state directory -------------------------------------------------------------------------


async def test_a_state_directory_that_is_a_link_is_refused(house: House) -> None:
    (house.root / "elsewhere").mkdir()
    house.home.root.symlink_to(house.root / "elsewhere")
    with pytest.raises(StateError, match="link"):
        await house.conductor().__aenter__()
    assert list((house.root / "elsewhere").iterdir()) == []


async def test_a_state_directory_that_is_a_file_is_refused(house: House) -> None:
    house.home.root.write_text("")
    with pytest.raises(StateError, match=str(house.home.root)):
        await house.conductor().__aenter__()


async def test_the_state_directory_is_private(house: House) -> None:
    await house.play(house.score("", script="true"))
    for folder in (house.home.root, house.home.runs, *house.home.runs.iterdir()):
        assert folder.stat().st_mode & 0o077 == 0, folder
    assert house.home.database.stat().st_mode & 0o077 == 0


# --- disks of their own --------------------------------------------------------------------------


def _can_mount() -> bool:
    """Whether this machine lets us mount a disk that nobody else sees."""
    if not shutil.which("unshare") or not shutil.which("mount"):
        return False
    command = ["unshare", *_unshare(), "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _unshare() -> list[str]:
    return ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="needs to mount a disk of its own")


def _on_a_disk(house: House, manner: str) -> dict[str, Any]:
    """Play the score on disks of that manner; what `small_disk.py` tells."""
    env = {**os.environ, "HOME": str(house.root)}
    env["PYTHONPATH"] = os.pathsep.join([str(_ROOT / "core"), str(_ROOT)])
    command = ["unshare", *_unshare(), sys.executable, str(_HERE / "small_disk.py")]
    done = subprocess.run(
        [*command, manner, str(house.root)], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@needs_mounts
def test_a_state_directory_that_is_read_only(house: House) -> None:
    house.score("", script="true")
    told = _on_a_disk(house, "read-only")
    assert str(house.home.root) in told["error"]
    assert "read-only" in told["error"].lower()
    assert len(told["error"].splitlines()) <= 2
    assert told["exit_code"] != 0


@needs_mounts
@pytest.mark.parametrize(
    ("manner", "word"), [("mzt-read-only", "read-only"), ("mzt-full", "no space left")]
)
def test_the_program_says_what_is_wrong_with_the_disk(house: House, manner: str, word: str) -> None:
    house.score("", script="touch ran")
    told = _on_a_disk(house, manner)
    assert told["exit_code"] == 1, told
    assert word in told["err"].lower()
    assert str(house.home.root) in told["err"]
    assert len(told["err"].splitlines()) <= 2, told["err"]
    assert "Traceback" not in told["err"] + told["out"]
    assert not house.wrote("ran")


@needs_mounts
def test_a_workspace_that_is_read_only(house: House) -> None:
    house.score("", script="true")
    told = _on_a_disk(house, "read-only-work")
    assert told["exit_code"] == 2, told
    assert str(house.workspace) in told["rejected"]


@needs_mounts
def test_a_workspace_parent_that_is_read_only(house: House) -> None:
    house.workspace = house.root / "parent" / "ws"
    house.score("", script="true")
    told = _on_a_disk(house, "read-only-parent")
    assert told["exit_code"] == 2, told
    assert str(house.root / "parent") in told["rejected"]


@needs_mounts
def test_a_workspace_that_is_full_is_the_sheets_failure(house: House) -> None:
    house.score("", sheets=2, script="head -c 3000000 /dev/zero > large || exit 8")
    told = _on_a_disk(house, "full-work")
    assert told["status"] == "failed"
    assert [sheet["status"] for sheet in told["sheets"]] == ["failed", "skipped"]
    assert told["sheets"][0]["exit_code"] == 8


@needs_mounts
def test_a_full_state_directory_refuses_holds_and_goes_on(house: House) -> None:
    house.score(
        "",
        sheets=4,
        script="echo x >> started-{{ sheet_num }}; until [ -e go ]; do sleep 0.02; done",
    )
    house.score("", script="true", name="second")
    told = _on_a_disk(house, "full")
    words = told["refused"].lower()
    assert "disk" in words or "space" in words or "full" in words
    assert "Traceback" not in told["refused"]
    held = told["held"]
    assert held["status"] == "running"
    waiting = [sheet for sheet in held["sheets"] if sheet["status"] == "pending"]
    assert waiting
    assert "cannot be written" in held["reason"], held
    assert told["after"]["status"] == "completed"
    assert [house.lines(f"started-{num}") for num in range(1, 5)] == [["x"]] * 4
    assert told["third"] == "accepted"
    assert {status for _, _, status in told["jobs"]} == {"completed"}


@needs_mounts
def test_sheets_that_fail_of_a_full_state_directory_are_played_again_for_nothing(
    house: House,
) -> None:
    house.score(
        "sheet: {size: 1, total_items: 1, fan_out: {1: 8}}\n"
        "parallel: {enabled: true, max_concurrent: 4}",
        script="until [ -e go ]; do sleep 0.02; done; head -c 60000 /dev/zero | tr '\\0' x",
    )
    told = _on_a_disk(house, "full-outputs")
    assert "full" in told["held"]
    assert told["status"] == "completed", told
