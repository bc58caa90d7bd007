"""From the end of a process and what its output says to the outcome of an attempt."""

from __future__ import annotations

import signal
from dataclasses import replace

import regex

from marianne_core.model.outcome import Ended, Limit, Outcome
from marianne_core.run.attempt_files import AttemptEnd
from marianne_core.run.instrument.codes import CODES
from marianne_core.run.instrument.command_line import InstrumentError
from marianne_core.run.instrument.result import ErrorType, InstrumentResult
from marianne_core.run.instrument.tails import one_line
from marianne_core.run.launcher import LaunchError
from marianne_core.run.shim import NO_DIRECTORY, NO_STATUS_FILE

_LIMIT_CODE = "E102"
_BY_ERROR_TYPE = {
    ErrorType.RATE_LIMIT: (_LIMIT_CODE, "rate limit"),
    ErrorType.AUTH: ("E502", "credentials refused"),
    ErrorType.CRASH: ("E003", "the instrument crashed"),
    ErrorType.STALE: ("E006", "the instrument was stuck"),
    ErrorType.CONNECTION: ("E901", "the service could not be reached"),
    ErrorType.TIMEOUT: ("E504", "the instrument waited too long for an answer"),
    ErrorType.CAPACITY: ("E103", "no capacity"),
    ErrorType.ANSWER: ("E503", "the service's answer cannot be used"),
}

_NO_ANSWER = frozenset({ErrorType.RATE_LIMIT, ErrorType.CAPACITY, ErrorType.CONNECTION})
"""A service that lets a program wait."""

_CRASHES = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE),
        *(signal.SIGSYS, signal.SIGTRAP),
    }
)
"""Signals that a program gets for its own fault: the next try would end the same way."""

_OUT_OF_MEMORY = regex.compile(
    r"out of memory|oom[- ]?kill|cannot allocate memory|memory allocation of \d+ bytes failed",
    regex.IGNORECASE,
)

_GAVE_UP_WAITING = 124
"""What `timeout` leaves with."""
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127

_LAUNCH_CODES = {NO_STATUS_FILE: "E403", NO_DIRECTORY: "E603"}


def outcome_of(
    end: AttemptEnd, result: InstrumentResult | None, *, timed_out_after: float | None = None
) -> Outcome:
    """The outcome of an attempt whose process is gone; validations come after it.

    `result` may be None where there was nothing to read. `timed_out_after` is the sheet's timeout
    in seconds when its tree was ended for it; then an exit status of 0 that came at the last moment
    does not count, and neither does an error on the way, unless the service answered nothing at all:
    some programs ask a service that refuses them again and again until they are ended. Codes, and
    whether they may be retried, are those of the field reference, section 4.5; 128+n is signal n; no
    word in the output counts unless the profile has a pattern for it.
    """
    if timed_out_after is not None:
        when = f"timed out after {timed_out_after:g} s"
        if result is not None and result.error_type in _NO_ANSWER and not result.input_tokens:
            code, what = _BY_ERROR_TYPE[result.error_type]
            reason = f"{what}, until it {when}{_said(result)}"
            return _failed(code, reason, end, result, ended=Ended.TIMEOUT)
        reason = f"{when}; its processes were ended"
        return _failed("E001", reason, end, result, ended=Ended.TIMEOUT)
    if end.exit_status is None:
        return Outcome(Ended.LOST, code="E999", reason="its shim left no exit status")
    if end.launch_failure:
        code = _LAUNCH_CODES.get(end.exit_status, "E505")
        return _failed(code, f"could not be started: {one_line(end.launch_failure)}", end, result)
    if result is not None and result.success:
        return Outcome(
            Ended.OK,
            exit_code=end.exit_status,
            input_tokens=result.input_tokens,
            output_tokens=result.output_tokens,
            cost_usd=result.cost_usd,
        )
    status = end.exit_status
    if result is not None and result.own_exit_code:
        end = AttemptEnd(status)
    code, what = _code_of(status, end.signal, result)
    return _failed(code, f"{what}{_said(result)}", end, result)


def with_limit(outcome: Outcome, result: InstrumentResult | None, wall: float) -> Outcome:
    """The outcome together with the limit it failed for, if it did; `wall` is now, in seconds since
    the epoch."""
    if result is None or outcome.code != _LIMIT_CODE:
        return outcome
    reset = result.reset
    limit = Limit() if reset is None else Limit(max(0.0, reset.at - wall), reset.by_clock)
    return replace(outcome, limit=limit)


def refused(error: InstrumentError | LaunchError) -> Outcome:
    """The outcome of an attempt of which nothing ran, because it could not be prepared or started."""
    return Outcome(
        Ended.FAILED,
        code=error.code,
        reason=one_line(f"{error.where}: {error.what}" if error.where else error.what, 400),
        retriable=error.retriable,
    )


def _code_of(status: int, number: int | None, result: InstrumentResult | None) -> tuple[str, str]:
    """The error code of a failed execution, and what happened in words."""
    if result is not None and result.error_type is not None:
        code, words = _BY_ERROR_TYPE[result.error_type]
        return code, f"{words} (exit status {status})"
    if result is not None and result.silent:
        return "E009", f"exit status {status}, but its output reports no success"
    if number is not None:
        return _code_of_signal(number, result)
    if status == _NOT_FOUND:
        return "E505", f"exit status {status}: a command was not found"
    if status == _NOT_EXECUTABLE:
        return "E505", f"exit status {status}: a command could not be executed"
    if status == _GAVE_UP_WAITING:
        return "E001", f"exit status {status}: a time limit of its own"
    return "E009", f"exit status {status}"


def _code_of_signal(number: int, result: InstrumentResult | None) -> tuple[str, str]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    what = f"ended by {name}"
    if number == signal.SIGINT:
        return "E004", what
    if number in _CRASHES:
        return "E003", what
    if (
        number == signal.SIGKILL
        and result is not None
        and _OUT_OF_MEMORY.search(f"{result.error[:10_000]}\n{result.last_line}")
    ):
        return "E005", f"{what}, out of memory"
    return "E002", what


def _said(result: InstrumentResult | None) -> str:
    """The instrument's own words, as the end of a reason."""
    if result is None:
        return ""
    if result.error_type is not None and result.matched:
        return f": {result.matched}"
    if error := one_line(result.error):
        return f": {error}"
    if result.last_line:
        return f"; last line of {result.last_line_of}: {result.last_line}"
    return "; it wrote nothing"


def _failed(
    code: str,
    reason: str,
    end: AttemptEnd,
    result: InstrumentResult | None,
    *,
    ended: Ended = Ended.FAILED,
) -> Outcome:
    known = CODES[code]
    return Outcome(
        ended,
        code=code,
        reason=reason,
        retriable=known.retriable,
        min_delay=known.min_delay,
        exit_code=end.exit_status,
        signal=end.signal,
        input_tokens=result.input_tokens if result else None,
        output_tokens=result.output_tokens if result else None,
        cost_usd=result.cost_usd if result else None,
    )
