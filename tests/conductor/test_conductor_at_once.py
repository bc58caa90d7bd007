"""How many sheets run at once, which come first, and what a failure does to the others."""

from __future__ import annotations

import itertools

import pytest

from tests.conductor.house import House, Playing, settled, submit, until, watching

# Every sheet writes down how many run while it does.
_COUNTED = """
    mkdir -p running && mkdir running/{{ sheet_num }}
    sleep 0.05
    ls running | wc -l >> counts
    rmdir running/{{ sheet_num }}
    """

# A sheet that does not end before as many as `together` run, or run on, at once.
_TOGETHER = """
    touch here-{{ sheet_num }}
    until [ "$(ls here-* | wc -l)" -ge {{ together }} ]; do sleep 0.01; done
    """

_WIDE = "sheet: {{size: 1, total_items: 1, fan_out: {{1: {n}}}}}\n"


def _most(house: House) -> int:
    return max(int(line) for line in house.lines("counts"))


@pytest.mark.parametrize("parallel", ["", "parallel: {enabled: false, max_concurrent: 3}"])
async def test_without_parallel_one_sheet_runs_at_a_time(house: House, parallel: str) -> None:
    run = await house.play(house.score(_WIDE.format(n=4) + parallel, script=_COUNTED))
    assert run.status == "completed"
    assert house.lines("counts") == ["1"] * 4


