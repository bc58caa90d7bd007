"""The host in the test's own loop: order of opening and closing, errors, late submissions."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import stat
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from marianne_core.model.errors import StateError
from marianne_core.model.requests import SubmitReply, SubmitRequest
from marianne_core.remember.home import Home
from marianne_core.serve.client import Client
from marianne_core.serve.host import host
from marianne_core.serve.logs import logging_to
from marianne_core.serve.stop import Stop, StopLevel, caught_signals
from tests.contract.fake_service import HELD, FakeRun, FakeService
from tests.serve.raw_client import RawClient, eventually


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@asynccontextmanager
async def opened(service: FakeService) -> AsyncIterator[FakeService]:
    service.log.append("opened")
    try:
        yield service
    finally:
        service.log.append("closed")


async def run(service: FakeService, home: Home, body: object, said: list[str]) -> int:
    return await host(opened(service), home, body, announce=said.append)  # type: ignore[arg-type]


async def test_the_bodys_status_is_the_hosts_and_all_is_put_back(home: Home) -> None:
    service = FakeService()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    collecting = gc.get_threshold()

    async def body(client: Client, stop: Stop) -> int:
        assert gc.get_threshold()[2] > collecting[2]
        assert [signal.getsignal(number) for number in numbers] != before
        assert home.socket.is_socket()
        assert (await client.health())["status"] == "ok"
        return 7

    said: list[str] = []
    assert await run(service, home, body, said) == 7
    assert [signal.getsignal(number) for number in numbers] == before
    assert gc.get_threshold() == collecting
    assert service.log == ["opened", "closed"]
    assert said == []
    assert not home.socket.exists()


async def test_an_error_of_the_body_comes_out_after_closing(home: Home) -> None:
    service = FakeService()

    async def body(client: Client, stop: Stop) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(service, home, body, [])
    assert service.log == ["opened", "closed"]
    assert not home.socket.exists()


async def test_a_conductor_that_cannot_open(home: Home) -> None:
    @asynccontextmanager
    async def refused() -> AsyncIterator[FakeService]:
        raise StateError("another conductor has the lock")
        yield FakeService()

    async def body(client: Client, stop: Stop) -> int:
        pytest.fail("it never starts")

    with pytest.raises(StateError, match="lock"):
        await host(refused(), home, body, announce=print)
    assert not home.socket.exists()


async def test_a_socket_that_cannot_open_closes_the_conductor(home: Home) -> None:
    home.prepare()
    home.socket.write_text("in the way")
    service = FakeService()

    async def body(client: Client, stop: Stop) -> int:
        pytest.fail("it never starts")

    with pytest.raises(StateError, match="not a socket"):
        await run(service, home, body, [])
    assert service.log == ["opened", "closed"]


async def test_a_cancelled_host_closes_everything(home: Home) -> None:
    service = FakeService()
    ready = asyncio.Event()

    async def body(client: Client, stop: Stop) -> int:
        ready.set()
        await asyncio.Event().wait()
        return 0

    hosting = asyncio.create_task(run(service, home, body, []))
    await ready.wait()
    hosting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hosting
    assert service.log == ["opened", "closed"]
    assert not home.socket.exists()


async def test_a_body_may_ask_to_leave(home: Home) -> None:
    service = FakeService()

    async def body(client: Client, stop: Stop) -> int:
        stop.request(StopLevel.NOW, "quit")
        await asyncio.Event().wait()
        return 0

    assert await run(service, home, body, []) == 4
    assert service.log == ["opened", "stop_dispatch", "closed"]


async def test_a_submission_in_the_last_moment_is_not_lost(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = FakeService()
    asked, go_on = asyncio.Event(), asyncio.Event()
    submit = service.submit

    async def slowly(request: SubmitRequest) -> SubmitReply:
        asked.set()
        await go_on.wait()
        return await submit(request)

    monkeypatch.setattr(service, "submit", slowly)
    score = tmp_path / "late.yaml"
    score.write_text(HELD)
    said: list[str] = []

    async def body(client: Client, stop: Stop) -> int:
        await asked.wait()
        return 0

    hosting = asyncio.create_task(run(service, home, body, said))
    await eventually(home.socket.exists)
    other = await RawClient.connect(home.socket)
    submitting = asyncio.create_task(other.ask("job.submit", {"config_path": str(score)}))
    await asked.wait()
    await asyncio.sleep(0.02)
    assert not hosting.done()
    go_on.set()
    assert (await submitting)["result"]["status"] == "accepted"
    await eventually(lambda: service.runs)
    await asyncio.sleep(0.02)
    assert not hosting.done()
    # Commands are taken again while that job runs.
    assert (await other.result("job.pause", {"job_id": "late"}))["paused"]
    service.release()
    assert await hosting == 0
    other.hang_up()


async def test_stop_goes_one_way() -> None:
    stop = Stop()
    levels = []
    for _ in range(6):
        stop.press()
        levels.append(stop.level)
    assert levels == [1, 2, 3, 4, 4, 4]
    await stop.wait(StopLevel.NOW)
    stop.request(StopLevel.DRAIN, "too late")
    assert (stop.level, stop.reason) == (StopLevel.NOW, "Ctrl-C")


async def test_waiting_for_a_level_includes_the_higher_ones() -> None:
    stop = Stop()
    draining = asyncio.create_task(stop.wait())
    ending = asyncio.create_task(stop.wait(StopLevel.END))
    stop.request(StopLevel.LEAVE, "quit")
    await draining
    assert not ending.done()
    ending.cancel()


async def test_a_signal_reaches_the_stop() -> None:
    stop = Stop()
    with caught_signals(stop):
        signal.raise_signal(signal.SIGINT)
        await stop.wait(StopLevel.DRAIN)
        signal.raise_signal(signal.SIGTERM)
        await stop.wait(StopLevel.NOW)
    assert stop.reason == "SIGTERM"


def test_the_log_takes_both_kinds_of_loggers_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "conductor.log"
    with logging_to(path):
        structlog.get_logger("marianne.test").info("job.submitted", job_id="one")
        logging.getLogger("plain").warning("bus.gap", extra={"dropped": 3})
        logging.getLogger("plain").debug("not this")
        try:
            raise ValueError("reason")
        except ValueError:
            structlog.get_logger("marianne.test").exception("broken")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    logging.getLogger("plain").warning("after")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["event"].split(":")[0] for entry in entries[:3]] == [
        "job.submitted",
        "bus.gap",
        "broken",
    ]
    assert entries[0]["job_id"] == "one"
    assert entries[0]["level"] == "info"
    assert entries[0]["logger"] == "marianne.test"
    assert entries[1]["dropped"] == 3
    assert "ValueError: reason" in entries[2]["exception"]
    assert "old" in entries[3]["event"]
    assert len(entries) == 4
    assert all("timestamp" in entry for entry in entries)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not structlog.is_configured()


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="log"), logging_to(tmp_path / "no" / "folder.log"):
        pytest.fail("never entered")


async def test_interrupted_jobs_are_named_at_the_start(home: Home) -> None:
    service = FakeService()
    service.runs = [FakeRun(f"song{n}", 1, options=SubmitRequest("")) for n in range(7)]
    said: list[str] = []

    async def body(client: Client, stop: Stop) -> int:
        service.runs.clear()
        return 0

    assert await run(service, home, body, said) == 0
    assert said == [
        "taking up 7 interrupted jobs: song0#1, song1#1, song2#1, song3#1, song4#1 and 2 more"
    ]
