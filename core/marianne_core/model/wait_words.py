"""Waits in words for a person, with times of day for those that may take hours."""

from __future__ import annotations

from marianne_core.model.moments import parked_words
from marianne_core.model.waits import Wait, WaitReason


def wait_words(wait: Wait, now: float, wall: float) -> str:
    """One line about a wait as `Wait.words` says it; a wait that may take hours names a time of day.

    `now` is of the clock of `wait.until`, `wall` the same moment in seconds since the epoch.
    """
    if wait.reason is WaitReason.RATE_LIMIT and wait.until is not None:
        return parked_words(wait.blocker, wall + wait.until - now, wall)
    return wait.words(now)


def with_reason(wait: Wait, words: str, reason: str) -> str:
    """The words of a wait together with the reason that its sheet has already ("" = none).

    A wait for a retry tells that reason itself; where a limit ends is told before what met it.
    """
    if not reason or wait.reason is WaitReason.RETRY:
        return words
    first, second = (words, reason) if wait.reason is WaitReason.RATE_LIMIT else (reason, words)
    return f"{first}; {second}"
