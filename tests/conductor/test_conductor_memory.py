"""What is remembered of a run: events, attempts, validations, in the order in which they happened."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Sequence

import pytest

from marianne_core.model.events import Event
from marianne_core.remember.changes import AttemptFinished, Change, Sync
from marianne_core.remember.journal import Journal
from marianne_core.run.launcher import Launcher, LaunchSpec, Shim
from marianne_core.run.warm import Warm
from tests.conductor.house import House, Playing, settled, submit, watching

_EVENTFUL = """
    sheet:
      size: 1
      total_items: 5
      dependencies: {2: [1], 3: [2], 5: [1]}
      skip_when_command: {5: {command: "true", description: not today}}
    retry: {max_retries: 1, base_delay_seconds: 0.02, max_completion_attempts: 0}
    validations: [{type: file_exists, path: "made-{sheet_num}", retry_count: 0}]
    """

_EVENTFUL_SCRIPT = """
    {% if sheet_num == 1 %}
    mkdir once && exit 1; touch made-1
    {% elif sheet_num == 2 %}
    true
    {% else %}
    touch made-{{ sheet_num }}
    {% endif %}
    """


async def _eventful(house: House) -> list[Event]:
    score = house.score(_EVENTFUL, script=_EVENTFUL_SCRIPT)
    async with house.conductor() as conductor, watching(conductor) as events:
        run = await house.play(score, conductor=conductor)
        assert run.statuses == ["completed", "failed", "skipped", "completed", "skipped"]
        await events.until("job.failed")
        return events.seen


async def test_the_journal_holds_every_event_that_was_shown(house: House) -> None:
    seen = await _eventful(house)
    stored = house.journal()
    assert [(e.event, e.sheet_num, e.data) for e in seen] == [
        (row.kind, row.sheet, row.data) for row in stored
    ]
    assert [row.seq for row in stored] == sorted({row.seq for row in stored})
    assert all(a.time <= b.time for a, b in itertools.pairwise(stored))


async def test_every_change_of_a_sheet_is_an_event(house: House) -> None:
    await _eventful(house)
    assert house.kinds(1) == [
        "sheet.started", "sheet.retrying", "sheet.started", "sheet.completed",
    ]  # fmt: skip
    assert house.kinds(2) == ["sheet.started", "sheet.retrying", "sheet.started", "sheet.failed"]
    assert house.kinds(3) == ["sheet.skipped"]
    assert house.kinds(4) == ["sheet.started", "sheet.completed"]
    assert house.kinds(5) == ["sheet.skipped"]
    assert house.kinds(0) == ["job.submitted", "job.started", "job.failed"]


async def test_every_event_that_needs_one_has_a_reason(house: House) -> None:
    for event in await _eventful(house):
        if event.event in ("sheet.retrying", "sheet.failed", "sheet.skipped", "job.failed"):
            assert event.data["reason"], event
        if event.event == "sheet.retrying":
            assert event.data["until"] >= event.timestamp - 0.001
        if event.event in ("sheet.failed", "sheet.retrying"):
            assert event.data["error_code"], event
            assert event.data["success"] is False
        if event.event == "sheet.completed":
            assert event.data["success"] is True
            assert event.data["exit_code"] == 0
        if event.event == "sheet.started":
            assert event.data["instrument"] == "cli"
            assert event.data["attempt"] >= 1


async def test_what_did_not_succeed_is_not_told_as_a_success(house: House) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 1, skip_when_command: {1: {command: 'false'}}}",
        script="touch up; sleep 60",
    )
    async with Playing(house, score) as song:
        await house.appears("up")
        os.kill(house.shims()[0], signal.SIGKILL)
        await song.events.until("sheet.pending")
        (house.workspace / "up").unlink()
        await house.appears("up")
        await song.conductor.cancel("song")
        await song.events.until("sheet.cancelled")
    lost, cancelled = (
        next(event.data for event in song.events.seen if event.event == name)
        for name in ("sheet.pending", "sheet.cancelled")
    )
    for data in (lost, cancelled):
        assert data["success"] is False
        assert "pass_rate" not in data
    again = [event.data for event in song.events.seen if event.event == "sheet.started"][1]
    assert again == {"status": "in_progress", "attempt": 2, "instrument": "cli"}


async def test_a_skip_is_a_success_and_a_partial_pass_is_none(house: House) -> None:
    half = (
        "validations: [{type: file_exists, path: a}, {type: file_exists, path: b, retry_count: 0}]"
    )
    seen = [*await _eventful(house)]
    skipped = [e for e in seen if e.event == "sheet.skipped" and "not today" in e.data["reason"]]
    assert [e.data["success"] for e in skipped] == [True]
    async with Playing(house, house.score(half, script="touch a", name="half")) as song:
        await song.end()
        failed = (await song.events.until("sheet.failed")).data
    assert (failed["success"], failed["pass_rate"]) == (False, 50.0)


async def test_results_are_asked_to_be_on_the_disk_soon(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sync] = []
    add = Journal.add

    def spying(self: Journal, rows: Sequence[Change], *, sync: Sync = Sync.WRITE) -> None:
        asked.extend(sync for row in rows if isinstance(row, AttemptFinished))
        add(self, rows, sync=sync)

    monkeypatch.setattr(Journal, "add", spying)
    await house.play(house.score("", sheets=3, script="exit {{ 2 - sheet_num }}"))
    assert asked
    assert min(asked) >= Sync.LAZY


async def test_events_of_one_job_do_not_tell_of_others(house: House) -> None:
    scores = [house.score("", script="true", name=name) for name in ("one", "two")]
    async with house.conductor() as conductor, watching(conductor, "one") as events:
        for score in scores:
            await submit(conductor, score)
        await settled(conductor)
        await events.until("job.completed")
    assert {event.job_id for event in events.seen} == {"one"}


async def test_attempts_are_counted_and_kept_alike(house: House) -> None:
    seen = await _eventful(house)
    assert seen
    async with house.conductor() as conductor:
        run = await house.run(conductor)
    assert run.tries[:4] == [2, 2, 0, 1]
    assert run.tries[4] == len(house.attempts(5))
    for sheet in run.picture["sheets"][:4]:
        assert sheet["attempts"] == len(house.attempts(sheet["num"]))
        if sheet["attempts"]:
            assert sheet["started_at"] <= sheet["finished_at"]
    for attempt in house.attempts():
        assert attempt.intended_at <= (attempt.started_at or 0) <= (attempt.finished_at or 0)
        assert attempt.token
        assert attempt.argv_digest
        assert attempt.prompt_hash
        assert attempt.ended
    assert len({attempt.token for attempt in house.attempts()}) == len(house.attempts())


async def test_an_attempt_that_could_not_start_is_remembered_too(house: House) -> None:
    """`mzt history` and `mzt errors` must be able to show it: code and reason."""
    house.instrument("cli: {command: {executable: no-such-program-x}, output: {}}", name="ghost")
    run = await house.play(house.score("instrument: ghost", script="work"))
    assert run.tries == [1]
    (attempt,) = house.attempts(1)
    assert attempt.ended == "failed"
    assert attempt.code == "E505"
    assert "no-such-program-x" in attempt.reason
    assert attempt.finished_at is not None


async def test_the_counters_of_a_run_are_right(house: House) -> None:
    await _eventful(house)
    row = house.row()
    assert (row.sheets_total, row.completed, row.failed, row.skipped) == (5, 2, 1, 2)
    assert row.submitted_at <= (row.started_at or 0) <= (row.finished_at or 0)


async def test_the_status_has_the_promised_keys(house: House) -> None:
    run = await house.play(house.score("", sheets=2, script="true"))
    assert set(run.picture) >= {
        "job_id", "run", "status", "reason", "sheets_total", "sheets_completed", "sheets",
    }  # fmt: skip
    assert run.picture["sheets_total"] == run.picture["sheets_completed"] == 2
    assert set(run.sheet(1)) >= {
        "num", "movement", "status", "attempts", "instrument", "exit_code", "reason",
        "started_at", "finished_at",
    }  # fmt: skip
    assert run.sheet(1)["instrument"] == "cli"
    assert run.sheet(2)["movement"] == 2


async def test_a_wide_job_is_remembered_whole(house: House) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 1, fan_out: {1: 120}}\n"
        "parallel: {enabled: true, max_concurrent: 8}",
        script="echo {{ sheet_num }} >> order",
    )
    async with house.conductor() as conductor, watching(conductor) as events:
        run = await house.play(score, conductor=conductor)
        await events.until("job.completed")
    assert run.status == "completed"
    assert sorted(map(int, house.lines("order"))) == list(range(1, 121))
    assert run.tries == [1] * 120
    assert len(house.attempts()) == 120
    assert sum(event.event == "sheet.started" for event in events.seen) == 120


async def test_intents_are_written_before_anything_is_started(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every launch the row of the attempt is in the store already."""
    plain, ordered = Launcher.start, Warm.launch
    known: list[bool] = []

    async def start(self: Launcher, spec: LaunchSpec) -> Shim:
        known.append(spec.token in house.intents())
        return await plain(self, spec)

    def order(self: Warm, spec: LaunchSpec) -> Shim | None:
        shim = ordered(self, spec)
        if shim is not None:
            known.append(spec.token in house.intents())
        return shim

    monkeypatch.setattr(Launcher, "start", start)
    monkeypatch.setattr(Warm, "launch", order)
    score = house.score(
        "sheet: {size: 1, total_items: 1, fan_out: {1: 6}}\n"
        "parallel: {enabled: true, max_concurrent: 3}",
        script="true",
    )
    assert (await house.play(score)).status == "completed"
    assert known == [True] * 6


async def test_a_cancelled_job_leaves_no_attempt_open(house: House) -> None:
    score = house.score(
        "sheet: {size: 1, total_items: 1, fan_out: {1: 12}}\n"
        "parallel: {enabled: true, max_concurrent: 2}",
        script="touch up; sleep 60",
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.started", times=2)
        await song.conductor.cancel("song")
        run = await song.now()
    assert [len(house.attempts(sheet["num"])) for sheet in run.picture["sheets"]] == run.tries
