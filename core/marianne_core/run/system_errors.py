"""What the system is short of when something fails through no fault of the sheet: room, or means.

*Room* is space on a disk: nothing new may start until there is some. *Means* are open files,
processes, threads and memory: they come back by themselves, mostly within moments.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Container
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from marianne_core.model.errors import MztError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})

_NO_THREAD = "can't start new thread"
"""How Python says that the system gave it no thread; it has no error number."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
"""Seconds between two tries; each pause is twice the one before."""

T = TypeVar("T")


class Shortage(Enum):
    """What is missing."""

    ROOM = auto()
    """The disk is full, or the quota used up."""
    MEANS = auto()
    """No open file, process, thread or memory is left."""


def shortage_of(error: BaseException) -> Shortage | None:
    """What the system was short of when this was raised, directly or as the cause; None if nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            if cause.errno in _NO_ROOM:
                return Shortage.ROOM
            if cause.errno in _NO_MEANS:
                return Shortage.MEANS
        elif isinstance(cause, RuntimeError) and str(cause).startswith(_NO_THREAD):
            return Shortage.MEANS
        cause = cause.__cause__
    return None


def has_room(folder: Path | str) -> bool:
    """Whether the disk of this folder has a free block; True where that cannot be told."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return True
    return disk.f_blocks == 0 or disk.f_bavail > 0


async def when_there_are_means(
    work: Callable[[], Awaitable[T]],
    told: Callable[[str], None] = lambda reason: None,
    *,
    lacking: Container[Shortage] = (Shortage.MEANS,),
) -> T:
    """Do the work; while the system lacks the means for it, do it again after growing pauses.

    `told` hears each time what is missing; `lacking` says which shortages are waited out. Raises
    whatever else the work raises.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            return await work()
        except (OSError, RuntimeError, MztError) as error:
            if shortage_of(error) not in lacking:
                raise
            told(words_of(error))
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def words_of(error: BaseException) -> str:
    """What happened, in the system's words, with the file where one is known."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
