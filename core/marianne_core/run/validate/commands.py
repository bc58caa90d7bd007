"""The rule `command_succeeds`: a line for bash that ends with status 0."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Protocol

from marianne_core.model.outcome import FailureCategory
from marianne_core.run.command import CommandResult
from marianne_core.run.instrument.tails import last_line, one_line
from marianne_core.run.launcher import LaunchError
from marianne_core.run.system_errors import Shortage, when_there_are_means
from marianne_core.run.validate.verdict import Verdict

_SHOWN = 80
"""How much of a command stands in a sentence."""


class CommandRunner(Protocol):
    """Runs a helper process in a session of its own; `run_command` is the real one."""

    def __call__(
        self, command: str, /, *, cwd: Path, env: Mapping[str, str], token: str, timeout: float
    ) -> Awaitable[CommandResult]:
        """Run a text with bash, to its end or the timeout (seconds); leaves no process behind.

        Raises LaunchError when it cannot be started.
        """
        ...


async def command_succeeds(
    command: str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    token: str,
    seconds: float,
    run: CommandRunner,
) -> Verdict:
    """The rule `command_succeeds`; `seconds` is its time limit, `token` marks its processes."""
    shown = one_line(command, _SHOWN)
    expected = f"`{shown}` ends with status 0"
    try:
        # What the system is short of is no fault of the work that is judged, and that was paid for.
        ran = await when_there_are_means(
            lambda: run(command, cwd=cwd, env=env, token=token, timeout=seconds),
            lacking=tuple(Shortage),
        )
    except LaunchError as error:
        return Verdict(
            False,
            expected,
            "not run",
            f"`{shown}` could not be started: {_words(error)}",
            FailureCategory.ERROR,
            one_line(error.hint) or "See to what the message names, then retry the sheet.",
            final=not error.retriable,
        )
    return _verdict(ran, shown, expected, seconds)


def _verdict(ran: CommandResult, shown: str, expected: str, limit: float) -> Verdict:
    if ran.ok:
        return Verdict(True, expected, "status 0")
    said = last_line(ran.output)
    saying = f": {said}" if said else ""
    if ran.timed_out:
        # Looking again would take as long again, up to ten times.
        return Verdict(
            False,
            expected,
            f"still running after {limit:g} s{saying}",
            f"`{shown}` took longer than {limit:g} s and was ended",
            FailureCategory.ERROR,
            "Make the command quicker, or raise the rule's timeout_seconds.",
            final=True,
        )
    if ran.signal is not None:
        ended = f"ended by {_signal_name(ran.signal)}"
    elif ran.exit_code is None:
        ended = "ended, nobody knows how"
    else:
        ended = f"status {ran.exit_code}"
    return Verdict(
        False,
        expected,
        f"{ended}{saying}",
        f"`{shown}`: {ended}{saying}",
        FailureCategory.INCOMPLETE,
        f"Do what makes `{shown}` succeed.",
    )


def _words(error: LaunchError) -> str:
    return one_line(f"{error.what} ({error.where})" if error.where else error.what)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
