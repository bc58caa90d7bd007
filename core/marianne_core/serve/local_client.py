"""The client of a conductor that lives in the same event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marianne_core.model.errors import NoConductorError
from marianne_core.model.output import OutputPage, OutputRequest, OutputStream
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.states import JobStatus
from marianne_core.serve.service import Service
from marianne_core.watch.bus import EventStream


class LocalClient:
    """A `Client` that calls the conductor directly. Closing it leaves the conductor alone."""

    def __init__(self, service: Service) -> None:
        self._service: Service | None = service
        self._streams: list[EventStream] = []
        self._outputs: list[OutputStream] = []

    async def submit(self, request: SubmitRequest) -> SubmitReply:
        """See `Client.submit`."""
        return await self._conductor.submit(request)

    async def status(self, job: str) -> dict[str, Any]:
        """See `Client.status`."""
        return await self._conductor.status(job)

    async def list_jobs(self) -> list[dict[str, Any]]:
        """See `Client.list_jobs`."""
        return await self._conductor.list_jobs()

    async def pause(self, job: str) -> Receipt:
        """See `Client.pause`."""
        return await self._conductor.pause(job)

    async def resume(self, job: str) -> Receipt:
        """See `Client.resume`."""
        return await self._conductor.resume(job)

    async def cancel(self, job: str) -> Receipt:
        """See `Client.cancel`."""
        return await self._conductor.cancel(job)

    async def retry(self, job: str, sheet: int | None = None) -> Receipt:
        """See `Client.retry`."""
        return await self._conductor.retry(job, sheet)

    async def clear(
        self,
        *,
        jobs: Sequence[str] | None = None,
        statuses: Sequence[JobStatus] | None = None,
        older_than: float | None = None,
    ) -> int:
        """See `Client.clear`."""
        return await self._conductor.clear(jobs=jobs, statuses=statuses, older_than=older_than)

    async def rate_limits(self) -> list[dict[str, Any]]:
        """See `Client.rate_limits`."""
        return await self._conductor.rate_limits()

    async def clear_rate_limits(self, instrument: str | None = None) -> int:
        """See `Client.clear_rate_limits`."""
        return await self._conductor.clear_rate_limits(instrument)

    async def health(self) -> dict[str, Any]:
        """See `Client.health`."""
        return await self._conductor.health()

    async def events(self, job: str | None = None) -> EventStream:
        """See `Client.events`."""
        events = await self._conductor.events(job)
        self._streams.append(events)
        return events

    async def output(self, request: OutputRequest) -> OutputPage:
        """See `Client.output`."""
        return await self._conductor.output(request)

    async def follow_output(self, request: OutputRequest) -> OutputStream:
        """See `Client.follow_output`."""
        pieces = await self._conductor.follow_output(request)
        # A view that goes from sheet to sheet opens one after the other.
        self._outputs = [*(each for each in self._outputs if not each.ended), pieces]
        return pieces

    async def close(self) -> None:
        """End the streams that were opened here, and let go of the conductor."""
        self._service = None
        streams, self._streams = self._streams, []
        outputs, self._outputs = self._outputs, []
        for stream in streams:
            await stream.aclose()
        for output in outputs:
            await output.aclose()

    @property
    def _conductor(self) -> Service:
        if self._service is None:
            raise NoConductorError("this client was closed")
        return self._service
