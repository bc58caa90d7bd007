"""Commands about a job that a conductor carries out: asked over the socket, answered in words."""

from __future__ import annotations

from typing import Any

from marianne_core.model.errors import NoConductorError
from marianne_core.model.runs import JobRef
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import RunRow
from marianne_core.serve.blocking import call

PATIENCE = 600.0
"""Seconds. A cancel is answered when the last process is gone, which takes the grace and more."""


def ask(home: Home, method: str, job: JobRef, **more: Any) -> dict[str, Any]:
    """Ask the conductor for something about a job; returns its answer.

    Raises NoConductorError when none answers, and what the conductor refuses with.
    """
    answer = call(home.socket, method, {"job_id": str(job), **more}, PATIENCE)
    return dict(answer)


def needs_conductor(home: Home, job: JobRef, what: str) -> NoConductorError:
    """The error for a command that cannot be done without a conductor.

    Raises JobSubmissionError instead when the job is unknown to the store too.
    """
    with open_reader(home) as reader:
        run = reader.get_run(job)
    return NoConductorError(_why(run, what), where=str(job), hint=_instead(run))


def _why(run: RunRow, what: str) -> str:
    if run.status.terminal:
        return f"no conductor is running, and the job is {run.status}: nothing to {what}"
    return f"no conductor is running, so the job does not move and there is nothing to {what}"


def _instead(run: RunRow) -> str:
    if run.status.terminal:
        return f"mzt status {run.job_id} shows where it stands"
    return f"mzt resume {run.job_id} starts a conductor that goes on with it"
