"""Rate limits, met by real processes: parked, stored, shown, lifted, and no retry charged."""

from __future__ import annotations

from tests.conductor.house import House, Playing, settled, submit

PROFILE = """
cli:
  command: {executable: "{program}", model_flag: --model}
  errors: {rate_limit_patterns: [rate limit]}
"""

REFUSED_ONCE = """
echo try >> tries
[ -e answered ] && { echo the answer; exit 0; }
touch answered
echo "rate limit: please retry in $(cat wait)" >&2
exit 1
"""

PIECE = "instrument: singer"
TWO = f"{PIECE}\nsheet: {{size: 1, total_items: 2, dependencies: {{1: []}}}}"


def _waits(house: House, how_long: str) -> None:
    house.put("wait", how_long)


async def test_it_waits_as_long_as_told_and_charges_no_retry(house: House) -> None:
    house.instrument(PROFILE, name="singer", program=REFUSED_ONCE)
    _waits(house, "0.2s")
    run = await house.play(house.score(PIECE, script="sing"))
    assert run.statuses == ["completed"]
    first, second = house.attempts(1)
    assert (first.ended, first.code, second.ended) == ("failed", "E102", "ok")
    assert second.started_at - first.finished_at >= 0.9
    (row,) = house.sheet_rows()
    assert (row.attempts, row.retries_used, row.waits_used) == (2, 0, 1)
    assert house.kinds(1) == ["sheet.started", "sheet.waiting", "sheet.started", "sheet.completed"]
    (event,) = [event for event in house.journal() if event.kind == "rate_limit.active"]
    assert event.data["instrument"] == "singer"
    assert event.data["until"] - event.time >= 0.9
    assert "parked until" in event.data["reason"]


async def test_what_waits_says_until_when_and_a_person_lifts_it(house: House) -> None:
    house.instrument(PROFILE, name="singer", program=REFUSED_ONCE)
    _waits(house, "2 hours")
    async with Playing(house, house.score(TWO, script="sing")) as song:
        await song.events.until("sheet.waiting", sheet=1)
        run = await song.now()
        for sheet in (run.sheet(1), run.sheet(2)):
            assert "rate limit of singer: parked until " in sheet["reason"]
        assert run.sheet(1)["status"] == "waiting"
        (limit,) = await song.conductor.rate_limits()
        assert (limit["instrument"], limit["model"]) == ("singer", None)
        assert 7190 < limit["seconds_remaining"] <= 7200
        assert await song.conductor.clear_rate_limits("nobody") == 0
        assert await song.conductor.clear_rate_limits("singer") == 1
        assert (await song.end()).statuses == ["completed", "completed"]
        assert await song.conductor.rate_limits() == []
        assert await song.conductor.clear_rate_limits() == 0
    assert "rate_limit.cleared" in [event.kind for event in house.journal()]


async def test_only_the_model_that_is_used_up_is_parked(house: House) -> None:
    house.instrument(
        PROFILE,
        name="singer",
        program="""
        [ "$2" = small ] && { echo the answer; exit 0; }
        echo "rate limit: resets in 3 hours"
        exit 1
        """,
    )
    big = house.score(PIECE + "\ninstrument_config: {model: big}", script="sing", name="big")
    small = house.score(PIECE + "\ninstrument_config: {model: small}", script="sing", name="small")
    async with Playing(house, big) as song:
        await song.events.until("sheet.waiting")
        await submit(song.conductor, small)
        await song.events.until("job.completed")
        run = await song.now()
        assert run.sheet(1)["status"] == "waiting"
        assert "rate limit of singer/big" in run.sheet(1)["reason"]
        await song.conductor.cancel("big")


async def test_the_next_conductor_knows_of_it(house: House) -> None:
    house.instrument(PROFILE, name="singer", program=REFUSED_ONCE)
    _waits(house, "2 hours")
    async with Playing(house, house.score(PIECE, script="sing")) as song:
        await song.events.until("sheet.waiting")
    async with house.conductor() as conductor:
        run = await house.run(conductor)
        assert run.sheet(1)["status"] == "waiting"
        assert "parked until" in run.sheet(1)["reason"]
        assert len(house.lines("tries")) == 1
        await conductor.clear_rate_limits()
        await settled(conductor)
    (row,) = house.sheet_rows()
    assert (row.status, row.attempts, row.waits_used) == ("completed", 2, 1)


