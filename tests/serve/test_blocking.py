"""The small client of fast commands."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from marianne_core.model.errors import (
    InputError,
    JobSubmissionError,
    MztError,
    NoConductorError,
)
from marianne_core.model.events import Event
from marianne_core.serve.blocking import call, stream
from tests.contract.fake_service import HELD
from tests.serve.raw_client import Stage, eventually, stage


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def test_calls(scene: Stage) -> None:
    path = scene.score("one", HELD)
    reply = await asyncio.to_thread(call, scene.path, "job.submit", {"config_path": path})
    assert reply["job_id"] == "one"
    status = await asyncio.to_thread(call, scene.path, "job.status", {"job_id": "one"})
    assert status["sheets"]["1"]["status"] == "in_progress"
    health = await asyncio.to_thread(call, scene.path, "daemon.health")
    assert health["pid"] == os.getpid()


async def test_what_the_conductor_refuses(scene: Stage) -> None:
    with pytest.raises(JobSubmissionError, match="nobody") as refusal:
        await asyncio.to_thread(call, scene.path, "job.pause", {"job_id": "nobody"})
    assert refusal.value.hint == "mzt list shows what there is"
    with pytest.raises(InputError, match="job_id"):
        await asyncio.to_thread(call, scene.path, "job.pause", {})
    with pytest.raises(MztError, match="mzt resume"):
        await asyncio.to_thread(call, scene.path, "job.fly", {})
    with pytest.raises(InputError, match="cannot be sent"):
        await asyncio.to_thread(call, scene.path, "job.pause", {"job_id": object()})


async def test_a_stream_misses_nothing_and_ends_with_the_conductor(scene: Stage) -> None:
    lines = await asyncio.to_thread(stream, scene.path)
    scene.service.bus.publish(Event("first"))
    scene.service.bus.publish(Event("second"))
    await scene.server.close()
    with lines:
        names = await asyncio.to_thread(lambda: [event["event"] for event in lines])
    assert names == ["first", "second"]


async def test_a_stream_of_one_job_that_is_closed(scene: Stage) -> None:
    await asyncio.to_thread(
        call, scene.path, "job.submit", {"config_path": scene.score("one", HELD)}
    )
    with await asyncio.to_thread(stream, scene.path, {"job_id": "one"}):
        assert scene.service.bus.subscribers == 1
    await eventually(lambda: scene.service.bus.subscribers == 0)
    with pytest.raises(JobSubmissionError):
        await asyncio.to_thread(stream, scene.path, {"job_id": "nobody"})


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NoConductorError, match="no socket"):
        call(tmp_path / "mzt.sock", "daemon.health")
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(stale))
    with pytest.raises(NoConductorError, match="nobody listens") as refusal:
        stream(stale)
    assert refusal.value.exit_code == 3
    assert "mzt run" in refusal.value.hint
    with pytest.raises(NoConductorError):
        call(tmp_path / ("x" * 200), "daemon.health")


@pytest.fixture
def odd_server(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """Answers the first line of one connection with the given bytes; none: it never answers."""
    path = tmp_path / "odd.sock"
    answers: list[bytes] = []
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if answers:
                    connection.sendall(answers[0])
                else:
                    over.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path, answers
        over.set()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"[]\n", b"{}\n", b"\xff\n", b"[" * 100_000 + b"\n"],
)
def test_something_else_answers(odd_server: tuple[Path, list[bytes]], answer: bytes) -> None:
    path, answers = odd_server
    answers.append(answer)
    with pytest.raises(MztError, match="does not speak"):
        call(path, "daemon.health")


def test_half_an_answer(odd_server: tuple[Path, list[bytes]]) -> None:
    path, answers = odd_server
    answers.append(b'{"jsonrpc": "2.0", "id": 1, "resu')
    with pytest.raises(NoConductorError, match="hung up"):
        call(path, "daemon.health")


def test_a_conductor_that_does_not_answer(odd_server: tuple[Path, list[bytes]]) -> None:
    path, _ = odd_server
    with pytest.raises(NoConductorError, match="no answer in time"):
        call(path, "daemon.health", timeout=0.05)


def test_it_needs_no_heavy_module() -> None:
    code = (
        "import sys, marianne_core.serve.blocking\n"
        "heavy = {'asyncio', 'pydantic', 'pydantic_core', 'structlog', 'rich', 'logging'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "[]\n"
