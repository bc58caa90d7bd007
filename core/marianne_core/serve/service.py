"""What the socket server and the local client need of a conductor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from marianne_core.model.output import OutputPage, OutputRequest, OutputStream
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.states import JobStatus
from marianne_core.watch.bus import EventStream


class Service(Protocol):
    """The commands of `Client`, with the same meanings and errors, as a conductor offers them."""

    async def submit(self, request: SubmitRequest) -> SubmitReply: ...

    async def status(self, job: str) -> dict[str, Any]: ...

    async def list_jobs(self) -> list[dict[str, Any]]: ...

    async def pause(self, job: str) -> Receipt: ...

    async def resume(self, job: str) -> Receipt: ...

    async def cancel(self, job: str) -> Receipt: ...

    async def retry(self, job: str, sheet: int | None = None) -> Receipt: ...

    async def clear(
        self,
        *,
        jobs: Sequence[str] | None = None,
        statuses: Sequence[JobStatus] | None = None,
        older_than: float | None = None,
    ) -> int: ...

    async def rate_limits(self) -> list[dict[str, Any]]: ...

    async def clear_rate_limits(self, instrument: str | None = None) -> int: ...

    async def health(self) -> dict[str, Any]: ...

    async def events(self, job: str | None = None) -> EventStream: ...

    async def output(self, request: OutputRequest) -> OutputPage: ...

    async def follow_output(self, request: OutputRequest) -> OutputStream: ...