async def test_it_is_not_waited_for_longer_than_the_score_allows(house: House) -> None:
    house.instrument(
        PROFILE, name="singer", program="echo try >> tries; echo rate limit: retry in 1s; exit 1"
    )
    piece = f"{PIECE}\nrate_limit: {{max_waits: 1}}"
    run = await house.play(house.score(piece, script="sing"))
    assert run.statuses == ["failed"]
    assert len(house.lines("tries")) == 2
    assert "after 1 waits for its end" in run.sheet(1)["reason"]
    assert house.attempts(1)[-1].code == "E102"


async def test_what_it_waited_for_is_not_skipped_as_if_it_had_not_been_tried(house: House) -> None:
    """A refused agent may have done half of its work."""
    house.instrument(PROFILE, name="singer", program="touch half; " + REFUSED_ONCE)
    _waits(house, "0.2s")
    piece = f"{PIECE}\nsheet: {{size: 1, total_items: 1, skip_when_command: {{1: {{command: test -e half}}}}}}"
    run = await house.play(house.score(piece, script="sing"))
    assert run.statuses == ["completed"]


async def test_a_limit_of_long_ago_is_over(house: House) -> None:
    """The time counts from when it was printed, not from when somebody reads it."""
    house.instrument(
        PROFILE,
        name="singer",
        program="""
        [ -e answered ] && { echo the answer; exit 0; }
        touch answered
        echo "rate limit: please retry in 30 minutes" >&2
        touch -d '-1 hour' /proc/self/fd/2 /proc/self/fd/1
        exit 1
        """,
    )
    run = await house.play(house.score(PIECE, script="sing"))
    assert run.statuses == ["completed"]


async def test_other_jobs_are_told_why_nothing_of_them_starts(house: House) -> None:
    """Who follows a job that never met the limit must not wonder for hours."""
    house.instrument(PROFILE, name="singer", program="echo rate limit: retry in 2 hours; exit 1")
    big, small = (f"{PIECE}\ninstrument_config: {{model: {size}}}" for size in ("big", "small"))
    async with Playing(house, house.score(big, script="sing")) as song:
        await song.events.until("rate_limit.active")
        await submit(song.conductor, house.score(big, script="sing", name="later"))
        await submit(song.conductor, house.score(small, script="sing", name="other"))
        await song.events.until("rate_limit.active", times=3)
        for job in ("song", "later", "other"):
            await song.conductor.cancel(job)
        told = [(e.event.removeprefix("rate_limit."), e.job_id) for e in song.events.seen]
    assert [each for each in told if each[0] == "active"] == [
        ("active", "song"),
        ("active", "later"),
        ("active", "other"),
    ]
    (event,) = [e for e in house.journal("later") if e.kind == "rate_limit.active"]
    assert (event.data["instrument"], event.data["model"]) == ("singer", "big")
    assert "retry in 2 hours" in event.data["reason"]


async def test_what_ran_before_the_limit_was_met_is_told_too(house: House) -> None:
    house.instrument(
        PROFILE,
        name="singer",
        program="""
        case "$* $(cat)" in
        *linger*) until [ -e go ]; do sleep 0.01; done ;;
        *) echo rate limit: retry in 2 hours; exit 1 ;;
        esac
        """,
    )
    async with Playing(house, house.score(PIECE, script="linger")) as song:
        await song.events.until("sheet.started")
        await submit(song.conductor, house.score(PIECE, script="sing", name="later"))
        await song.events.until("rate_limit.active", times=2)
        await song.conductor.clear_rate_limits("singer")
        await song.events.until("rate_limit.cleared", times=2)
        house.put("go", "")
        await song.events.until("job.completed")
        await song.conductor.cancel("later")
    for job in ("song", "later"):
        kinds = [e.kind for e in house.journal(job) if e.kind.startswith("rate_limit")]
        assert kinds[:2] == ["rate_limit.active", "rate_limit.cleared"]
