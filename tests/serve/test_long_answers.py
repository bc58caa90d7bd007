"""Answers beyond the message limit: in parts for those who ask, and never holding the loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.model.errors import MztError, StateError
from marianne_core.model.states import JobStatus
from marianne_core.remember.changes import RunDraft, RunSaved, SheetDraft
from marianne_core.remember.home import Home
from marianne_core.remember.journal import Journal
from marianne_core.serve.blocking import call
from marianne_core.serve.long_answers import LongResult, answer_in_parts, whole_answer
from marianne_core.serve.protocol import RpcError
from marianne_core.serve.server import SocketServer
from marianne_core.serve.socket_client import SocketClient
from marianne_core.serve.wire import MAX_MESSAGE, PART_METHOD, Code
from tests.serve.raw_client import Stage, stage

MANY = 100_000
FEWEST_TURNS = MAX_MESSAGE // 2**17
"""Turns of the loop that an answer beyond the message limit takes at least: 128 KiB in each, some
two milliseconds of work. A number of turns, not a time: it is the same on every machine."""


def sheet(num: int) -> dict[str, Any]:
    return {
        "num": num,
        "movement": 1,
        "status": "pending",
        "attempts": 0,
        "instrument": "claude-code",
        "exit_code": None,
        "reason": "waits for a place: 4 of 4 sheets of this job run already " * 2,
        "started_at": None,
        "finished_at": None,
    }


def picture(sheets: int) -> dict[str, Any]:
    return {
        "job_id": "wide",
        "run": 1,
        "status": "running",
        "reason": "",
        "sheets_total": sheets,
        "sheets_completed": 0,
        "sheets": [sheet(num) for num in range(1, sheets + 1)],
    }


@contextmanager
def turns_of(loop: asyncio.AbstractEventLoop) -> Iterator[list[None]]:
    """One entry for every turn that others get of the loop meanwhile."""
    turns: list[None] = []

    def turn() -> None:
        nonlocal handle
        turns.append(None)
        handle = loop.call_soon(turn)

    handle = loop.call_soon(turn)
    try:
        yield turns
    finally:
        handle.cancel()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


def serve_picture(scene: Stage, monkeypatch: pytest.MonkeyPatch, sheets: int) -> dict[str, Any]:
    whole = picture(sheets)

    async def status(job: str) -> dict[str, Any]:
        return {**whole, "sheets": list(whole["sheets"])}

    monkeypatch.setattr(scene.service, "status", status)
    return whole


async def test_a_status_beyond_the_message_limit(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = serve_picture(scene, monkeypatch, MANY)
    assert len(json.dumps(whole)) > MAX_MESSAGE
    client = await SocketClient.connect(scene.path)
    with turns_of(asyncio.get_running_loop()) as turns:
        answer = await client.status("wide")
    await client.close()
    assert answer == whole
    assert len(turns) > FEWEST_TURNS


async def test_the_small_client_takes_parts_too(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = serve_picture(scene, monkeypatch, MANY)
    params = {"job_id": "wide", "parts": True}
    answer = await asyncio.to_thread(call, scene.path, "job.status", params)
    assert list(answer.pop("sheets").values()) == whole.pop("sheets")
    assert answer == whole


async def test_who_does_not_ask_for_parts_gets_one_message_or_a_refusal(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = serve_picture(scene, monkeypatch, 1000)
    answer = await asyncio.to_thread(call, scene.path, "job.status", {"job_id": "wide"})
    assert list(answer["sheets"].values()) == whole["sheets"]
    serve_picture(scene, monkeypatch, MANY)
    asking = asyncio.to_thread(call, scene.path, "job.status", {"job_id": "wide"})
    with (
        turns_of(asyncio.get_running_loop()) as turns,
        pytest.raises(StateError, match="longer than 16 MiB") as refusal,
    ):
        await asking
    assert "parts" in refusal.value.hint
    assert len(turns) > FEWEST_TURNS


async def test_other_answers_come_between_the_parts(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_picture(scene, monkeypatch, 5000)
    client = await scene.client()
    ask = {"jsonrpc": "2.0", "id": "long", "method": "job.status"}
    ask["params"] = {"job_id": "wide", "parts": True}  # type: ignore[assignment]
    short = {"jsonrpc": "2.0", "id": "short", "method": "daemon.health"}
    await client.send(json.dumps(ask).encode() + b"\n" + json.dumps(short).encode() + b"\n")
    kinds: list[Any] = []
    while "long" not in kinds:
        message = await client.receive()
        kinds.append(message.get("id", message.get("method")))
        if message.get("method") == PART_METHOD:
            assert message["params"]["id"] == "long"
            assert message["params"]["member"] == "sheets"
    assert kinds.index("short") < kinds.index("long")
    assert kinds.count(PART_METHOD) > 3
    assert message["result"]["sheets"] == {}


async def test_a_list_of_very_many_jobs(scene: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [{"job_id": f"job-{n}", "run": 1, "reason": "x" * 200} for n in range(MANY)]

    async def list_jobs() -> list[dict[str, Any]]:
        return list(jobs)

    monkeypatch.setattr(scene.service, "list_jobs", list_jobs)
    client = await SocketClient.connect(scene.path)
    assert await client.list_jobs() == jobs
    await client.close()


async def test_a_client_that_goes_in_the_middle_harms_nobody(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_picture(scene, monkeypatch, MANY)
    gone = await scene.client()
    assert (await gone.ask("job.status", {"job_id": "wide", "parts": True}))["method"]
    gone.hang_up()
    other = await scene.client()
    assert (await other.result("daemon.health"))["status"] == "ok"


async def test_parts_of_nobodys_answer_break_the_protocol(tmp_path: Path) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        part = {"jsonrpc": "2.0", "method": PART_METHOD, "params": {"id": 1, "items": 5}}
        writer.write(json.dumps(part).encode() + b"\n")
        await writer.drain()
        await reader.read()
        writer.close()

    path = tmp_path / "odd.sock"
    async with await asyncio.start_unix_server(speak, path):
        client = await SocketClient.connect(path)
        with pytest.raises(MztError, match="does not speak"):
            await client.status("wide")
        await client.close()
        with pytest.raises(MztError, match="does not speak"):
            await asyncio.to_thread(call, path, "job.status", {"job_id": "wide"})


@pytest.mark.parametrize("items", [0, 1, 700])
@pytest.mark.parametrize("member", ["", "sheets"])
async def test_parts_and_whole_say_the_same(member: str, items: int) -> None:
    def long() -> LongResult:
        pairs = ((str(n), {"text": f'"{n}" \ud800 \n' * 30}) for n in range(items))
        return LongResult(pairs, member, {"job_id": "a"} if member else None)

    whole = json.loads(await whole_answer(7, long()))["result"]
    *parts, last = [json.loads(line) async for line in answer_in_parts(7, long())]
    assert len(parts) == (4 if items == 700 else items)
    if member:
        joined = {name: item for part in parts for name, item in part["params"]["items"].items()}
        assert whole == {**last["result"], member: joined}
        assert last["result"]["job_id"] == "a"
    else:
        assert whole == [item for part in parts for item in part["params"]["items"]]
    assert len(whole[member] if member else whole) == items


async def test_one_item_beyond_the_limit_is_refused(scene: Stage) -> None:
    long = LongResult([("1", "x" * MAX_MESSAGE)], "sheets", {})
    with pytest.raises(RpcError) as refusal:
        [line async for line in answer_in_parts(1, long)]
    assert refusal.value.code == Code.EXHAUSTED


async def test_a_conductor_shows_a_job_of_very_many_sheets(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    journal = await Journal.open(home.database)
    sheets = [SheetDraft(num, "claude-code", movement=1) for num in range(1, MANY + 1)]
    draft = RunDraft("/s/wide.yaml", "name: wide", "wide", "/w", submitted_at=1.0)
    key = await journal.submit(draft, sheets)
    await journal.commit([RunSaved(key.run_id, JobStatus.FAILED, at=3.0)])
    await journal.close()
    async with Conductor(DaemonConfig(), home) as conductor, SocketServer(home.socket, conductor):
        client = await SocketClient.connect(home.socket)
        with turns_of(asyncio.get_running_loop()) as turns:
            answer = await client.status("wide")
        await client.close()
        assert [sheet["num"] for sheet in answer["sheets"]] == list(range(1, MANY + 1))
        assert len(json.dumps(answer)) > MAX_MESSAGE
        assert len(turns) > FEWEST_TURNS
