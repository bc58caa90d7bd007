"""`mzt instruments list` and `check` with the real programs, against the stand-in for their service."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real_cli.agents import AGENTS, Agent, folder
from tests.real_cli.stage import PATIENCE, ROOT, Stage
from tests.real_cli.stand_in import StandIn
from tests.real_cli.turns import LIMIT, READ, WRITTEN, Say, Stream

pytestmark = pytest.mark.real_cli


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.instrument)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A stage of a program that is there; what it leaves behind is a fault."""
    agent: Agent = request.param
    if not agent.installed:
        pytest.skip(f"{agent.executable} is not in {folder()}: run tests/real_cli/install.sh")
    made = Stage(tmp_path, agent)
    yield made
    assert made.processes() == {}


def start(stage: Stage, *arguments: str) -> subprocess.Popen[str]:
    path = ":".join(str(ROOT / name) for name in (".", "core", "widgets", "styles"))
    rooms = stage.root / "rooms"
    rooms.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "marianne_tui", "instruments", *arguments],
        cwd=stage.root,
        env={**stage.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", "TMPDIR": str(rooms)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def mzt(stage: Stage, *arguments: str) -> tuple[int, str]:
    process = start(stage, *arguments)
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err
    return process.returncode, out or err


def turn_of(stage: Stage, *options: str) -> tuple[int, dict[str, Any]]:
    name, model = stage.agent.instrument, stage.agent.model
    status, out = mzt(stage, "check", name, "--yes", "--json", "--model", model, *options)
    document: dict[str, Any] = json.loads(out)
    return status, document


def test_check_plays_a_turn(stage: Stage) -> None:
    with StandIn(Say("ready"), without_tools=stage.agent.without_tools) as service:
        stage.point_at(service.url)
        status, document = turn_of(stage)
    turn = document["turn"]
    assert (status, turn["ok"]) == (0, True), (document, service.calls)
    assert service.played == 1
    assert document["version"] == stage.agent.version
    assert stage.agent.executable in turn["command"][0]
    assert (turn["input_tokens"], turn["output_tokens"]) == (READ, WRITTEN)
    assert turn["cost_usd"] == pytest.approx(stage.agent.cost)
    assert "ready" in turn["answer"]
    assert list((stage.root / "rooms").glob("mzt-check-*")) == []


def test_check_says_what_a_service_refuses(stage: Stage) -> None:
    with StandIn(LIMIT, without_tools=stage.agent.without_tools) as service:
        stage.point_at(service.url)
        status, document = turn_of(stage)
    assert (status, document["turn"]["code"]) == (1, "E102"), document


def test_ctrl_c_ends_a_turn(stage: Stage) -> None:
    with StandIn(Stream(), without_tools=stage.agent.without_tools) as service:
        stage.point_at(service.url)
        name, model = stage.agent.instrument, stage.agent.model
        process = start(stage, "check", name, "--yes", "--model", model)
        until = time.monotonic() + PATIENCE
        while not service.played:
            assert time.monotonic() < until
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(2)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "the turn was ended" in out
    assert stage.processes() == {}


def test_the_listing_knows_the_program(stage: Stage) -> None:
    stage.point_at("http://127.0.0.1:9")
    status, out = mzt(stage, "list", "--json", "--versions")
    assert status == 0
    (found,) = [entry for entry in json.loads(out) if entry["name"] == stage.agent.instrument]
    assert found["version"] == stage.agent.version
    assert found["installed"] is True
    assert found["program"].endswith(f"/{stage.agent.executable}")
    # Some get the key from settings that only they understand.
    assert found["state"] in ("ready", "installed")
