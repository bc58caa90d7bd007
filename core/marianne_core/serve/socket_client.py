"""The asynchronous client of a conductor in another process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from marianne_core.model.output import OutputPage, OutputRequest
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.states import JobStatus
from marianne_core.serve.calls import PATIENCE_SECONDS, Calls
from marianne_core.serve.message_socket import CONNECT_SECONDS, MessageSocket
from marianne_core.serve.output_socket import SocketOutput
from marianne_core.serve.output_wire import page_from_wire, params_of
from marianne_core.serve.socket_stream import SocketStream
from marianne_core.serve.wire import not_the_protocol


class SocketClient:
    """A `Client` over a Unix socket: `client = await SocketClient.connect(path)`.

    Commands share one connection; every event stream has its own, so that a view that reads
    slowly never delays an answer. After NoConductorError a client stays without one: connect anew.
    """

    def __init__(self, path: Path, calls: Calls) -> None:
        self._path = path
        self._calls = calls
        self._streams: list[SocketStream] = []
        self._outputs: list[SocketOutput] = []

    @classmethod
    async def connect(
        cls, path: Path, seconds: float = CONNECT_SECONDS, patience: float = PATIENCE_SECONDS
    ) -> Self:
        """Connect within `seconds`. Raises NoConductorError when nobody listens there.

        `patience`: seconds without an answer after which the conductor must give a sign of life.
        """
        return cls(path, Calls(await MessageSocket.open(path, seconds), patience))

    async def submit(self, request: SubmitRequest) -> SubmitReply:
        """See `Client.submit`."""
        params = {
            "config_path": request.config_path,
            "workspace": request.workspace,
            "fresh": request.fresh,
            "replace": request.replace,
            "start_sheet": request.start_sheet,
            "variables": request.variables,
            "client_cwd": request.client_cwd,
        }
        reply = await self._calls.call("job.submit", params)
        with self._understanding():
            return SubmitReply(
                job_id=str(reply["job_id"]),
                status=str(reply["status"]),
                message=str(reply["message"] or ""),
                run=int(reply["run"]),
                exit_code=int(reply["exit_code"]),
            )

    async def status(self, job: str) -> dict[str, Any]:
        """See `Client.status`."""
        picture = await self._calls.call("job.status", {"job_id": job, "parts": True})
        with self._understanding():
            # In the order of their numbers, as the conductor sends them.
            return {**picture, "sheets": list(picture["sheets"].values())}

    async def list_jobs(self) -> list[dict[str, Any]]:
        """See `Client.list_jobs`."""
        jobs = await self._calls.call("job.list", {"parts": True})
        with self._understanding():
            return [dict(job) for job in jobs]

    async def pause(self, job: str) -> Receipt:
        """See `Client.pause`."""
        return await self._command("job.pause", {"job_id": job})

    async def resume(self, job: str) -> Receipt:
        """See `Client.resume`."""
        return await self._command("job.resume", {"job_id": job})

    async def cancel(self, job: str) -> Receipt:
        """See `Client.cancel`."""
        return await self._command("job.cancel", {"job_id": job})

    async def retry(self, job: str, sheet: int | None = None) -> Receipt:
        """See `Client.retry`."""
        return await self._command("job.retry", {"job_id": job, "sheet": sheet})

    async def clear(
        self,
        *,
        jobs: Sequence[str] | None = None,
        statuses: Sequence[JobStatus] | None = None,
        older_than: float | None = None,
    ) -> int:
        """See `Client.clear`."""
        params = {
            "job_ids": None if jobs is None else list(jobs),
            "statuses": None if statuses is None else [str(status) for status in statuses],
            "older_than_seconds": older_than,
        }
        reply = await self._calls.call("job.clear", params)
        with self._understanding():
            return int(reply["deleted"])

    async def rate_limits(self) -> list[dict[str, Any]]:
        """See `Client.rate_limits`."""
        reply = await self._calls.call("daemon.rate_limits", {})
        with self._understanding():
            return [dict(limit) for limit in reply["limits"]]

    async def clear_rate_limits(self, instrument: str | None = None) -> int:
        """See `Client.clear_rate_limits`."""
        reply = await self._calls.call("daemon.clear_rate_limits", {"instrument": instrument})
        with self._understanding():
            return int(reply["cleared"])

    async def health(self) -> dict[str, Any]:
        """See `Client.health`."""
        health = await self._calls.call("daemon.health", {})
        with self._understanding():
            return dict(health)

    async def events(self, job: str | None = None) -> SocketStream:
        """See `Client.events`."""
        self._calls.check()
        stream = await SocketStream.open(self._path, job)
        self._streams.append(stream)
        return stream

    async def output(self, request: OutputRequest) -> OutputPage:
        """See `Client.output`."""
        page = await self._calls.call("job.output", params_of(request, follow=False))
        with self._understanding():
            return page_from_wire(page)

    async def follow_output(self, request: OutputRequest) -> SocketOutput:
        """See `Client.follow_output`."""
        self._calls.check()
        pieces = await SocketOutput.open(self._path, request)
        # A view that goes from sheet to sheet opens one after the other.
        self._outputs = [*(each for each in self._outputs if not each.ended), pieces]
        return pieces

    async def close(self) -> None:
        """See `Client.close`; open streams end."""
        streams, self._streams = self._streams, []
        outputs, self._outputs = self._outputs, []
        for stream in streams:
            await stream.aclose()
        for output in outputs:
            await output.aclose()
        await self._calls.close()

    async def _command(self, method: str, params: dict[str, Any]) -> Receipt:
        reply = await self._calls.call(method, params)
        with self._understanding():
            return Receipt(
                job_id=str(reply["job_id"]),
                run=int(reply["run"]),
                status=JobStatus(reply["job_status"]),
                message=str(reply["message"] or ""),
            )

    @contextmanager
    def _understanding(self) -> Iterator[None]:
        """Read an answer; one of another shape comes from something that is no conductor of ours."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError):
            raise not_the_protocol(self._path) from None
