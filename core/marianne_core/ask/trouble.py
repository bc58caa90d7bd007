"""Why a turn failed, in words that its instrument's profile recognises."""

from __future__ import annotations

NO_KEY = "no key: "
UNREACHABLE = "cannot reach "
LOST = "lost the connection "
LATE = "no answer within "
ANSWER = "the answer "
ANSWER_FAILED = f"{ANSWER}ended with an error"
STATUS = "HTTP "
"""How errors begin. What a service says comes behind it: it cannot pretend to be another one."""


class Trouble(Exception):
    """A turn that failed."""

    def __init__(
        self, words: str, *, status: int | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(words)
        self.words = words
        self.status = status
        """HTTP status with which the service refused, or what its error means as one."""
        self.retry_after = retry_after
        """Seconds after which the service may be asked again, if it said so."""
