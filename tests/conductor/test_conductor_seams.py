"""Whatever raises inside, at whatever seam: the sheet ends with a reason, and its tree is gone.

A program error is simulated by a part that raises what nobody expects. The other sheets, the other
jobs and the next conductor must not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from marianne_core.run import conclusion as conclusion_module
from marianne_core.run import ensemble as ensemble_module
from marianne_core.run import musician as musician_module
from marianne_core.run.launcher import Launcher
from marianne_core.run.musician import Musician
from marianne_core.run.tree import Tree
from marianne_core.run.validate.validator import Validator
from marianne_core.run.waiter import Waiter
from tests.conductor.house import House, Playing, Run, settled, submit

WORD = "the roof fell in"

_RULES = "validations: [{type: file_exists, path: made}]\n"
_SKIPS = 'sheet: {size: 1, total_items: 1, skip_when_command: {1: {command: "false"}}}\n'


def _raising(*args: object, **kwargs: object) -> NoReturn:
    raise RuntimeError(WORD)


async def _raising_later(*args: object, **kwargs: object) -> NoReturn:
    await asyncio.sleep(0)
    raise RuntimeError(WORD)


def _failed_with_reason(run: Run) -> None:
    assert run.status == "failed"
    assert run.statuses == ["failed"]
    assert WORD in run.sheet(1)["reason"]


@pytest.mark.parametrize(
    ("where", "name", "part"),
    [
        (musician_module, "build_prompt", _raising),
        (musician_module, "build_invocation", _raising),
        (ensemble_module, "resolve_program", _raising),
        (musician_module, "rules_for", _raising),
        (musician_module, "take_baseline", _raising),
        (musician_module, "reason_to_skip", _raising_later),
        (conclusion_module, "read_end", _raising),
        (conclusion_module, "outcome_of", _raising),
        (conclusion_module, "with_report", _raising),
        (Launcher, "start", _raising_later),
        (Waiter, "exited", _raising),
        (Validator, "validate", _raising_later),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_part_that_raises_fails_the_sheet_with_the_reason(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    name: str,
    part: Callable[..., Any],
) -> None:
    score = house.score(_RULES + _SKIPS, script="(setsid sleep 91 &); touch made; sleep 0.1")
    async with house.conductor() as conductor:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, part)
            await submit(conductor, score)
            await settled(conductor)
        run = await house.run(conductor)
        _failed_with_reason(run)
        assert house.processes() == {}
        for attempt in house.attempts(1):
            assert attempt.ended == "failed"
            assert attempt.code == "E999"
        # The conductor itself is as good as before.
        assert (await house.play(score, conductor=conductor)).status == "completed"


@pytest.mark.parametrize("error", [KeyError("k"), OSError(5, "Input/output error"), MemoryError()])
async def test_any_kind_of_exception_counts(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def validate(*args: object, **kwargs: object) -> NoReturn:
        raise error

    monkeypatch.setattr(Validator, "validate", validate)
    run = await house.play(house.score(_RULES, script="touch made"))
    assert run.statuses == ["failed"]
    assert type(error).__name__ in run.sheet(1)["reason"] or str(error) in run.sheet(1)["reason"]


async def test_a_failure_while_the_child_lives_ends_the_child(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def exited(*args: object, **kwargs: object) -> NoReturn:
        await house.appears("up")
        raise RuntimeError(WORD)

    monkeypatch.setattr(Waiter, "exited", exited)
    score = house.score(
        "", script="trap '' TERM; (setsid sleep 92 &); touch up; sleep 93; sleep 94"
    )
    run = await house.play(score)
    _failed_with_reason(run)
    assert house.processes() == {}


async def test_a_tree_that_cannot_be_listed_does_not_hold_the_sheet(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two faults at once: the attempt fails, and so does the ending of what is left of it."""
    score = house.score(_RULES, script="touch made")
    async with house.conductor() as conductor:
        with monkeypatch.context() as patch:
            patch.setattr(Validator, "validate", _raising_later)
            patch.setattr(Tree, "end", _raising_later)
            patch.setattr(Musician, "make_sure_it_is_over", _raising_later)
            await submit(conductor, score)
            await settled(conductor)
        run = await house.run(conductor)
    _failed_with_reason(run)


