"""The one door between a user interface and a conductor, wherever that conductor lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from marianne_core.model.output import OutputPage, OutputRequest, OutputStream
from marianne_core.model.requests import Receipt, SubmitReply, SubmitRequest
from marianne_core.model.states import JobStatus
from marianne_core.watch.bus import EventStream


class Client(Protocol):
    """Commands go down, answers and events come up.

    `job` is a job id, or `job#3` for its third run; alone it means its newest run. Every command
    returns after its effect is committed. Raises JobSubmissionError for an unknown job or a state
    that does not allow the command, InputError for wrong parameters, NoConductorError when the
    conductor is gone, StateError when the store refuses.
    """

    async def submit(self, request: SubmitRequest) -> SubmitReply:
        """Start a new run of a score; a person's mistake comes back as a rejection."""
        ...

    async def status(self, job: str) -> dict[str, Any]:
        """The run as `mzt status --json` prints it, with the live `reason` of every wait."""
        ...

    async def list_jobs(self) -> list[dict[str, Any]]:
        """The newest run of every job, newest first."""
        ...

    async def pause(self, job: str) -> Receipt:
        """Start no new sheet of the run; running ones end first."""
        ...

    async def resume(self, job: str) -> Receipt:
        """Go on with a paused, failed or cancelled run; running sheets are not touched."""
        ...

    async def cancel(self, job: str) -> Receipt:
        """End the run and the process trees of its sheets; returns when the trees are gone."""
        ...

    async def retry(self, job: str, sheet: int | None = None) -> Receipt:
        """Run failed, blocked and cancelled sheets again, or sheet N and all downstream of it."""
        ...

    async def clear(
        self,
        *,
        jobs: Sequence[str] | None = None,
        statuses: Sequence[JobStatus] | None = None,
        older_than: float | None = None,
    ) -> int:
        """Forget runs that are over, rows and files; returns how many. No other is ever cleared.

        A run must meet every condition given: `jobs` names it (a job alone stands for all its
        runs), it ended in one of `statuses`, and `older_than` seconds ago or more. Raises
        InputError when none is given.
        """
        ...

    async def rate_limits(self) -> list[dict[str, Any]]:
        """The rate limits that hold: `instrument`, `model` (None = all of it), `until` (seconds since
        the epoch), `seconds_remaining`, `reason`, `told_at`."""
        ...

    async def clear_rate_limits(self, instrument: str | None = None) -> int:
        """Use an instrument again that a rate limit has parked, or all; how many were lifted."""
        ...

    async def health(self) -> dict[str, Any]:
        """Liveness: `status`, `pid`, `uptime_seconds`, `shutting_down`, `version`, `schema`."""
        ...

    async def events(self, job: str | None = None) -> EventStream:
        """Subscribe; when this returns, no later event of the job (or of all jobs) is missed.

        A reader that is too slow gets an event `stream.gap` with the number of events dropped.
        The stream ends when the conductor leaves; `aclose()` it to unsubscribe.
        """
        ...

    async def output(self, request: OutputRequest) -> OutputPage:
        """A part of what a sheet wrote: its end, or from an offset on, or backward from one.

        Of a file of any length only that part is read. Raises InputError for a sheet, an attempt or
        bounds that there are not.
        """
        ...

    async def follow_output(self, request: OutputRequest) -> OutputStream:
        """What a sheet writes, from the given place on, to the sheet's end (of one attempt: to its
        end). Raises as `output`.

        `outcome` of the stream says then how the sheet ended; it is None where the conductor left or
        the stream was given up. A reader that is slow misses nothing and holds up nobody.
        """
        ...

    async def close(self) -> None:
        """Let go of the connection; the conductor is not affected."""
        ...
