"""The real programs play whole turns under the real conductor, against a stand-in for their service.

Left out unless asked for: `pytest -m real_cli` (see docs/instruments.md).
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marianne_core.model.output import OutputRequest
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import AttemptRow
from tests.conductor.house import submit
from tests.real_cli.agents import AGENTS, Agent, folder
from tests.real_cli.stage import Stage, until
from tests.real_cli.stand_in import StandIn
from tests.real_cli.table import PROPERTY
from tests.real_cli.turns import LIMIT, LIMIT_SECONDS, READ, WRITTEN, Say, Stream, Turn, WriteFile

pytestmark = pytest.mark.real_cli

_UNTOLD = 3600.0
"""Seconds for which a limit is taken to hold that does not say so: what a score says by default."""

_SOON = 20
"""Timeout in seconds of a sheet whose program tries for ever."""


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.instrument)
def agent(request: pytest.FixtureRequest) -> Agent:
    """A program that is there."""
    wanted: Agent = request.param
    case = request.node.originalname
    version = wanted.version if wanted.installed else ""
    request.node.user_properties.append((PROPERTY, [wanted.instrument, case, version]))
    if not wanted.installed:
        pytest.skip(f"{wanted.executable} is not in {folder()}: run tests/real_cli/install.sh")
    return wanted


@pytest.fixture
def stage(agent: Agent, tmp_path: Path) -> Iterator[Stage]:
    """Where the program plays; what it leaves behind is a fault."""
    made = Stage(tmp_path, agent)
    yield made
    assert made.tidy() == []


@contextmanager
def service(stage: Stage, *turns: Turn) -> Iterator[StandIn]:
    """A stand-in that the stage's program uses."""
    with StandIn(*turns, without_tools=stage.agent.without_tools) as stand_in:
        stage.point_at(stand_in.url)
        yield stand_in
    assert stand_in.faults == []


async def _in_vain(stage: Stage, case: str) -> AttemptRow:
    """Play a turn that its service does not answer; the attempt."""
    for_ever = case in stage.agent.asks_for_ever
    attempt = await stage.perform(stage.piece(timeout=_SOON if for_ever else 170))
    assert attempt.ended == ("timeout" if for_ever else "failed"), attempt.reason
    assert attempt.input_tokens in (None, 0)
    return attempt


async def test_plain(stage: Stage) -> None:
    with service(stage, Say()) as stand_in, stage.host(stage.piece()) as mzt:
        await until(lambda: mzt.poll() is not None, "mzt run ends")
    said = (stage.root / "mzt.out").read_text()
    assert mzt.returncode == 0, f"{said}\n{stand_in.calls}"
    assert stand_in.played == 1
    attempt = stage.attempt()
    assert (attempt.ended, attempt.input_tokens, attempt.output_tokens) == ("ok", READ, WRITTEN)
    assert attempt.cost_usd == pytest.approx(stage.agent.cost)
    stage.record("plain")


async def test_writes(stage: Stage) -> None:
    path = stage.workspace / "made.txt"
    score = stage.piece("[{type: file_exists, path: made.txt}]")
    with service(stage, WriteFile(str(path), "made by an agent"), Say()) as stand_in:
        attempt = await stage.perform(score)
    assert attempt.ended == "ok", f"{attempt.reason}\n{stage.output()[-2000:]}"
    assert attempt.pass_rate == 100, f"{stand_in.calls}\n{stage.output()[-3000:]}"
    assert path.read_text().strip() == "made by an agent"
    assert (attempt.input_tokens, attempt.output_tokens) == (
        READ * stand_in.played,
        WRITTEN * stand_in.played,
    )
    stage.record("write")


