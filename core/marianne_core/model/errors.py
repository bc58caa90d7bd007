"""Errors a person can act on: what happened, where, what to do, and the exit status."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
"""The job failed, or a check found errors."""
EXIT_INPUT = 2
"""The person's input is wrong."""
EXIT_NO_CONDUCTOR = 3
"""A conductor is needed and none answers."""
EXIT_LEFT = 4
"""The job is paused, left running, or cancelled."""
EXIT_INTERRUPTED = 130
"""Ended by Ctrl-C."""


class MztError(Exception):
    """Base of every error that is shown to a person without a traceback."""

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        """One sentence: what happened."""
        self.where = where
        """File, line or object it happened at; may be empty."""
        self.hint = hint
        """What to do about it; may be empty."""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class InputError(MztError):
    """The person's input (score, option, path, profile, configuration) is wrong."""

    exit_code = EXIT_INPUT


class NoConductorError(MztError):
    """A conductor is needed and none answers."""

    exit_code = EXIT_NO_CONDUCTOR


class StateError(MztError):
    """The state directory or its database cannot be used as it is."""


class OlderStoreError(StateError):
    """The database is of an earlier version; the next conductor brings it up to date."""


class JobSubmissionError(MztError):
    """A control operation cannot be carried out (unknown job, wrong state)."""


class UnknownJobError(JobSubmissionError):
    """Nothing is remembered under the name that a person gave."""

    exit_code = EXIT_INPUT
