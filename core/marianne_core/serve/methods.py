"""The methods of the protocol: a table of names, parameters and what to do.

A later method is one model and one row more. Parameters and results: field reference, section 7.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marianne_core.model.output import MOST_PAGE_BYTES, PAGE_BYTES, OutputRequest
from marianne_core.model.requests import Receipt, SubmitRequest
from marianne_core.model.states import JobStatus
from marianne_core.serve.long_answers import LongResult
from marianne_core.serve.output_wire import page_to_wire
from marianne_core.serve.protocol import RpcError
from marianne_core.serve.service import Service
from marianne_core.serve.wire import PROTOCOL, Code

STREAM = "daemon.monitor.stream"
"""The method that does not end with its answer; the server carries it out itself."""

OUTPUT = "job.output"
"""With `follow: true` it does not end with its answer either."""


class Params(BaseModel):
    """Parameters of a method without any; base of the others. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class JobParams(Params):
    """Parameters of a method about one job."""

    job_id: str
    """`job` or `job#3`."""


class LongParams(Params):
    """Base of the parameters of methods whose answer may be longer than one message."""

    parts: bool = False
    """The items of the answer are to come ahead of it, in notifications `answer.part`."""


class StatusParams(LongParams, JobParams):
    """Parameters of `job.status`."""

    workspace: str | None = None
    """Sent by older clients; a job is found by its id alone."""


class ResumeParams(JobParams):
    """Parameters of `job.resume`."""

    workspace: None = None
    """A run keeps its workspace: nothing but null is accepted."""
    config_path: None = None
    """A run keeps its score: nothing but null is accepted."""
    no_reload: bool = True
    """Sent by older clients; a run always goes on with the score it was submitted with."""


class RetryParams(JobParams):
    """Parameters of `job.retry`."""

    sheet: int | None = Field(default=None, ge=1)
    """Run this sheet and all downstream of it again; absent: whatever did not succeed."""


class ClearParams(Params):
    """Parameters of `job.clear`: a run must meet every condition that is given."""

    statuses: list[str] | None = None
    older_than_seconds: float | None = Field(default=None, ge=0)
    job_ids: list[str] | None = None

    def ended(self) -> list[JobStatus] | None:
        """The statuses that are asked for. Raises RpcError for one there is not."""
        if self.statuses is None:
            return None
        try:
            return [JobStatus(status) for status in self.statuses]
        except ValueError as error:
            raise RpcError(Code.INVALID_PARAMS, f"`statuses`: {error}") from None


class LiftParams(Params):
    """Parameters of `daemon.clear_rate_limits`."""

    instrument: str | None = None
    """Only this one's; absent: those of all instruments."""


class StreamParams(Params):
    """Parameters of `daemon.monitor.stream`."""

    job_id: str | None = None
    """Only events of this job; absent: all events."""


class OutputParams(JobParams):
    """Parameters of `job.output`; see `model.output.OutputRequest`."""

    sheet: int = Field(ge=1)
    attempt: int | None = Field(default=None, ge=1)
    stream: Literal["stdout", "stderr"] = "stdout"
    raw: bool = False
    offset: int | None = Field(default=None, ge=0)
    before: int | None = Field(default=None, ge=0)
    lines: int | None = Field(default=None, ge=0)
    limit: int = Field(default=PAGE_BYTES, ge=1, le=MOST_PAGE_BYTES)
    follow: bool = False
    """Go on, in notifications, until the sheet (or the attempt) has ended."""

    def request(self) -> OutputRequest:
        """What is asked for."""
        return OutputRequest(
            self.job_id,
            self.sheet,
            attempt=self.attempt,
            stderr=self.stream == "stderr",
            raw=self.raw,
            offset=self.offset,
            before=self.before,
            lines=self.lines,
            limit=self.limit,
        )