async def test_limit(stage: Stage) -> None:
    """It waits as long as the service says, and then goes on; that costs no retry."""
    with service(stage, LIMIT) as stand_in:
        async with stage.conductor() as conductor:
            await submit(conductor, stage.piece())
            await until(lambda: stage.sheet_rows()[0].status == "waiting", "it was refused")
            (limit,) = await conductor.rate_limits()
            stand_in.answer_with(Say())
            assert await conductor.clear_rate_limits() == 1
            await stage.settle(conductor)
    refused, answered = stage.attempts()
    assert (refused.ended, refused.code) == ("failed", "E102"), refused.reason
    wanted = LIMIT_SECONDS if stage.agent.passes_on_waits else _UNTOLD
    # It counts from when it was printed; some programs take their time to leave after that.
    assert wanted - 20.0 < limit["until"] - limit["told_at"] < wanted + 1.0
    assert limit["instrument"] == stage.agent.instrument
    assert answered.ended == "ok", answered.reason
    (sheet,) = stage.sheet_rows()
    assert (sheet.retries_used, sheet.waits_used) == (0, 1)
    stage.record("limit")


async def test_overload(stage: Stage) -> None:
    with service(stage, stage.agent.overload):
        attempt = await _in_vain(stage, "overload")
    assert attempt.code == "E103", attempt.reason
    stage.record("overload")


async def test_refused(stage: Stage) -> None:
    with socket.socket() as nobody:  # bound and not listening: every connection is refused
        nobody.bind(("127.0.0.1", 0))
        stage.point_at(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        attempt = await _in_vain(stage, "refused")
    assert attempt.code == "E901", attempt.reason
    stage.record("refused")


async def test_cancel(stage: Stage) -> None:
    with service(stage, Stream()) as stand_in:
        async with stage.conductor() as conductor:
            await submit(conductor, stage.piece())
            await until(lambda: stand_in.played, "the program asks its model")
            assert stage.processes() != {}
            await conductor.cancel("song")
            await stage.settle(conductor)
        assert stage.processes() == {}
    assert stage.row().status == "cancelled"
    assert stage.attempt().ended == "cancelled"


async def test_output_grows(stage: Stage) -> None:
    """What was done stands there while the agent goes on; without tools that is only its greeting."""
    path = stage.workspace / "made.txt"
    slow = Stream()
    write: tuple[Turn, ...] = (WriteFile(str(path), "made by an agent"),)
    done = "made.txt"
    if stage.agent.without_tools is not None:
        write, done = (), stage.agent.version
    with service(stage, *write, slow) as stand_in:
        async with stage.conductor() as conductor:
            await submit(conductor, stage.piece())
            await until(lambda: stand_in.played > len(write), "the program is in mid-turn")
            await until(lambda: done in stage.output(), "its output tells what it did")
            shown = await conductor.output(OutputRequest("song", 1, offset=0))
            assert done in shown.piece.text
            before = len(stage.output())
            assert (await stage.run(conductor)).status == "running"
            slow.enough.set()
            await stage.settle(conductor)
    assert stage.attempt().ended == "ok", stage.attempt().reason
    assert len(stage.output()) > before


async def test_adopted(stage: Stage) -> None:
    slow = Stream()
    with service(stage, slow) as stand_in:
        with stage.host(stage.piece()) as mzt:
            await until(lambda: stand_in.played, "the program asks its model")
            os.kill(mzt.pid, signal.SIGKILL)
        async with stage.conductor() as conductor:
            assert (await stage.run(conductor)).status == "running"
            slow.enough.set()
            await stage.settle(conductor)
            run = await stage.run(conductor)
        assert stand_in.played == 1
    assert run.status == "completed"
    assert [event.sheet for event in stage.journal() if event.kind == "sheet.recovered"] == [1]
    attempt = stage.attempt()
    assert (attempt.ended, attempt.input_tokens, attempt.output_tokens) == ("ok", READ, WRITTEN)
    with open_reader(stage.home) as reader:
        totals = reader.totals(stage.row().run_id)
    assert (totals.attempts, totals.input_tokens, totals.output_tokens) == (1, READ, WRITTEN)
