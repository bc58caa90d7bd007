"""What a client asks of a conductor, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from marianne_core.model.states import JobStatus


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """A score to be run."""

    config_path: str
    """The score file; relative paths count from `client_cwd`."""
    workspace: str | None = None
    """Overrides the score's workspace; relative paths count from `client_cwd`."""
    fresh: bool = False
    """Archive or empty the workspace first, and start a new run even of a paused job."""
    replace: bool = False
    """Cancel a run of this job that is still queued, running or paused, then start a new one."""
    start_sheet: int | None = None
    """Skip the sheets before this number."""
    variables: dict[str, Any] = field(default_factory=dict)
    """Prompt variables that override the score's (`--var`)."""
    client_cwd: str | None = None
    """Working directory of the person who asks."""


@dataclass(frozen=True, slots=True)
class SubmitReply:
    """The conductor's answer to a submission. A person's mistake is a rejection, not an exception."""

    job_id: str
    """Empty when the submission was rejected before an id existed."""
    status: str
    """`accepted` or `rejected`."""
    message: str = ""
    run: int = 0
    """Number of the run within the job, from 1; 0 when rejected."""
    exit_code: int = 0
    """Exit status a command should end with when rejected."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a command about a job: given only after the change is on the disk."""

    job_id: str
    run: int
    status: JobStatus
    """Where the run stands now."""
    message: str = ""
    """One line for a person."""
