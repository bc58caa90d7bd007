"""Ending the trees of attempts, and not giving up: a slot is free when its last process is gone.

Some processes cannot be ended: they hang in the kernel, or they belong to another user. Then it is
tried again with growing pauses, the attempt says so for as long as it lasts (`Playing.doing`), and
one event names them, again only when they are others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from marianne_core.run.active import Playing
from marianne_core.run.processes import Proc, process_name, still_there
from marianne_core.run.system_errors import shortage_of, words_of
from marianne_core.run.tree import DEFAULT_PATIENCE, SharedScans, Tree, TreeEnd

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
"""Seconds between two tries; each pause is twice the one before."""

_LATER_PATIENCE = 0.25
"""Seconds that a later try waits after KILL: what is left had its time."""

_LOOK_EVERY = 0.25
"""Seconds between two looks at survivors, which are a few short reads."""

_NAMED = 4
"""Survivors that are named; of the others their number is told."""


class Note(Protocol):
    """Writes down an event of an attempt."""

    def __call__(self, attempt: Playing, event: str, **data: object) -> None: ...


class Endings:
    """Ends attempts' trees, each by one ending at a time. Belongs to one event loop."""

    def __init__(self, note: Note, grace: float, scans: SharedScans) -> None:
        """`grace`: seconds between TERM and KILL."""
        self._note = note
        self.grace = grace
        self._scans = scans
        self._under_way: dict[str, asyncio.Event] = {}

    async def over(self, attempt: Playing) -> None:
        """Wait until no ending of this attempt is under way."""
        while (done := self._under_way.get(attempt.token)) is not None:
            await done.wait()

    async def end(self, attempt: Playing, also: Iterable[Proc] = ()) -> tuple[Proc, ...]:
        """End all processes of an attempt; returns those that got a signal, once none is left.

        `also` are such that are known to be its own, whatever they themselves say.

        Takes as long as that takes. Cancelling it leaves what is left alive.
        """
        await self.over(attempt)
        done = self._under_way[attempt.token] = asyncio.Event()
        try:
            return await self._until_none_is_left(attempt, also)
        finally:
            del self._under_way[attempt.token]
            done.set()

    async def _until_none_is_left(self, attempt: Playing, also: Iterable[Proc]) -> tuple[Proc, ...]:
        status, grace = attempt.files.name("st"), self.grace
        tree = Tree(attempt.token, attempt.pid, status=status, scans=self._scans, known=also)
        signalled: dict[Proc, None] = {}
        told: object = None
        patience, pause = DEFAULT_PATIENCE, _FIRST_PAUSE
        while True:
            left: Sequence[Proc] = ()
            try:
                ended = await tree.end(grace, patience=patience)
            except (OSError, RuntimeError) as error:
                if not isinstance(error, OSError) and shortage_of(error) is None:
                    raise
                which: object = type(error)
                event, words = "sheet.warning", words_of(error)
                pids: list[int] = []
            else:
                signalled.update(dict.fromkeys(ended.signalled))
                if not ended.survivors:
                    return tuple(signalled)
                left = _without_the_shim(ended.survivors, attempt.pid)
                grace, patience = 0.0, _LATER_PATIENCE
                which = {(proc.pid, proc.start_time) for proc in left}
                event, words = "sheet.survivors", _words(left, ended)
                pids = [proc.pid for proc in left]
            attempt.doing = f"could not be ended yet: {words}"
            if which != told:
                told = which
                more = {"pids": pids} if pids else {}
                self._note(attempt, event, reason=attempt.doing, **more)
            await _pause(left, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _without_the_shim(survivors: Sequence[Proc], shim: int | None) -> Sequence[Proc]:
    """The shim only waits for the others; it is named when it is the last."""
    return [proc for proc in survivors if proc.pid != shim] or survivors


def _words(left: Sequence[Proc], ended: TreeEnd) -> str:
    named = [f"{_name(proc)} {_why(proc, ended)}" for proc in left[:_NAMED]]
    if len(left) > _NAMED:
        named.append(f"and {len(left) - _NAMED} more")
    return ", ".join(named)


def _name(proc: Proc) -> str:
    name = process_name(proc.pid)
    return f"pid {proc.pid} ({name})" if name else f"pid {proc.pid}"


def _why(proc: Proc, ended: TreeEnd) -> str:
    if proc in ended.refused:
        return "belongs to another user"
    return "hangs in the kernel" if proc.state == "D" else "does not end"


async def _pause(left: Sequence[Proc], seconds: float) -> None:
    """Wait so long, or until none of these is there any more."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (rest := deadline - loop.time()) > 0:
        await asyncio.sleep(min(rest, _LOOK_EVERY))
        # What cannot be looked at now is waited for.
        with contextlib.suppress(OSError):
            if left and not any(still_there(proc) for proc in left):
                return