class SubmitParams(Params):
    """Parameters of `job.submit`."""

    config_path: str = Field(min_length=1)
    workspace: str | None = None
    fresh: bool = False
    replace: bool = False
    start_sheet: int | None = Field(default=None, ge=1)
    variables: dict[str, Any] = Field(default_factory=dict)
    client_cwd: str | None = None
    # Older clients send these always; only the value that asks for nothing is accepted.
    self_healing: bool | None = None
    self_healing_auto_confirm: bool | None = None
    dry_run: bool | None = None
    chain_depth: int | None = None

    def request(self) -> SubmitRequest:
        """The submission. Raises RpcError when it asks for something there is not."""
        for name in ("self_healing", "self_healing_auto_confirm", "dry_run", "chain_depth"):
            if getattr(self, name):
                raise RpcError(Code.INVALID_PARAMS, f"`{name}` is not supported by job.submit")
        return SubmitRequest(
            config_path=self.config_path,
            workspace=self.workspace,
            fresh=self.fresh,
            replace=self.replace,
            start_sheet=self.start_sheet,
            variables=self.variables,
            client_cwd=self.client_cwd,
        )


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table."""

    params: type[Params]
    call: Callable[[Service, Any], Awaitable[object]]
    """Gets the service and an instance of `params`; what it returns is the result.

    One that returns a LongResult has LongParams.
    """
    changes: bool = False
    """True when it may start or stop work; refused while the conductor is leaving."""


ParamsT = TypeVar("ParamsT", bound=Params)


def parse_params(model: type[ParamsT], given: object) -> ParamsT:
    """Check parameters. Raises RpcError that names every fault, in `data.errors` one by one."""
    if given is not None and not isinstance(given, dict):
        raise RpcError(Code.INVALID_PARAMS, "`params` must be an object of names")
    try:
        return model.model_validate(given or {})
    except ValidationError as error:
        faults = [
            {"param": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        words = "; ".join(f"`{fault['param']}`: {fault['message']}" for fault in faults)
        raise RpcError(Code.INVALID_PARAMS, words, data={"errors": faults}) from None


async def _submit(service: Service, params: SubmitParams) -> object:
    reply = await service.submit(params.request())
    return {
        "job_id": reply.job_id,
        "status": reply.status,
        "message": reply.message,
        "run": reply.run,
        "exit_code": reply.exit_code,
    }


async def _status(service: Service, params: StatusParams) -> object:
    picture = await service.status(params.job_id)
    sheets = ((str(sheet["num"]), sheet) for sheet in _taken(picture.pop("sheets")))
    return LongResult(sheets, "sheets", picture)


async def _list(service: Service, params: LongParams) -> object:
    return LongResult(("", job) for job in _taken(await service.list_jobs()))


def _taken(items: list[Any]) -> Iterator[Any]:
    """The items in order, each forgotten once it is used: to free 100,000 at once takes its time."""
    items.reverse()
    while items:
        yield items.pop()


async def _pause(service: Service, params: JobParams) -> object:
    return {"paused": True, **_receipt(await service.pause(params.job_id))}


async def _resume(service: Service, params: ResumeParams) -> object:
    return {"status": "accepted", **_receipt(await service.resume(params.job_id))}


async def _cancel(service: Service, params: JobParams) -> object:
    return cancel_answer(await service.cancel(params.job_id))


def cancel_answer(receipt: Receipt) -> dict[str, Any]:
    """The result of `job.cancel`."""
    return {"cancelled": True, **_receipt(receipt)}


async def _retry(service: Service, params: RetryParams) -> object:
    receipt = await service.retry(params.job_id, params.sheet)
    return {"status": "accepted", **_receipt(receipt)}


async def _clear(service: Service, params: ClearParams) -> object:
    deleted = await service.clear(
        jobs=params.job_ids, statuses=params.ended(), older_than=params.older_than_seconds
    )
    return {"deleted": deleted}


async def _output(service: Service, params: OutputParams) -> object:
    request = params.request()
    return page_to_wire(request, await service.output(request))


def _receipt(receipt: Receipt) -> dict[str, Any]:
    # `status` is taken: in the answers that people's programs read it says accepted or rejected.
    return {
        "job_id": receipt.job_id,
        "run": receipt.run,
        "job_status": str(receipt.status),
        "message": receipt.message,
    }


async def _health(service: Service, params: Params) -> object:
    return {**await service.health(), "protocol": PROTOCOL}


async def _daemon_status(service: Service, params: Params) -> object:
    health = await service.health()
    states = [JobStatus(job["status"]) for job in await service.list_jobs()]
    return {
        **health,
        "protocol": PROTOCOL,
        "running_jobs": states.count(JobStatus.RUNNING),
        "total_jobs_active": sum(state.active for state in states),
        "memory_usage_mb": _memory_mb(),
    }


async def _rate_limits(service: Service, params: Params) -> object:
    limits = await service.rate_limits()
    backends: dict[str, dict[str, float]] = {}
    for limit in limits:
        left = backends.setdefault(limit["instrument"], {"seconds_remaining": 0.0})
        left["seconds_remaining"] = max(left["seconds_remaining"], limit["seconds_remaining"])
    return {"backends": backends, "active_limits": len(limits), "limits": limits}


async def _clear_rate_limits(service: Service, params: LiftParams) -> object:
    cleared = await service.clear_rate_limits(params.instrument)
    return {"cleared": cleared, "instrument": params.instrument}


def _memory_mb() -> float | None:
    """Resident memory of the conductor's own process; None when it cannot be read."""
    try:
        return round(psutil.Process().memory_info().rss / 2**20, 1)
    except psutil.Error:
        return None


METHODS: dict[str, Method] = {
    "job.submit": Method(SubmitParams, _submit, changes=True),
    "job.status": Method(StatusParams, _status),
    "job.list": Method(LongParams, _list),
    "job.pause": Method(JobParams, _pause, changes=True),
    "job.resume": Method(ResumeParams, _resume, changes=True),
    "job.cancel": Method(JobParams, _cancel, changes=True),
    "job.retry": Method(RetryParams, _retry, changes=True),
    "job.clear": Method(ClearParams, _clear, changes=True),
    OUTPUT: Method(OutputParams, _output),
    "daemon.health": Method(Params, _health),
    "daemon.status": Method(Params, _daemon_status),
    "daemon.rate_limits": Method(Params, _rate_limits),
    "daemon.clear_rate_limits": Method(LiftParams, _clear_rate_limits, changes=True),
}
"""Every method that ends with its answer."""
