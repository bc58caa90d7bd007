"""How a person or the system asks a host to stop, step by step, and the signals that do so."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class StopLevel(IntEnum):
    """How far the stop goes. A request only ever raises it."""

    NONE = 0
    DRAIN = 1
    """Start no new sheet; running ones finish, and their jobs are paused."""
    LEAVE = 2
    """Leave the running sheets alive and exit, after a moment in which they can still be ended."""
    END = 3
    """End the running sheets, then exit."""
    NOW = 4
    """Leave whatever runs as it is and exit at once."""


class Stop:
    """What a host and its body share about stopping."""

    def __init__(self) -> None:
        self.level = StopLevel.NONE
        """How far the stop goes now."""
        self.reason = ""
        """Who asked last: `Ctrl-C`, `SIGTERM`, `SIGHUP`, or another word."""
        self._reached = {level: asyncio.Event() for level in StopLevel}

    def request(self, level: StopLevel, reason: str) -> None:
        """Go at least this far. A request that asks for less changes nothing."""
        if level <= self.level:
            return
        self.level = level
        self.reason = reason
        for step, reached in self._reached.items():
            if step <= level:
                reached.set()

    def press(self, reason: str = "Ctrl-C") -> None:
        """One step further: drain, leave, end, and at last give even that up."""
        self.request(StopLevel(min(self.level + 1, StopLevel.NOW)), reason)

    async def wait(self, level: StopLevel = StopLevel.DRAIN) -> None:
        """Return once the stop has gone this far."""
        await self._reached[level].wait()


@contextmanager
def caught_signals(stop: Stop) -> Iterator[None]:
    """Turn SIGINT into steps, SIGTERM and SIGHUP into leaving at once; restore the handlers after.

    Needs the main thread and its running loop. SIGINT and SIGHUP that the program was started to
    ignore (nohup, a script's `&`) stay ignored.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    caught = [
        number
        for number, handler in before.items()
        if number is signal.SIGTERM or handler is not signal.SIG_IGN
    ]
    for number in caught:
        loop.add_signal_handler(number, _received, stop, number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
            handler = before[number]
            if handler is not None:
                signal.signal(number, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _received(stop: Stop, number: signal.Signals) -> None:
    if number is signal.SIGINT:
        stop.press()
    else:
        stop.request(StopLevel.NOW, number.name)
