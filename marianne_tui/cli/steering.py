"""Commands about a job that a conductor carries out: asked over the socket, answered in words."""

from __future__ import annotations

import time
from typing import Any

from marianne_core.model.errors import NoConductorError
from marianne_core.model.runs import JobRef
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import RunRow
from marianne_core.serve.blocking import call
from marianne_tui.cli.output import print_json
from marianne_tui.cli.reading import conductor_of, find_home
from marianne_tui.cli.sanitize import one_line

PATIENCE = 600.0
"""Seconds. A cancel is answered when the last process is gone, which takes the grace and more."""

_STARTING = 10.0
"""Seconds for a conductor that starts to open its socket: it takes up what an earlier one left."""
_NAP = 0.05


def ask(home: Home, method: str, **params: Any) -> dict[str, Any]:
    """Ask the conductor for something; returns its answer.

    One that has taken the state directory but not yet opened its socket is waited for. Raises
    NoConductorError when none answers, and what the conductor refuses with.
    """
    deadline = time.monotonic() + _STARTING
    while True:
        try:
            return dict(call(home.socket, method, params, PATIENCE))
        except NoConductorError as error:
            # Only where nothing was sent: an order must not be given twice.
            unheard = isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError)
            if not unheard or time.monotonic() > deadline or conductor_of(home) is None:
                raise
        time.sleep(_NAP)


def steer(method: str, job: JobRef, *, as_json: bool) -> None:
    """Order what only a running conductor can do, and print its answer.

    Raises NoConductorError, with what to do instead, when there is none.
    """
    home = find_home()
    try:
        answer = ask(home, method, job_id=str(job))
    except NoConductorError:
        raise needs_conductor(home, job, method.removeprefix("job.")) from None
    if as_json:
        print_json(answer)
    else:
        print(one_line(answer["message"]))


def needs_conductor(home: Home, job: JobRef, what: str) -> NoConductorError:
    """The error for a command that cannot be done without a conductor.

    Raises JobSubmissionError instead when the job is unknown to the store too.
    """
    with open_reader(home) as reader:
        run = reader.get_run(job)
    holder = conductor_of(home)
    if holder is not None:
        who = f" (pid {holder.pid})" if holder.pid else ""
        return NoConductorError(
            f"the conductor{who} does not answer, so there is nobody to {what}",
            where=str(job),
            hint="mzt doctor says more",
        )
    return NoConductorError(_why(run, what), where=str(job), hint=_instead(run))


def _why(run: RunRow, what: str) -> str:
    if run.status.terminal:
        return f"no conductor is running, and the job is {run.status}: nothing to {what}"
    return f"no conductor is running, so the job does not move and there is nothing to {what}"


def _instead(run: RunRow) -> str:
    if run.status.terminal:
        return f"mzt status {run.job_id} shows where it stands"
    return f"mzt resume {run.job_id} starts a conductor that goes on with it"
