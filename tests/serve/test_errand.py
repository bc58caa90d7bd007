"""A conductor for one order: opened, asked, closed; a signal ends it in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from marianne_core.model.errors import JobSubmissionError
from marianne_core.model.requests import Receipt
from marianne_core.remember.home import Home
from marianne_core.serve.client import Client
from marianne_core.serve.errand import errand
from tests.contract.fake_service import FakeService


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


async def test_the_orders_answer_comes_back_and_there_is_no_socket(home: Home) -> None:
    service = FakeService()

    async def order(client: Client) -> str:
        assert not home.socket.exists()
        return str((await client.health())["status"])

    assert await errand(opened(service), home, order) == "ok"
    assert service.log == ["opened", "closed"]
    assert home.log.exists()


async def test_a_refusal_passes_through(home: Home) -> None:
    service = FakeService()

    async def order(client: Client) -> Receipt:
        return await client.cancel("nope")

    with pytest.raises(JobSubmissionError):
        await errand(opened(service), home, order)
    assert service.log == ["opened", "closed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_in_order(home: Home, number: int) -> None:
    service = FakeService()

    async def order(client: Client) -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        assert await errand(opened(service), home, order) is None
    assert service.log == ["opened", "closed"]
