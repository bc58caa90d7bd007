"""Commands about a job that a conductor carries out: asked over the socket, answered in words."""

from __future__ import annotations

import time
from typing import Any

from marianne_core.model.errors import (
    EXIT_INTERRUPTED,
    JobSubmissionError,
    MztError,
    NoConductorError,
    StateError,
)
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.serve.blocking import call
from marianne_tui.cli.output import print_json
from marianne_tui.cli.reading import conductor_of, find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import counted

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


def cancel(job: JobRef, *, as_json: bool) -> None:
    """End a run and the processes of its sheets, whoever conducts: this process if nobody does.

    Raises UnknownJobError, JobSubmissionError for a run that is over otherwise, and StateError when
    the state directory cannot be used.
    """
    home = find_home()
    try:
        answer = ask(home, "job.cancel", job_id=str(job))
    except NoConductorError:
        answer = _cancel_alone(home, job)
    if as_json:
        print_json(answer)
    else:
        print(one_line(answer["message"]))


def _cancel_alone(home: Home, job: JobRef) -> dict[str, Any]:
    with open_reader(home) as reader:
        run = reader.get_run(job)
    if run.status.terminal and run.status is not JobStatus.CANCELLED:
        raise JobSubmissionError(f"job {run.job_id} is {run.status}: nothing to cancel")
    if conductor_of(home) is not None:
        raise needs_conductor(home, job, "cancel")
    # Imported here: asking a running conductor needs none of it.
    import asyncio

    from marianne_core.conductor import Conductor
    from marianne_core.config.daemon import load_daemon_config
    from marianne_core.model.requests import Receipt
    from marianne_core.run.processes import become_subreaper
    from marianne_core.serve.client import Client
    from marianne_core.serve.errand import errand
    from marianne_core.serve.methods import cancel_answer

    name = f"{run.job_id}#{run.run}"

    async def order(client: Client) -> Receipt:
        return await client.cancel(name)

    settings = load_daemon_config()
    conductor = Conductor(settings, home, subreaper=become_subreaper(), dispatch=False)
    working = errand(conductor, home, order, log=settings.log_file, log_level=settings.log_level)
    try:
        receipt = asyncio.run(working)
    except StateError:
        # Another command may have become the conductor at this moment.
        if conductor_of(home) is None:
            raise
        return ask(home, "job.cancel", job_id=name)
    if receipt is None:
        raise _Interrupted(
            "interrupted before all processes of the job were gone",
            where=str(job),
            hint=f"mzt cancel {run.job_id} ends what is left",
        )
    return cancel_answer(receipt)


class _Interrupted(MztError):
    """A signal came before the order was carried out."""

    exit_code = EXIT_INTERRUPTED


def needs_conductor(home: Home, job: JobRef, what: str) -> NoConductorError:
    """The error for a command that cannot be done without a conductor.

    Raises JobSubmissionError instead when the job is unknown to the store too.
    """
    with open_reader(home) as reader, reader.snapshot():
        run = reader.get_run(job)
        begun = sum(s.status is SheetStatus.IN_PROGRESS for s in reader.sheets(run.run_id))
    holder = conductor_of(home)
    if holder is not None:
        who = f" (pid {holder.pid})" if holder.pid else ""
        return NoConductorError(
            f"the conductor{who} does not answer, so there is nobody to {what}",
            where=str(job),
            hint="mzt doctor says more",
        )
    if run.status.terminal:
        return NoConductorError(
            f"no conductor is running, and the job is {run.status}: nothing to {what}",
            where=str(job),
            hint=f"mzt status {run.job_id} shows where it stands",
        )
    return NoConductorError(
        f"no conductor is running, so no new sheet starts and there is nothing to {what}"
        + (f", but {counted(begun, 'sheet')} may still run" if begun else ""),
        where=str(job),
        hint=f"mzt resume {run.job_id} goes on with it, mzt cancel {run.job_id} ends it",
    )
