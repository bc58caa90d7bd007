from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from marianne_core.model.errors import NoConductorError
from marianne_core.model.events import Event
from marianne_tui.cli.following import exit_code_of, follow


class Recorder:
    """A view that keeps what it was told."""

    refresh_seconds = 0.01

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.last: dict[str, Any] | None = None

    def say(self, text: str) -> None:
        self.calls.append(f"say {text}")

    def name_sheets(self, titles: Mapping[int, str]) -> None:
        self.calls.append("titles")

    def begin(self, status: dict[str, Any]) -> None:
        self.calls.append(f"begin {status['status']}")

    def event(self, event: Event) -> None:
        self.calls.append(event.event)

    def show(self, status: dict[str, Any]) -> None:
        self.calls.append(f"show {status['status']}")

    def end(self, status: dict[str, Any] | None) -> None:
        self.last = status


class FakeClient:
    """Answers status from a list; the last answer stays."""

    def __init__(self, states: list[str | None]) -> None:
        self.states = states

    async def status(self, job: str) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state is None:
            raise NoConductorError("gone")
        return {"job_id": "song", "run": 1, "status": state, "sheets": []}


async def stream(*names: str, forever: bool = False) -> AsyncIterator[Event]:
    for name in names:
        yield Event(name, "other" if name.startswith("x") else "song", 1)
    if forever:
        await asyncio.Event().wait()


async def followed(
    states: list[str | None], *names: str, forever: bool = False
) -> tuple[Recorder, dict[str, Any] | None]:
    view = Recorder()
    client: Any = FakeClient(states)
    async with asyncio.timeout(5):
        status = await follow(client, "song", 1, stream(*names, forever=forever), view)
    return view, status


async def test_it_shows_every_event_of_its_run_and_ends_with_it() -> None:
    view, status = await followed(
        ["running", "completed"],
        "sheet.started",
        "x.other",
        "sheet.completed",
        "job.completed",
        forever=True,
    )
    assert view.calls == ["begin running", "sheet.started", "sheet.completed", "job.completed"]
    assert status is not None
    assert status["status"] == "completed"


async def test_a_run_that_is_over_at_once_still_tells_its_events() -> None:
    view, _ = await followed(["failed"], "sheet.failed", "job.failed", forever=True)
    assert view.calls == ["begin failed", "sheet.failed", "job.failed"]


async def test_a_status_without_its_last_event_ends_the_wait() -> None:
    view, status = await followed(["running", "running", "paused"], "sheet.started", forever=True)
    assert status is not None
    assert status["status"] == "paused"
    assert "sheet.started" in view.calls


async def test_a_conductor_that_leaves_ends_it_with_the_last_status_it_gives() -> None:
    _, status = await followed(["running", "running"], "sheet.started")
    assert status is not None
    assert status["status"] == "running"
    _, status = await followed(["running", None], "sheet.started")
    assert status is None


async def test_a_gap_in_the_stream_is_said() -> None:
    view, _ = await followed(["running", "completed"], "stream.gap", "job.completed", forever=True)
    assert any(call.startswith("say events came faster") for call in view.calls)


@pytest.mark.parametrize(
    ("state", "code"),
    [("completed", 0), ("failed", 1), ("paused", 4), ("cancelled", 4), ("running", 4)],
)
def test_exit_codes(state: str, code: int) -> None:
    assert exit_code_of({"status": state}) == code
    assert exit_code_of(None) == 4


async def test_after_a_change_of_many_sheets_the_status_is_fetched_at_once() -> None:
    view = Recorder()
    view.refresh_seconds = 60.0
    client: Any = FakeClient(["running", "paused"])
    events = stream("sheets.cancelled", forever=True)
    async with asyncio.timeout(5):
        status = await follow(client, "song", 1, events, view)
    assert status is not None
    assert "sheets.cancelled" in view.calls
