"""Parts of an attempt: some are cut short when it is to end, some must be done whatever is lacking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from marianne_core.run.active import Playing
from marianne_core.run.system_errors import when_there_are_means

T = TypeVar("T")


class CutShort(Exception):
    """The attempt is to end: what it was doing was stopped."""


async def cut_short(attempt: Playing, work: Coroutine[Any, Any, T]) -> T:
    """Run a part that is stopped when the attempt is to end. Raises CutShort then.

    Returns, or raises, when the part is over: its own processes are ended by then.
    """
    if attempt.ended_as is not None:
        work.close()
        raise CutShort
    task = asyncio.create_task(work)
    attempt.check = task
    try:
        return await task
    except asyncio.CancelledError:
        # Cancelled is either the part alone, or all of the attempt: the conductor leaves.
        if attempt.ended_as is not None and not _is_left():
            raise CutShort from None
        raise
    finally:
        attempt.check = None


async def with_means(attempt: Playing, what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Run a part that a paid run needs, again and again while the system lacks the means for it.

    `what` says for a person what cannot be done, e.g. "its result cannot be read".
    """

    def told(reason: str) -> None:
        attempt.doing = f"{what}: {reason}; tried again every few seconds"

    done = await when_there_are_means(work, told)
    if attempt.doing.startswith(what):
        attempt.doing = ""
    return done


def _is_left() -> bool:
    """Whether the task that runs this was told to stop."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