async def test_a_retry_is_not_wasted_on_a_program_error(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Validator, "validate", _raising_later)
    score = house.score(
        _RULES + "retry: {max_retries: 1, base_delay_seconds: 0.02}", script="touch made"
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.failed", "sheet.retrying")
        run = await song.now()
        if run.status.active:  # E999 may be tried again; it waits at least 30 s then
            assert run.sheet(1)["status"] == "retry_scheduled"
            await song.conductor.cancel("song")
    assert len(house.attempts(1)) == 1


async def test_the_dependents_of_such_a_sheet_are_blocked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Launcher.start
    calls: list[object] = []

    async def start(self: Launcher, spec: Any) -> Any:
        calls.append(spec)
        if len(calls) == 1:
            raise RuntimeError(WORD)
        return await plain(self, spec)

    monkeypatch.setattr(Launcher, "start", start)
    score = house.score(
        "sheet: {size: 1, total_items: 3, dependencies: {2: [1]}}", script="touch made"
    )
    run = await house.play(score)
    assert run.statuses == ["failed", "skipped", "completed"]
    assert "blocked by sheet 1" in run.sheet(2)["reason"]


async def test_an_event_reader_that_raises_disturbs_nobody(house: House) -> None:
    async with house.conductor() as conductor:
        conductor.bus.subscribe_callback(_raising)
        run = await house.play(house.score("", sheets=3, script="true"), conductor=conductor)
    assert run.status == "completed"


async def test_a_reader_that_never_reads_disturbs_nobody(house: House) -> None:
    text = "sheet: {size: 1, total_items: 1, fan_out: {1: 30}}\nparallel: {enabled: true}"
    async with house.conductor() as conductor:
        await conductor.events()
        run = await house.play(house.score(text, script="true"), conductor=conductor)
    assert run.status == "completed"


# --- templates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "{{ previous_outputs[7] }}",
        "{{ 1 / (sheet_num - 2) }}",
        "{{ [].pop() if sheet_num == 2 else '' }}",
        "{% if sheet_num == 2 %}{{ previous_outputs[1].nothing.at_all }}{% endif %}",
        "{% if sheet_num == 2 %}{% for n in range(99999999) %}x{% endfor %}{% endif %}",
        "{% if sheet_num == 2 %}{{ 'x' * 999999999 }}{% endif %}",
    ],
)
async def test_a_template_that_fails_while_the_job_runs_ends_its_sheet(
    house: House, template: str
) -> None:
    score = house.score(
        "cross_sheet: {auto_capture_stdout: true}", sheets=3, script=f": {template}\necho fine"
    )
    async with house.conductor() as conductor:
        from marianne_core.model.requests import SubmitRequest

        reply = await conductor.submit(SubmitRequest(str(score)))
        if reply.status == "rejected":  # certain to fail, and seen before anything started
            assert reply.exit_code == 2
            assert house.rows() == []
            return
        await settled(conductor)
        run = await house.run(conductor)
    assert run.status == "failed"
    assert "in_progress" not in run.statuses
    assert "failed" in run.statuses
    failed = run.sheet(run.statuses.index("failed") + 1)
    assert failed["reason"]
    assert "Traceback" not in failed["reason"]


async def test_a_template_file_that_vanishes_while_the_job_runs(house: House) -> None:
    (house.root / "play.j2").write_text("touch up; until [ -e go ]; do sleep 0.02; done")
    score = house.score("prompt: {template_file: play.j2}", sheets=2)
    async with Playing(house, score) as song:
        await house.appears("up")
        (house.root / "play.j2").unlink()
        house.put("go")
        run = await song.end()
    assert not run.status.active
    assert run.sheet(1)["status"] == "completed"


async def test_a_template_file_that_vanishes_before_a_restart(house: House) -> None:
    (house.root / "play.j2").write_text("touch up; until [ -e go ]; do sleep 0.02; done")
    score = house.score("prompt: {template_file: play.j2}", sheets=2)
    async with Playing(house, score):
        await house.appears("up")
    (house.root / "play.j2").unlink()
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
        run = await house.run(conductor)
    assert "in_progress" not in run.statuses
    if run.status != "completed":
        assert run.reason
        assert "Traceback" not in run.reason


async def test_an_instrument_that_vanishes_before_a_restart(house: House) -> None:
    house.instrument(
        'raw_prompt: true\ncli: {command: {executable: bash, prompt_flag: "-c", prompt_via_stdin: false}, output: {}}',
        name="own",
    )
    score = house.score(
        "instrument: own", sheets=2, script="touch up; until [ -e go ]; do sleep 0.02; done"
    )
    async with Playing(house, score):
        await house.appears("up")
    (house.instruments / "own.yaml").unlink()
    house.put("go")
    async with house.conductor() as conductor:
        await settled(conductor)
        run = await house.run(conductor)
        while "in_progress" in run.statuses:
            await asyncio.sleep(0.01)
            run = await house.run(conductor)
    assert run.status != "completed"
    assert "own" in run.reason + str(run.picture["sheets"])
    # With the instrument back, a person can go on.
    house.instrument(
        'raw_prompt: true\ncli: {command: {executable: bash, prompt_flag: "-c", prompt_via_stdin: false}, output: {}}',
        name="own",
    )
    async with house.conductor() as conductor:
        if run.status == "paused":
            await conductor.resume("song")
        else:
            await conductor.retry("song")
        await settled(conductor)
    assert house.row().status == "completed"
