"""What readers are told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import marianne_core
from marianne_core.model.errors import JobSubmissionError
from marianne_core.model.outcome import Ended, FailureCategory, Outcome, ValidationResult
from marianne_core.model.runs import JobRef
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.remember.changes import (
    AttemptBegun,
    AttemptEnding,
    AttemptFinished,
    AttemptIntended,
    HookResults,
    RunSaved,
    ScoreReplaced,
    SheetDraft,
    SheetsAdded,
    SheetSaved,
)
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.reports import validation_report
from marianne_core.remember.rows import Totals

CORE = str(Path(marianne_core.__file__).parents[1])
S = SheetStatus


def test_nothing_was_remembered_yet(tmp_path: Path) -> None:
    with open_reader(Home(tmp_path / "none")) as reader, reader.snapshot():
        assert reader.list_runs() == []
        assert reader.find_run(JobRef("hello")) is None
        assert reader.run(1) is None
        assert reader.submission(1) is None
        assert reader.sheets(1) == []
        assert reader.attempts(1) == []
        assert reader.validations(1, 1, 1) == []
        assert reader.events() == []
        assert reader.unfinished_runs() == []
        assert reader.totals(1) == Totals(0, 0, 0, 0.0)
        assert reader.job_id_for("/a/hello.yaml") == "hello"
        assert reader.owned_job_id("/a/hello.yaml") is None
        with pytest.raises(JobSubmissionError, match="no job 'hello'"):
            reader.get_run(JobRef("hello"))
    assert not (tmp_path / "none").exists()


async def test_a_submission_comes_back(store, submit) -> None:
    key = await submit(
        2,
        score="name: hello\n" * 10,
        variables={"who": "wörld", "n": 3},
        options={"fresh": True, "start_sheet": 2},
        chain_depth=1,
        hook_config=[{"type": "run_command"}],
        concert_config={"enabled": True},
        reason="waits for a free job slot",
    )
    with store.reader() as reader:
        run = reader.get_run(JobRef("hello"))
        submission = reader.submission(key.run_id)
    assert run.run_id == key.run_id
    assert (run.name, run.score_path, run.workspace) == ("hello", "/scores/hello.yaml", "/song")
    assert (run.status, run.reason) == (JobStatus.QUEUED, "waits for a free job slot")
    assert (run.submitted_at, run.started_at, run.finished_at) == (1000.0, None, None)
    assert (run.sheets_total, run.chain_depth) == (2, 1)
    assert submission.score == "name: hello\n" * 10
    assert submission.variables == {"who": "wörld", "n": 3}
    assert submission.options == {"fresh": True, "start_sheet": 2}
    assert submission.hook_config == [{"type": "run_command"}]
    assert submission.concert_config == {"enabled": True}


async def test_history_is_kept_and_named(store, submit) -> None:
    keys = [await submit() for _ in range(3)]
    assert [key.run for key in keys] == [1, 2, 3]
    with store.reader() as reader:
        assert reader.get_run(JobRef("hello")).run == 3
        assert reader.get_run(JobRef("hello", 1)).run_id == keys[0].run_id
        with pytest.raises(JobSubmissionError, match="no run 7") as caught:
            reader.get_run(JobRef("hello", 7))
        assert "hello#3" in caught.value.hint
        with pytest.raises(JobSubmissionError, match="no job 'other'"):
            reader.get_run(JobRef("other", 1))


async def test_lists_are_filtered_and_paged_newest_first(store, submit) -> None:
    for number in range(7):
        await submit(1, path=f"/a/job{number % 3}.yaml")
    await store.journal.commit([RunSaved(2, JobStatus.FAILED, 2000.0, "sheet 1 failed")])
    with store.reader() as reader:
        assert [run.run_id for run in reader.list_runs()] == [7, 6, 5, 4, 3, 2, 1]
        page = reader.list_runs(limit=3)
        assert [run.run_id for run in page] == [7, 6, 5]
        page = reader.list_runs(limit=3, before=page[-1].run_id)
        assert [run.run_id for run in page] == [4, 3, 2]
        assert [run.run_id for run in reader.list_runs(statuses=[JobStatus.FAILED])] == [2]
        assert reader.list_runs(statuses=[]) == []
        assert [run.run for run in reader.list_runs(job_id="job0")] == [3, 2, 1]
        newest = reader.list_runs(newest_only=True)
        assert [str(JobRef(run.job_id, run.run)) for run in newest] == [
            "job0#3",
            "job2#2",
            "job1#2",
        ]


async def test_times_follow_from_states(store, submit) -> None:
    run_id = (await submit(1)).run_id

    async def run(status: JobStatus, at: float, **more: object) -> tuple:
        await store.journal.commit([RunSaved(run_id, status, at, **more)])
        with store.reader() as reader:
            row = reader.run(run_id)
        return row.started_at, row.finished_at, row.paused_by, row.elapsed

    assert await run(JobStatus.RUNNING, 10.0) == (10.0, None, None, 0.0)
    assert await run(JobStatus.PAUSED, 11.0, paused_by="ann", elapsed=1.0) == (10.0, None, "ann", 1)
    assert await run(JobStatus.RUNNING, 12.0) == (10.0, None, None, 1.0)
    assert await run(JobStatus.FAILED, 13.0, elapsed=2.0) == (10.0, 13.0, None, 2.0)
    assert await run(JobStatus.FAILED, 14.0) == (10.0, 13.0, None, 2.0)
    assert await run(JobStatus.RUNNING, 15.0) == (10.0, None, None, 2.0)
    assert await run(JobStatus.CANCELLED, 16.0) == (10.0, 16.0, None, 2.0)
    assert await run(JobStatus.COMPLETED, 17.0) == (10.0, 17.0, None, 2.0)

    async def counted(**more: object) -> float | None:
        await store.journal.commit([RunSaved(run_id, JobStatus.RUNNING, 18.0, **more)])
        with store.reader() as reader:
            return reader.run(run_id).counted_at

    assert await counted(elapsed=3.0, counted_at=70.0) == 70.0
    assert await counted() == 70.0  # nothing was said of its time
    assert await counted(elapsed=4.0) is None

    async def sheet(status: SheetStatus, at: float) -> tuple:
        await store.journal.commit([SheetSaved(run_id, 1, status, at)])
        with store.reader() as reader:
            (row,) = reader.sheets(run_id)
        return row.started_at, row.finished_at

    assert await sheet(S.IN_PROGRESS, 20.0) == (20.0, None)
    assert await sheet(S.RETRY_SCHEDULED, 21.0) == (20.0, None)
    assert await sheet(S.IN_PROGRESS, 22.0) == (20.0, None)
    assert await sheet(S.FAILED, 23.0) == (20.0, 23.0)
    assert await sheet(S.PENDING, 24.0) == (None, None)
    assert await sheet(S.SKIPPED, 25.0) == (None, 25.0)
    assert await sheet(S.SKIPPED, 26.0) == (None, 25.0)


async def test_what_a_run_that_is_being_ended_will_be(store, submit) -> None:
    run_id = (await submit(1)).run_id

    async def final(status: JobStatus, final: JobStatus | None = None) -> JobStatus | None:
        await store.journal.commit([RunSaved(run_id, status, 10.0, final=final)])
        with store.reader() as reader:
            return reader.run(run_id).final

    assert await final(JobStatus.RUNNING) is None
    assert await final(JobStatus.CANCELLING, JobStatus.FAILED) is JobStatus.FAILED
    assert await final(JobStatus.CANCELLING) is JobStatus.FAILED
    assert await final(JobStatus.FAILED) is None
    assert await final(JobStatus.CANCELLING) is None


async def test_an_ordered_end_of_an_attempt_is_forgotten_with_its_intent(store, submit) -> None:
    run_id = (await submit(1)).run_id
    intent = AttemptIntended(run_id, 1, 1, 4.0, "token", "boot", "cli")
    await store.journal.commit([intent])
    for at, ended in (5.0, Ended.TIMEOUT), (6.0, Ended.CANCELLED):
        await store.journal.commit([AttemptEnding(run_id, 1, 1, at, ended, "why")])
        with store.reader() as reader:
            (row,) = reader.open_attempts(run_id)
        assert (row.ending, row.ending_reason, row.ending_at) == (ended, "why", at)
        assert row.ended is None
    await store.journal.commit([intent])
    with store.reader() as reader:
        (row,) = reader.open_attempts(run_id)
    assert (row.ending, row.ending_reason, row.ending_at) == (None, "", None)


async def test_counters_follow_the_sheets(store, submit) -> None:
    run_id = (await submit(5)).run_id

    async def counted(*states: tuple[int, SheetStatus]) -> tuple[int, ...]:
        await store.journal.commit([SheetSaved(run_id, n, status, 1.0) for n, status in states])
        with store.reader() as reader:
            run = reader.run(run_id)
        return run.sheets_total, run.completed, run.failed, run.skipped, run.cancelled

    assert await counted((1, S.IN_PROGRESS), (2, S.IN_PROGRESS)) == (5, 0, 0, 0, 0)
    assert await counted((1, S.COMPLETED), (2, S.FAILED), (3, S.SKIPPED)) == (5, 1, 1, 1, 0)
    assert await counted((1, S.COMPLETED)) == (5, 1, 1, 1, 0)
    assert await counted((2, S.PENDING), (3, S.PENDING), (4, S.CANCELLED)) == (5, 1, 0, 0, 1)
    assert await counted((2, S.COMPLETED), (4, S.COMPLETED), (3, S.COMPLETED)) == (5, 4, 0, 0, 0)
    more = [SheetDraft(6, "cli", status=S.SKIPPED, reason="before --start-sheet 7")]
    await store.journal.commit([SheetsAdded(run_id, more)])
    assert await counted() == (6, 4, 0, 1, 0)


async def test_everything_about_a_sheet_comes_back(store, submit) -> None:
    run_id = (await submit(2)).run_id
    await store.journal.commit(
        [
            SheetSaved(
                run_id,
                2,
                S.RETRY_SCHEDULED,
                5.0,
                reason="retry after E009",
                attempts=3,
                retries_used=2,
                completions_used=1,
                lost_in_row=1,
                blocked=True,
                mode=AttemptMode.COMPLETION,
                not_before=99.5,
                instrument="other",
                model="large",
            )
        ]
    )
    with store.reader() as reader:
        first, second = reader.sheets(run_id)
        assert reader.sheets(run_id, after=1) == [second]
        assert reader.sheets(run_id, limit=1) == [first]
    assert (first.instrument, first.voice, first.mode) == ("cli", 1, AttemptMode.NORMAL)
    assert (second.instrument, second.model) == ("other", "large")
    assert (second.status, second.reason) == (S.RETRY_SCHEDULED, "retry after E009")
    assert (second.attempts, second.retries_used, second.completions_used) == (3, 2, 1)
    assert (second.lost_in_row, second.blocked) == (1, True)
    assert (second.mode, second.not_before) == (AttemptMode.COMPLETION, 99.5)


async def test_everything_about_an_attempt_comes_back(store, submit) -> None:
    run_id = (await submit(1)).run_id
    outcome = Outcome(
        Ended.FAILED,
        pass_rate=50.0,
        code="E201",
        reason="1 of 2 failed",
        exit_code=137,
        signal=9,
        input_tokens=10,
        output_tokens=20,
        cost_usd=0.5,
    )
    results = [
        ValidationResult(0, "file_exists", "", True, path="/w/a"),
        ValidationResult(
            1,
            "command_succeeds",
            "tests pass",
            False,
            stage=2,
            pattern="p",
            command="make test",
            expected="exit 0",
            actual="exit 2",
            reason="it failed",
            category=FailureCategory.ERROR,
            suggested_fix="repair it",
            tries=3,
            duration=1.5,
        ),
    ]
    intent = AttemptIntended(
        run_id, 1, 1, 4.0, "token", "boot", "cli", "m", AttemptMode.COMPLETION, "argv", "prompt"
    )
    await store.journal.commit([intent, AttemptBegun(run_id, 1, 1, 5.0, deadline=77.5)])
    await store.journal.commit([AttemptFinished(run_id, 1, 1, 6.0, outcome, results)])
    with store.reader() as reader:
        (attempt,) = reader.attempts(run_id, 1)
        assert reader.attempts(run_id) == [attempt]
        assert reader.attempts(run_id, 2) == []
        assert reader.sheets(run_id)[0].exit_code == 137
        assert reader.totals(run_id) == Totals(1, 10, 20, 0.5)
        assert validation_report(reader, run_id, 1, 1).results == tuple(results)
        assert validation_report(reader, run_id, 1, 2).results == ()
    assert (attempt.num, attempt.attempt, attempt.mode) == (1, 1, AttemptMode.COMPLETION)
    assert (attempt.token, attempt.boot_id) == ("token", "boot")
    assert (attempt.argv_digest, attempt.prompt_hash) == ("argv", "prompt")
    assert (attempt.instrument, attempt.model) == ("cli", "m")
    assert (attempt.intended_at, attempt.started_at, attempt.finished_at) == (4.0, 5.0, 6.0)
    assert attempt.deadline == 77.5
    assert (attempt.ended, attempt.exit_code, attempt.signal) == (Ended.FAILED, 137, 9)
    assert (attempt.code, attempt.reason, attempt.pass_rate) == ("E201", "1 of 2 failed", 50.0)
    assert (attempt.input_tokens, attempt.output_tokens, attempt.cost_usd) == (10, 20, 0.5)


async def test_what_is_learnt_at_the_start_completes_the_intent(store, submit) -> None:
    run_id = (await submit(1)).run_id
    await store.journal.commit([AttemptIntended(run_id, 1, 1, 4.0, "token", "boot", "cli")])
    begun = AttemptBegun(run_id, 1, 1, 5.0, boot_id="next", argv_digest="a", prompt_hash="p")
    await store.journal.commit([begun])
    with store.reader() as reader:
        (attempt,) = reader.attempts(run_id, 1)
    assert (attempt.boot_id, attempt.argv_digest, attempt.prompt_hash) == ("next", "a", "p")


async def test_events_are_followed(store, submit, event) -> None:
    one, two = (await submit(1)).run_id, (await submit(1)).run_id
    for number in range(5):
        store.journal.add([event("sheet.started", one, number), event("sheet.failed", two, number)])
    await store.journal.commit([event("conductor.started", note="ä")])
    with store.reader() as reader:
        every = reader.events()
        assert [entry.seq for entry in every] == sorted(entry.seq for entry in every)
        assert (every[-1].kind, every[-1].run_id, every[-1].data) == (
            "conductor.started",
            0,
            {"note": "ä"},
        )
        mine = reader.events(one)
        assert [entry.sheet for entry in mine] == [0, 1, 2, 3, 4]
        assert {entry.kind for entry in mine} == {"sheet.started"}
        assert reader.events(one, after_seq=mine[2].seq) == mine[3:]
        assert reader.events(one, after_seq=mine[0].seq, limit=2) == mine[1:3]
        assert reader.events(after_seq=every[-1].seq) == []


async def test_status_has_the_keys_that_are_promised(store, submit) -> None:
    run_id = (await submit(2)).run_id
    await store.journal.commit(
        [
            RunSaved(run_id, JobStatus.RUNNING, 3.0, "1 of 2 done"),
            AttemptIntended(run_id, 1, 1, 3.0, "t", "b", "cli"),
            AttemptFinished(run_id, 1, 1, 4.0, Outcome(Ended.OK, exit_code=0)),
            SheetSaved(run_id, 1, S.IN_PROGRESS, 3.0, attempts=1),
            SheetSaved(run_id, 1, S.COMPLETED, 4.0, attempts=1),
        ]
    )
    with store.reader() as reader:
        status = reader.status(JobRef("hello"))
    assert json.loads(json.dumps(status)) == {
        "job_id": "hello",
        "run": 1,
        "status": "running",
        "interrupted": False,
        "reason": "1 of 2 done",
        "sheets_total": 2,
        "sheets_completed": 1,
        "sheets": [
            {
                "num": 1,
                "movement": 1,
                "status": "completed",
                "attempts": 1,
                "instrument": "cli",
                "exit_code": 0,
                "reason": "",
                "started_at": 3.0,
                "finished_at": 4.0,
                "so_far": None,
            },
            {
                "num": 2,
                "movement": 1,
                "status": "pending",
                "attempts": 0,
                "instrument": "cli",
                "exit_code": None,
                "reason": "",
                "started_at": None,
                "finished_at": None,
                "so_far": None,
            },
        ],
    }


async def test_recovery_gets_all_runs_that_are_not_over(store, submit) -> None:
    keys = {status: (await submit(2)).run_id for status in JobStatus}
    await store.journal.commit(
        [RunSaved(run_id, status, 2.0) for status, run_id in keys.items()]
        + [
            AttemptIntended(keys[JobStatus.RUNNING], 1, 1, 2.0, "old", "b", "cli"),
            AttemptFinished(keys[JobStatus.RUNNING], 1, 1, 2.0, Outcome(Ended.FAILED)),
            AttemptIntended(keys[JobStatus.RUNNING], 1, 2, 2.0, "open 1", "b", "cli"),
            AttemptIntended(keys[JobStatus.RUNNING], 2, 1, 2.0, "open 2", "b", "cli"),
        ]
    )
    with store.reader() as reader:
        found = reader.unfinished_runs()
    assert [item.run.status for item in found] == [s for s in JobStatus if not s.terminal]
    (running,) = (item for item in found if item.run.status is JobStatus.RUNNING)
    assert [attempt.token for attempt in running.open_attempts] == ["open 1", "open 2"]
    assert [sheet.num for sheet in running.sheets] == [1, 2]
    assert running.submission.score == "name: hello\n"


async def test_another_text_of_the_score_and_the_hooks(store, submit) -> None:
    run_id = (await submit(1)).run_id
    await store.journal.commit(
        [ScoreReplaced(run_id, "/b/new.yaml", "name: new\n"), HookResults(run_id, [{"ok": True}])]
    )
    with store.reader() as reader:
        run = reader.run(run_id)
        assert (run.score_path, run.workspace) == ("/b/new.yaml", "/song")
        assert reader.submission(run_id).score == "name: new\n"
        # The id stays with the file that had it first.
        assert reader.owned_job_id("/scores/hello.yaml") == "hello"
    await store.journal.commit([ScoreReplaced(run_id, "/b/new.yaml", "name: new\n", "/other")])
    with store.reader() as reader:
        assert reader.run(run_id).workspace == "/other"


async def test_a_snapshot_is_one_moment(store, submit) -> None:
    run_id = (await submit(1)).run_id
    with store.reader() as reader:
        with reader.snapshot():
            before = reader.run(run_id)
            await store.journal.commit([RunSaved(run_id, JobStatus.RUNNING, 2.0)])
            assert reader.run(run_id) == before
        assert reader.run(run_id).status is JobStatus.RUNNING


def test_fast_commands_stay_fast() -> None:
    code = (
        "import sys; import marianne_core.remember.queries, marianne_core.remember.lock;"
        "print([m for m in ('asyncio', 'pydantic', 'rich', 'structlog', 'dataclasses', 'hashlib')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": CORE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
