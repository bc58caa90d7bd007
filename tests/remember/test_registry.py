"""The register of jobs, as programs that embed the conductor use it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from marianne_core.model.errors import InputError, JobSubmissionError, StateError
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.home import Home
from marianne_core.remember.journal import Journal
from marianne_core.remember.queries import open_reader
from marianne_core.remember.registry import JobRegistry


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
async def registry(tmp_path: Path, clock: Hands) -> AsyncIterator[JobRegistry]:
    async with JobRegistry(tmp_path / "deep" / "jobs.db", clock=clock) as registry:
        yield registry


async def test_a_job_and_its_life(registry: JobRegistry, clock: Hands) -> None:
    record = await registry.register_job("hello", "/s/hello.yaml", "/w")
    assert record == await registry.get_job("hello")
    assert json.loads(json.dumps(record.to_dict())) == {
        "job_id": "hello",
        "run": 1,
        "config_path": "/s/hello.yaml",
        "workspace": "/w",
        "submitted_at": 1000.0,
        "started_at": None,
        "completed_at": None,
        "status": "queued",
        "error_message": None,
        "current_sheet": None,
        "total_sheets": 0,
        "run_id": 1,
    }
    assert await registry.has_active_job("hello")
    clock.time = 1001.0
    await registry.update_status("hello", JobStatus.RUNNING)
    await registry.update_progress("hello", 2, 5)
    clock.time = 1002.0
    await registry.update_status("hello", "failed", "sheet 2 failed")
    job = await registry.get_job("hello")
    assert job is not None
    assert (job.started_at, job.completed_at) == (1001.0, 1002.0)
    assert (job.status, job.error_message) == (JobStatus.FAILED, "sheet 2 failed")
    assert (job.current_sheet, job.total_sheets) == (2, 5)
    assert not await registry.has_active_job("hello")
    assert await registry.get_job("other") is None


async def test_registering_again_keeps_history(registry: JobRegistry) -> None:
    await registry.register_job("hello", "/s/hello.yaml", "/w", score="name: one\n")
    await registry.save_checkpoint("hello", '{"sheet": 1}', status=JobStatus.COMPLETED)
    await registry.register_job("hello", "/s/hello.yaml", "/w")
    assert await registry.load_checkpoint("hello") is None
    assert await registry.load_checkpoint("hello#1") == '{"sheet": 1}'
    first = await registry.get_job("hello#1")
    assert first is not None
    assert first.status is JobStatus.COMPLETED
    assert [job.run for job in await registry.list_jobs()] == [2]
    with open_reader(Home(registry.db_path.parent)) as reader:
        assert reader.list_runs() == []  # Another file name than the home's: nothing there.


async def test_an_id_belongs_to_one_file(registry: JobRegistry) -> None:
    await registry.register_job("hello", "/a/hello.yaml", "/w")
    with pytest.raises(JobSubmissionError, match=r"belongs to /a/hello\.yaml"):
        await registry.register_job("hello", "/b/hello.yaml", "/w")
    await registry.update_status("hello", "failed")
    assert await registry.delete_jobs(["hello"]) == 1
    assert (await registry.register_job("hello", "/b/hello.yaml", "/w")).run == 1


async def test_what_is_kept_beside_a_job(registry: JobRegistry) -> None:
    await registry.register_job("hello", "/s/hello.yaml", "/w")
    assert await registry.load_checkpoint("hello") is None
    assert await registry.get_hook_config("hello") is None
    await registry.save_checkpoint("hello", '{"a": 1}')
    await registry.save_checkpoint("hello", '{"a": 2}')
    await registry.store_hook_config("hello", '[{"type": "run_job"}]')
    await registry.store_hook_results("hello", "[]")
    await registry.update_config_metadata("hello", workspace="/other")
    assert await registry.load_checkpoint("hello") == '{"a": 2}'
    assert await registry.get_hook_config("hello") == [{"type": "run_job"}]
    job = await registry.get_job("hello")
    assert job is not None
    assert (job.config_path, job.workspace) == ("/s/hello.yaml", "/other")
    assert await registry.load_checkpoint("other") is None
    assert await registry.get_hook_config("other") is None


async def test_unknown_jobs_are_refused(registry: JobRegistry) -> None:
    for call in (
        registry.update_status("none", "failed"),
        registry.update_progress("none", 1, 2),
        registry.update_config_metadata("none"),
        registry.save_checkpoint("none", "{}"),
        registry.store_hook_config("none", "[]"),
        registry.store_hook_results("none", "[]"),
    ):
        with pytest.raises(JobSubmissionError, match="no job 'none'"):
            await call
    await registry.register_job("hello", "/s/hello.yaml", "/w")
    with pytest.raises(JobSubmissionError):
        await registry.update_status("hello#2", "failed")


async def test_checkpoint_and_status_change_together(registry: JobRegistry) -> None:
    await registry.register_job("hello", "/s/hello.yaml", "/w")
    with pytest.raises(ValueError, match="nonsense"):
        await registry.save_checkpoint("hello", "{}", status="nonsense")
    assert await registry.load_checkpoint("hello") is None
    # The register works on after the error.
    await registry.save_checkpoint("hello", "{}", status="paused")
    assert not await registry.has_active_job("hello")


async def test_orphans(registry: JobRegistry, clock: Hands) -> None:
    for status in JobStatus:
        await registry.register_job(status.value, f"/s/{status}.yaml", "/w")
        await registry.update_status(status.value, status)
    active = [status.value for status in JobStatus if status.active]
    assert [job.job_id for job in await registry.get_orphaned_jobs()] == active
    clock.time = 5000.0
    assert await registry.mark_orphans_failed("power cut") == len(active)
    assert await registry.get_orphaned_jobs() == []
    job = await registry.get_job("running")
    assert job is not None
    assert (job.status, job.error_message, job.completed_at) == ("failed", "power cut", 5000.0)
    paused = await registry.get_job("paused")
    assert paused is not None
    assert paused.status is JobStatus.PAUSED


async def test_lists_are_bounded_and_newest_first(registry: JobRegistry) -> None:
    for number in range(55):
        await registry.register_job(f"job{number}", f"/s/job{number}.yaml", "/w")
    await registry.update_status("job3", "paused")
    assert [job.job_id for job in await registry.list_jobs()] == [
        f"job{n}" for n in range(54, 4, -1)
    ]
    assert len(await registry.list_jobs(limit=100)) == 55
    assert [job.job_id for job in await registry.list_jobs(status="paused")] == ["job3"]


async def test_deleting(registry: JobRegistry, clock: Hands) -> None:
    for name, status in (("a", "completed"), ("b", "failed"), ("c", "running")):
        await registry.register_job(name, f"/s/{name}.yaml", "/w")
        await registry.update_status(name, status)
        clock.time += 100
    assert await registry.delete_jobs() == 0
    assert await registry.delete_jobs([]) == 0
    assert await registry.delete_jobs(["c"]) == 0
    assert await registry.delete_jobs(statuses=[]) == 0
    assert await registry.delete_jobs(older_than_seconds=250) == 1
    assert await registry.delete_jobs(["a", "b"], [JobStatus.FAILED]) == 1
    assert [job.job_id for job in await registry.list_jobs()] == ["c"]


async def test_many_tasks_at_once(registry: JobRegistry) -> None:
    records = await asyncio.gather(
        *(registry.register_job("hello", "/s/hello.yaml", "/w") for _ in range(30))
    )
    assert sorted(record.run for record in records) == list(range(1, 31))


async def test_a_cancelled_task_leaves_no_open_transaction(registry: JobRegistry) -> None:
    await registry.register_job("hello", "/s/hello.yaml", "/w")
    for steps in range(12):
        task = asyncio.create_task(registry.save_checkpoint("hello", f'"{steps}"'))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await registry.save_checkpoint("hello", '"whole"')
        assert await registry.load_checkpoint("hello") == '"whole"'


async def test_it_shares_the_tables_with_the_journal(home: Home, submission) -> None:
    journal = await Journal.open(home.database)
    async with JobRegistry(home.database) as registry:
        key = await journal.submit(submission("/a/hello.yaml"), [])
        job = await registry.get_job("hello")
        assert job is not None
        assert job.run_id == key.run_id
        record = await registry.register_job("hello", "/a/hello.yaml", "/w")
        again = await journal.submit(submission("/a/hello.yaml"), [])
        assert (record.run, again.run) == (2, 3)
    await journal.close()
    with open_reader(home) as reader:
        assert reader.get_run(JobRef("hello", 2)).status is JobStatus.QUEUED


async def test_errors_are_sentences(tmp_path: Path) -> None:
    registry = JobRegistry(tmp_path / "jobs.db")
    with pytest.raises(StateError, match="not open"):
        await registry.list_jobs()
    (tmp_path / "jobs.db").write_text("a letter")
    with pytest.raises(StateError, match="another file"):
        await registry.open()
    (tmp_path / "jobs.db").unlink()
    await registry.open()
    await registry.open()
    other = sqlite3.connect(tmp_path / "jobs.db")
    other.execute("PRAGMA journal_mode")
    other.execute("DROP TABLE jobs")
    other.commit()
    other.close()
    with pytest.raises(StateError, match="refused a change"):
        await registry.register_job("hello", "/s/hello.yaml", "/w")
    await registry.close()
    await registry.close()


@pytest.mark.parametrize("job_id", ["song#2", "", "song#x"])
async def test_an_id_that_could_not_be_found_again_is_refused(
    registry: JobRegistry, job_id: str
) -> None:
    await registry.register_job("song", "/s/song.yaml", "/w")
    with pytest.raises(InputError):
        await registry.register_job(job_id, "/s/other.yaml", "/w")
    assert [job.job_id for job in await registry.list_jobs()] == ["song"]


async def test_a_run_of_a_job_can_be_asked_about(registry: JobRegistry) -> None:
    await registry.register_job("song", "/s/song.yaml", "/w")
    await registry.update_status("song", "completed")
    await registry.register_job("song", "/s/song.yaml", "/w")
    assert not await registry.has_active_job("song#1")
    assert await registry.has_active_job("song#2")
    assert await registry.has_active_job("song")


@pytest.mark.parametrize("text", ["{bad", "{}", "7"])
async def test_hooks_that_could_not_be_read_again_are_refused(
    registry: JobRegistry, text: str
) -> None:
    await registry.register_job("song", "/s/song.yaml", "/w")
    with pytest.raises(InputError):
        await registry.store_hook_config("song", text)
    assert await registry.get_hook_config("song") is None


async def test_a_database_of_another_version_is_left_to_the_conductor(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    shutil.copyfile(Path(__file__).parents[1] / "data" / "store-v1.db", path)
    before = path.read_bytes()
    with pytest.raises(StateError, match="has version 1"):
        await JobRegistry(path).open()
    assert path.read_bytes() == before