async def test_max_concurrent_bounds_the_sheets_at_once(house: House) -> None:
    score = house.score(
        _WIDE.format(n=9) + "parallel: {enabled: true, max_concurrent: 3}", script=_COUNTED
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert len(house.lines("counts")) == 9
    assert _most(house) <= 3


async def test_max_concurrent_is_really_reached(house: House) -> None:
    text = _WIDE.format(n=3) + "parallel: {enabled: true, max_concurrent: 3}"
    score = house.score(text, script="{% set together = 3 %}" + _TOGETHER.strip())
    assert (await house.play(score)).status == "completed"


async def test_max_concurrent_holds_over_a_restart(house: House) -> None:
    score = house.score(
        _WIDE.format(n=6) + "parallel: {enabled: true, max_concurrent: 2}",
        script="""
        mkdir -p running && mkdir running/{{ sheet_num }}
        until [ -e go ]; do sleep 0.02; done
        sleep 0.05
        ls running | wc -l >> counts
        rmdir running/{{ sheet_num }}
        """,
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.started", times=2)
    async with house.conductor() as conductor:
        await until(lambda: len(house.processes()) > 0, "the sheets run")
        house.put("go")
        await settled(conductor)
    assert house.row().status == "completed"
    assert len(house.lines("counts")) == 6
    assert _most(house) <= 2


async def test_what_waits_for_a_slot_of_its_score_says_so(house: House) -> None:
    score = house.score(_WIDE.format(n=2), script="until [ -e go ]; do sleep 0.02; done")
    async with Playing(house, score) as song:
        await song.events.until("sheet.started")
        waiting = (await song.now()).sheet(2)
        assert waiting["status"] == "pending"
        assert "at once" in waiting["reason"]
        house.put("go")
        assert (await song.end()).status == "completed"


async def test_the_conductor_bounds_the_sheets_of_all_jobs(house: House) -> None:
    scores = [
        house.score(
            _WIDE.format(n=4) + "parallel: {enabled: true, max_concurrent: 4}",
            name=name,
            script=_COUNTED.replace("{{ sheet_num }}", f"{name}-{{{{ sheet_num }}}}"),
        )
        for name in ("one", "two")
    ]
    async with house.conductor(max_concurrent_sheets=2) as conductor:
        for score in scores:
            await submit(conductor, score)
        await settled(conductor)
    assert {row.status for row in house.rows()} == {"completed"}
    assert len(house.lines("counts")) == 8
    assert _most(house) <= 2


async def test_a_job_over_the_limit_of_jobs_is_queued_with_the_reason(house: House) -> None:
    script = "until [ -e go ]; do sleep 0.02; done"
    first = house.score("", script=script, name="first")
    second = house.score("", script=script, name="second")
    async with house.conductor(max_concurrent_jobs=1) as conductor, watching(conductor) as events:
        await submit(conductor, first)
        await events.until("sheet.started")
        await submit(conductor, second)
        queued = await house.run(conductor, "second")
        assert queued.status == "queued"
        assert "job slot" in queued.reason
        assert queued.statuses == ["pending"]
        house.put("go")
        await settled(conductor)
    assert {row.status for row in house.rows()} == {"completed"}


async def test_an_agent_runs_four_at_once_unless_its_profile_says_otherwise(house: House) -> None:
    house.instrument(
        'cli: {command: {executable: "{program}"}, output: {}}',
        name="agent",
        program="""
        mkdir -p running; mkdir running/$$
        sleep 0.05
        ls running | wc -l >> counts
        rmdir running/$$
        """,
    )
    score = house.score(
        "instrument: agent\n"
        + _WIDE.format(n=8)
        + "parallel: {enabled: true, max_concurrent: 8}\n",
        script="play",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert len(house.lines("counts")) == 8
    assert _most(house) <= 4


async def test_a_model_runs_as_often_at_once_as_its_profile_says(house: House) -> None:
    house.instrument(
        """
        models: [{name: small, context_window: 1000, cost_per_1k_input: 0, cost_per_1k_output: 0,
                  max_concurrent: 1}]
        default_model: small
        cli: {command: {executable: "{program}"}, output: {}}
        """,
        name="agent",
        program="mkdir running || exit 9; sleep 0.05; rmdir running",
    )
    score = house.score(
        "instrument: agent\n" + _WIDE.format(n=4) + "parallel: {enabled: true, max_concurrent: 4}",
        script="play",
    )
    assert (await house.play(score)).status == "completed"


async def test_a_slot_is_held_until_the_processes_are_gone(house: House) -> None:
    """The child of the first sheet ignores TERM, so it lives until the end of the grace."""
    score = house.score(
        "",
        sheets=2,
        script="""
        {% if sheet_num == 1 %}
        (trap '' TERM; echo $BASHPID > child; while :; do sleep 0.05; done) > /dev/null 2>&1 &
        until [ -s child ]; do sleep 0.01; done
        {% else %}
        if grep '^State:' /proc/$(cat child)/status | grep -v Z; then exit 5; fi
        {% endif %}
        """,
    )
    async with house.conductor(grace=0.5) as conductor:
        run = await house.play(score, conductor=conductor)
    assert run.statuses == ["completed", "completed"]


# --- fail_fast -----------------------------------------------------------------------------------

_ONE_FAILS = """
    {% if sheet_num == 1 %}
    until [ -e second-runs ]; do sleep 0.01; done
    exit 1
    {% elif sheet_num == 2 %}
    touch second-runs
    until [ -e go ]; do sleep 0.01; done
    touch second-ended
    {% else %}
    touch ran-{{ sheet_num }}
    {% endif %}
    """


async def test_fail_fast_starts_nothing_after_a_failure(house: House) -> None:
    score = house.score(
        _WIDE.format(n=5) + "parallel: {enabled: true, max_concurrent: 2, fail_fast: true}",
        script=_ONE_FAILS,
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.failed", sheet=1)
        house.put("go")
        run = await song.end()
    assert run.status == "failed"
    assert run.statuses == ["failed", "completed", "skipped", "skipped", "skipped"]
    assert house.wrote("second-ended")
    assert not any(house.wrote(f"ran-{num}") for num in (3, 4, 5))
    for num in (3, 4, 5):
        assert "sheet 1" in run.sheet(num)["reason"]


async def test_without_fail_fast_the_others_go_on(house: House) -> None:
    house.put("go")
    score = house.score(
        _WIDE.format(n=5) + "parallel: {enabled: true, max_concurrent: 2, fail_fast: false}",
        script=_ONE_FAILS,
    )
    run = await house.play(score)
    assert run.status == "failed"
    assert run.statuses == ["failed", *["completed"] * 4]


async def test_fail_fast_counts_only_with_parallel_enabled(house: House) -> None:
    score = house.score(
        _WIDE.format(n=3) + "parallel: {enabled: false, fail_fast: true}",
        script="[ {{ sheet_num }} -gt 1 ]",
    )
    run = await house.play(score)
    assert run.statuses == ["failed", "completed", "completed"]


async def test_a_retry_that_may_still_help_is_no_failure_for_fail_fast(house: House) -> None:
    score = house.score(
        _WIDE.format(n=3)
        + "parallel: {enabled: true, max_concurrent: 1, fail_fast: true}\n"
        + "retry: {max_retries: 1, base_delay_seconds: 0.02}",
        script="if [ {{ sheet_num }} = 1 ] && mkdir once; then exit 1; fi",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert run.tries == [2, 1, 1]


# --- pace ----------------------------------------------------------------------------------------


def _starts(house: House, job: str = "song") -> list[float]:
    return sorted(row.started_at or 0.0 for row in house.attempts(job=job))


async def test_stagger_keeps_starts_apart(house: House) -> None:
    score = house.score(
        _WIDE.format(n=4) + "parallel: {enabled: true, max_concurrent: 4, stagger_delay_ms: 150}",
        script="true",
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.started")
        waiting = (await song.now()).sheet(4)
        assert waiting["status"] == "pending"
        assert "stagger" in waiting["reason"]
        assert (await song.end()).status == "completed"
        await song.events.until("job.completed")
    told = [event.timestamp for event in song.events.seen if event.event == "sheet.started"]
    assert all(b - a > 0.14 for a, b in itertools.pairwise(told)), told
    starts = _starts(house)
    assert starts[-1] - starts[0] > 0.35, starts


async def test_without_stagger_sheets_start_together(house: House) -> None:
    text = _WIDE.format(n=4) + "parallel: {enabled: true, max_concurrent: 4}"
    await house.play(house.score(text, script="sleep 0.3"))
    starts = _starts(house)
    assert starts[-1] - starts[0] < 1.0


async def test_the_pause_between_sheets_is_none_unless_given(house: House) -> None:
    await house.play(house.score("", sheets=4, script="true"))
    rows = house.attempts()
    gaps = [(b.started_at or 0) - (a.finished_at or 0) for a, b in itertools.pairwise(rows)]
    assert max(gaps) < 0.9, gaps


async def test_a_pause_between_sheets_is_kept_and_shown(house: House) -> None:
    score = house.score("pause_between_sheets_seconds: 1", sheets=2, script="true")
    async with Playing(house, score) as song:
        await song.events.until("sheet.completed", sheet=1)
        assert "pause between sheets" in (await song.now()).sheet(2)["reason"]
        assert (await song.end()).status == "completed"
    first, second = house.attempts()
    assert 0.95 <= (second.started_at or 0) - (first.finished_at or 0) < 2.5


# --- who comes first -----------------------------------------------------------------------------


async def test_a_small_job_does_not_wait_for_the_end_of_a_large_one(house: House) -> None:
    wide = "parallel: {enabled: true, max_concurrent: 4}"
    script = "sleep 0.03"
    large = house.score(_WIDE.format(n=24) + wide, name="large", script=script)
    small = house.score(_WIDE.format(n=4) + wide, name="small", script=script)
    async with house.conductor(max_concurrent_sheets=2) as conductor, watching(conductor) as events:
        await submit(conductor, large)
        await submit(conductor, small)
        await settled(conductor)
        await events.until("job.completed", times=2)
    order = [event.job_id for event in events.seen if event.event == "sheet.started"]
    assert len(order) == 28
    last_of_small = max(place for place, job in enumerate(order) if job == "small")
    assert last_of_small < 16, order


async def test_an_idle_job_leaves_its_share_to_the_others(house: House) -> None:
    """A job whose only sheet waits for a retry keeps no slot free for itself."""
    wide = "parallel: {enabled: true, max_concurrent: 4}\n"
    idle = house.score(
        "retry: {max_retries: 1, base_delay_seconds: 60, jitter: false}",
        name="idle",
        script="false",
    )
    busy = house.score(
        _WIDE.format(n=2) + wide, name="busy", script="{% set together = 2 %}" + _TOGETHER.strip()
    )
    async with house.conductor(max_concurrent_sheets=2) as conductor, watching(conductor) as events:
        await submit(conductor, idle)
        await events.until("sheet.retrying")
        await submit(conductor, busy)
        await events.until("job.completed")
        await conductor.cancel("idle")
    assert house.row("busy").status == "completed"


async def test_the_critical_path_goes_first(house: House) -> None:
    score = house.score(
        """
        sheet:
          size: 1
          total_items: 7
          dependencies: {5: [4], 6: [5], 7: [6]}
        """,
        script="echo {{ sheet_num }} >> order",
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert house.lines("order")[0] == "4"
