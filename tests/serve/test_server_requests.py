"""The server's answers: right ones, and the specified error for everything that is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from marianne_core.model.errors import StateError
from marianne_core.serve.wire import MAX_MESSAGE, Code
from tests.contract.fake_service import HELD
from tests.serve.raw_client import Stage, eventually, stage


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def test_shapes_that_existing_programs_read(scene: Stage) -> None:
    client = await scene.client()
    submitted = await client.result("job.submit", {"config_path": scene.score("one", HELD)})
    assert submitted == {
        "job_id": "one",
        "status": "accepted",
        "message": "started",
        "run": 1,
        "exit_code": 0,
    }
    status = await client.result("job.status", {"job_id": "one", "workspace": "/anywhere"})
    assert status["sheets"]["1"]["status"] == "in_progress"
    paused = await client.result("job.pause", {"job_id": "one"})
    assert (paused["paused"], paused["run"], paused["job_status"]) == (True, 1, "pausing")
    cancelled = await client.result("job.cancel", {"job_id": "one"})
    assert (cancelled["cancelled"], cancelled["job_status"]) == (True, "cancelled")
    resumed = await client.result(
        "job.resume",
        {"job_id": "one", "workspace": None, "config_path": None, "no_reload": False},
    )
    assert (resumed["job_id"], resumed["status"]) == ("one", "accepted")
    assert resumed["message"]
    retried = await client.result("job.retry", {"job_id": "one", "sheet": 1})
    assert retried["status"] == "accepted"
    assert [job["job_id"] for job in await client.result("job.list")] == ["one"]
    health = await client.result("daemon.health", {})
    assert (health["status"], health["protocol"], health["version"]) == ("ok", 1, "0.0.0")


async def test_daemon_status(scene: Stage) -> None:
    client = await scene.client()
    for name in ("one", "two"):
        await client.result("job.submit", {"config_path": scene.score(name, HELD)})
    await client.result("job.pause", {"job_id": "two"})
    status = await client.result("daemon.status")
    assert status["running_jobs"] == 1
    assert status["total_jobs_active"] == 2
    assert status["memory_usage_mb"] > 1
    assert {"pid", "uptime_seconds", "version"} <= set(status)


async def test_a_submission_arrives_whole(scene: Stage) -> None:
    client = await scene.client()
    params = {
        "config_path": "one.yaml",
        "workspace": "ws",
        "fresh": True,
        "replace": True,
        "start_sheet": 3,
        "variables": {"who": "you", "deep": [1, {"a": None}]},
        "client_cwd": str(scene.folder),
        "self_healing": False,
        "self_healing_auto_confirm": False,
        "dry_run": False,
        "chain_depth": None,
    }
    scene.score("one")
    assert (await client.result("job.submit", params))["status"] == "accepted"
    request = scene.service.runs[0].options
    for name in ("config_path", "workspace", "fresh", "replace", "start_sheet", "variables"):
        assert getattr(request, name) == params[name]


BAD_LINES: list[tuple[bytes, Code]] = [
    (b"not json", Code.PARSE),
    (b"", Code.PARSE),
    (b"\xff\xfe\x00", Code.PARSE),
    (b'{"jsonrpc": "2.0", "method": "\xc3\x28", "id": 1}', Code.PARSE),
    (b"[" * 50_000 + b"]" * 50_000, Code.PARSE),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, Code.PARSE),
    (b'[{"jsonrpc": "2.0", "method": "daemon.health", "id": 1}]', Code.INVALID_REQUEST),
    (b"7", Code.INVALID_REQUEST),
    (b'{"jsonrpc": "2.0", "id": 1}', Code.INVALID_REQUEST),
    (b'{"method": "daemon.health", "id": 1}', Code.INVALID_REQUEST),
    (b'{"jsonrpc": "2.0", "method": "job.fly", "id": 1}', Code.METHOD_NOT_FOUND),
    (b'{"jsonrpc": "2.0", "method": "", "id": 1}', Code.METHOD_NOT_FOUND),
    (b'{"jsonrpc": "2.0", "method": "job.status", "id": 1}', Code.INVALID_PARAMS),
    (b'{"jsonrpc": "2.0", "method": "job.status", "params": [], "id": 1}', Code.INVALID_PARAMS),
    (
        b'{"jsonrpc": "2.0", "method": "job.status", "params": {"job_id": 7}, "id": 1}',
        Code.INVALID_PARAMS,
    ),
]


@pytest.mark.parametrize(("line", "code"), BAD_LINES, ids=range(len(BAD_LINES)))
async def test_bad_lines_are_answered_and_harm_nobody(
    scene: Stage, line: bytes, code: Code
) -> None:
    bad, good = await scene.client(), await scene.client()
    await bad.send(line + b"\n")
    answer = await bad.receive()
    assert answer["error"]["code"] == code
    assert answer["jsonrpc"] == "2.0"
    assert "id" in answer
    assert (await good.result("daemon.health"))["status"] == "ok"
    assert (await bad.result("daemon.health"))["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "params", "word"),
    [
        ("job.submit", {}, "config_path"),
        ("job.submit", {"config_path": ""}, "config_path"),
        ("job.submit", {"config_path": "x", "start_sheet": "3"}, "start_sheet"),
        ("job.submit", {"config_path": "x", "start_sheet": True}, "start_sheet"),
        ("job.submit", {"config_path": "x", "start_sheet": 0}, "start_sheet"),
        ("job.submit", {"config_path": "x", "variables": []}, "variables"),
        ("job.submit", {"config_path": "x", "freshh": True}, "freshh"),
        ("job.submit", {"config_path": "x", "dry_run": True}, "dry_run"),
        ("job.submit", {"config_path": "x", "self_healing": True}, "self_healing"),
        ("job.resume", {"job_id": "x", "config_path": "other.yaml"}, "config_path"),
        ("job.retry", {"job_id": "x", "sheet": 1.5}, "sheet"),
        ("job.list", {"everything": 1}, "everything"),
        ("daemon.monitor.stream", {"job": "x"}, "job"),
    ],
)
async def test_wrong_parameters_are_named(
    scene: Stage, method: str, params: dict[str, Any], word: str
) -> None:
    client = await scene.client()
    error = (await client.ask(method, params))["error"]
    assert error["code"] == Code.INVALID_PARAMS
    assert f"`{word}`" in error["message"]


async def test_job_errors_carry_what_a_person_needs(scene: Stage) -> None:
    client = await scene.client()
    error = (await client.ask("job.cancel", {"job_id": "nobody"}))["error"]
    assert error["code"] == Code.JOB
    assert error["message"] == "there is no job nobody"
    assert error["data"] == {
        "what": "there is no job nobody",
        "where": "",
        "hint": "mzt list shows what there is",
        "exit_code": 2,
    }
    missing = (await client.ask("job.fly", {}))["error"]
    assert missing["data"] == {"method": "job.fly"}
    unnamed = (await client.ask("daemon.monitor.stream", {"job_id": "#"}))["error"]
    assert unnamed["code"] == Code.INVALID_PARAMS
    assert unnamed["data"]["exit_code"] == 2


async def test_a_store_that_refuses_and_a_fault_of_ours(
    scene: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(job: str) -> None:
        raise StateError("the disk is full", hint="make room")

    async def broken(job: str) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(scene.service, "pause", full)
    monkeypatch.setattr(scene.service, "cancel", broken)
    client = await scene.client()
    error = (await client.ask("job.pause", {"job_id": "one"}))["error"]
    assert (error["code"], error["data"]["hint"]) == (Code.EXHAUSTED, "make room")
    error = (await client.ask("job.cancel", {"job_id": "one"}))["error"]
    assert error["code"] == Code.INTERNAL
    assert "ZeroDivisionError" in error["message"]
    assert "secret detail" not in json.dumps(error)
    assert "secret detail" in caplog.text


async def test_a_message_of_20_mib_is_refused_and_the_next_one_served(scene: Stage) -> None:
    big, small = await scene.client(), await scene.client()
    sending = asyncio.create_task(big.send(b"x" * (20 * 2**20) + b"\n"))
    assert (await small.result("daemon.health"))["status"] == "ok"
    await sending
    error = (await big.receive())["error"]
    assert error["code"] == Code.INVALID_REQUEST
    assert "16 MiB" in error["message"]
    assert (await big.result("daemon.health"))["status"] == "ok"


async def test_a_message_of_just_16_mib_is_read(scene: Stage) -> None:
    client = await scene.client()
    head, tail = b'{"jsonrpc":"2.0","id":1,"method":"', b'"}'
    await client.send(head + b"m" * (MAX_MESSAGE - len(head) - len(tail)) + tail + b"\n")
    answer = await client.receive()
    assert answer["error"]["code"] == Code.METHOD_NOT_FOUND
    assert len(json.dumps(answer)) < 2000


async def test_notifications_are_carried_out_without_an_answer(scene: Stage) -> None:
    client = await scene.client()
    await client.result("job.submit", {"config_path": scene.score("one", HELD)})
    for method in ("job.pause", "job.fly"):
        line = {"jsonrpc": "2.0", "method": method, "params": {"job_id": "one"}}
        await client.send(json.dumps(line).encode() + b"\n")
    await eventually(lambda: scene.service.runs[0].status == "pausing")
    assert (await client.ask("daemon.health"))["id"] == 2


async def test_requests_of_one_connection_do_not_wait_for_each_other(scene: Stage) -> None:
    client = await scene.client()
    await client.result("job.submit", {"config_path": scene.score("one", HELD)})
    scene.service.slow_cancel = asyncio.Event()
    line = {"jsonrpc": "2.0", "id": "slow", "method": "job.cancel", "params": {"job_id": "one"}}
    await client.send(json.dumps(line).encode() + b"\n")
    assert (await client.ask("daemon.health"))["result"]["status"] == "ok"
    scene.service.slow_cancel.set()
    assert (await client.receive())["id"] == "slow"


async def test_hundreds_of_requests_in_one_go_are_all_answered(scene: Stage) -> None:
    client = await scene.client()
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": n, "method": "daemon.health"}).encode()
        for n in range(500)
    ]
    await client.send(b"\n".join(lines) + b"\n")
    assert {(await client.receive())["id"] for _ in lines} == set(range(500))


async def test_a_last_line_without_newline_is_answered(scene: Stage) -> None:
    client = await scene.client()
    await client.send(b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.health"}')
    client.writer.write_eof()
    assert (await client.receive())["result"]["status"] == "ok"
    assert await client.receive() is None


async def test_a_client_that_is_killed_does_not_undo_its_command(scene: Stage) -> None:
    client = await scene.client()
    await client.result("job.submit", {"config_path": scene.score("one", HELD)})
    scene.service.slow_cancel = asyncio.Event()
    line = {"jsonrpc": "2.0", "id": 9, "method": "job.cancel", "params": {"job_id": "one"}}
    await client.send(json.dumps(line).encode() + b"\n")
    await eventually(lambda: "cancel asked" in scene.service.log)
    client.hang_up()
    scene.service.slow_cancel.set()
    await eventually(lambda: "cancel done" in scene.service.log)
    await eventually(lambda: scene.server.connections == 0)


async def test_too_long_an_answer_is_an_error(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless() -> list[dict[str, str]]:
        return [{"job_id": "x" * MAX_MESSAGE}]

    monkeypatch.setattr(scene.service, "list_jobs", endless)
    client = await scene.client()
    assert (await client.ask("job.list"))["error"]["code"] == Code.EXHAUSTED
