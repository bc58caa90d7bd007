"""Following one run of a conductor until it is over, paused or out of sight."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from marianne_core.model.errors import (
    EXIT_FAILED,
    EXIT_LEFT,
    EXIT_OK,
    JobSubmissionError,
    NoConductorError,
)
from marianne_core.model.events import Event
from marianne_core.model.states import JobStatus
from marianne_core.serve.client import Client
from marianne_tui.cli.views import View

_ENDS = ("job.completed", "job.failed", "job.cancelled", "job.paused", "job.paused_at_chain")
_LAST_EVENT = 0.25
"""Seconds to wait for the last event of a run whose status says that it is over."""
_TOGETHER = 0.02
"""Seconds in which events gather before they are shown together."""
_STATUS_SHARE = 0.1
"""At most this part of the time is spent on fetching statuses: long runs are painted less often."""


def exit_code_of(status: dict[str, Any] | None) -> int:
    """Exit status of a command that followed a run to this status; None = out of sight."""
    if status is None:
        return EXIT_LEFT
    if status["status"] == JobStatus.COMPLETED:
        return EXIT_OK
    return EXIT_FAILED if status["status"] == JobStatus.FAILED else EXIT_LEFT


def is_over(status: dict[str, Any]) -> bool:
    """True when nothing more happens to the run by itself."""
    return not JobStatus(status["status"]).active


async def follow(
    client: Client, job_id: str, run: int, events: AsyncIterator[Event], view: View
) -> dict[str, Any] | None:
    """Show run `run` of a job until it is over; returns the last status.

    `events` must have been subscribed before the run was submitted, so that none is missed; the
    caller closes them. None when the conductor left before the run's end.
    """
    name = f"{job_id}#{run}"
    status = await _status(client, name)
    if status is None:
        return None
    view.begin(status)
    looked, cost, end_seen = time.monotonic(), 0.0, False
    heard: deque[Event | None] = deque()
    wake = asyncio.Event()
    listening = asyncio.create_task(_listen(events, heard, wake), name="mzt-follow")
    try:
        # A status can be ahead of the events; the run's last event is waited for a moment, so
        # that no line is missing at the end.
        while not (is_over(status) and (end_seen or time.monotonic() - looked > _LAST_EVENT)):
            pause = max(view.refresh_seconds, cost / _STATUS_SHARE)
            due = looked + (_LAST_EVENT if is_over(status) else pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await wake.wait()
            wake.clear()
            told = False
            while heard:
                event = heard.popleft()
                if event is None:
                    return await _status(client, name)
                if event.event == "stream.gap":
                    view.say("events came faster than this view could read; some are not shown")
                elif event.job_id == job_id and event.run in (0, run):
                    view.event(event)
                    of_job = event.event.startswith("job.")
                    # Many sheets at once change the picture as much as the run itself does.
                    told = told or of_job or event.event.startswith("sheets.")
                    end_seen = event.event in _ENDS if of_job else end_seen
            if told or (time.monotonic() >= due and not is_over(status)):
                before = time.monotonic()
                newest = await _status(client, name)
                if newest is None:
                    return None
                status, looked = newest, time.monotonic()
                cost = looked - before
                if not is_over(status):
                    view.show(status)
            else:
                # Events gather for a moment nobody notices: a fast run is not slowed by being seen.
                await asyncio.sleep(_TOGETHER)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return status


async def _listen(
    events: AsyncIterator[Event], heard: deque[Event | None], wake: asyncio.Event
) -> None:
    """Collect events as they come; None stands for the end of the stream."""
    with contextlib.suppress(NoConductorError):
        async for event in events:
            heard.append(event)
            wake.set()
    heard.append(None)
    wake.set()


async def _status(client: Client, name: str) -> dict[str, Any] | None:
    try:
        return await client.status(name)
    except (NoConductorError, JobSubmissionError):
        return None
