"""What both ends of the socket must agree on: limits, error numbers, and errors as JSON.

Standard library only, since fast commands read it. The numbers are those of the field reference,
section 7.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from marianne_core.model.errors import (
    InputError,
    JobSubmissionError,
    MztError,
    NoConductorError,
    StateError,
)

PROTOCOL = 1
"""Version of the protocol, told by `daemon.health` and `daemon.status`."""

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message, its newline not counted."""

EVENT_METHOD = "monitor.event"
"""Name of the notification that carries one event of a stream."""


PART_METHOD = "answer.part"
"""Name of the notification that carries some items of a long answer, ahead of the answer."""

PIECE_METHOD = "output.piece"
"""Name of the notification that carries some of a sheet's output."""

END_METHOD = "output.end"
"""Name of the notification after which no more of a sheet's output comes."""


class Code(IntEnum):
    """Error numbers of the protocol."""

    PARSE = -32700
    """Not JSON, not UTF-8, or nested too deeply."""
    INVALID_REQUEST = -32600
    """JSON, but not a request of this protocol."""
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    """Parameters of a wrong name or type, or with a value that is the person's mistake."""
    INTERNAL = -32603
    """A fault of the conductor; its log has the traceback."""
    JOB = -32000
    """Unknown job, or a job in a state that does not allow the command."""
    EXHAUSTED = -32001
    """No room: the store refuses, the answer is too long, or there are too many connections."""
    LEAVING = -32003
    """The conductor is on its way out and takes no more commands."""


_CLASSES: dict[int, type[MztError]] = {
    Code.INVALID_PARAMS: InputError,
    Code.JOB: JobSubmissionError,
    Code.EXHAUSTED: StateError,
    Code.LEAVING: NoConductorError,
}

_RESTART = (
    "the running conductor may be of another version; Ctrl-C twice ends it and leaves its sheets"
    " running, `mzt resume` goes on with them"
)


def error_code(error: MztError) -> Code:
    """The number under which an error of ours travels."""
    for code, kind in _CLASSES.items():
        if isinstance(error, kind):
            return Code(code)
    return Code.JOB


def error_data(error: MztError) -> dict[str, Any]:
    """The error's parts, so that the other end can show the same lines and end alike."""
    return {
        "what": error.what,
        "where": error.where,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


def error_from_wire(error: object) -> MztError:
    """The exception for the `error` member of a reply, whatever the other end put there."""
    fields = error if isinstance(error, dict) else {}
    code, data = fields.get("code"), fields.get("data")
    details = data if isinstance(data, dict) else {}
    what = str(details.get("what") or fields.get("message") or "the conductor reports an error")
    hint = str(details.get("hint") or "")
    if code == Code.METHOD_NOT_FOUND and not hint:
        hint = _RESTART
    kind = _CLASSES.get(code, MztError) if isinstance(code, int) else MztError
    raised = kind(what, where=str(details.get("where") or ""), hint=hint)
    exit_code = details.get("exit_code")
    if isinstance(exit_code, int):
        raised.exit_code = exit_code
    return raised


class Parts:
    """Puts an answer together whose items came ahead of it, in notifications."""

    def __init__(self) -> None:
        self._member = ""
        self._named: dict[str, Any] = {}
        self._listed: list[Any] = []

    def add(self, params: dict[str, Any]) -> None:
        """Take the `params` of one part. Raises ValueError for what is not a part."""
        items, self._member = params.get("items"), str(params.get("member") or "")
        if self._member and isinstance(items, dict):
            self._named.update(items)
        elif not self._member and isinstance(items, list):
            self._listed += items
        else:
            raise ValueError("not a part of an answer")

    def complete(self, result: Any) -> Any:
        """The whole result, from the answer that came last."""
        if self._member and isinstance(result, dict):
            return {**result, self._member: self._named}
        return self._listed or result


def no_conductor(path: object, why: str | OSError) -> NoConductorError:
    """The error for a socket at which nobody answers, and why."""
    if isinstance(why, FileNotFoundError):
        why = "there is no socket"
    elif isinstance(why, TimeoutError):
        why = "no answer in time"
    elif isinstance(why, ConnectionError):
        why = "nobody listens" if isinstance(why, ConnectionRefusedError) else "it hung up"
    elif isinstance(why, OSError):
        why = why.strerror or str(why)
    return NoConductorError(
        f"no conductor answers ({why})",
        where=str(path),
        hint="`mzt run SCORE` starts one, and so does `mzt resume JOB`",
    )


def not_the_protocol(path: object) -> MztError:
    """The error for a socket at which something else than a conductor speaks."""
    return MztError(
        "what answers does not speak the conductor's protocol", where=str(path), hint=_RESTART
    )
