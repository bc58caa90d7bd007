"""The event bus: one publisher side that never waits, any number of readers that may be slow."""

from __future__ import annotations

import asyncio
import itertools
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol, runtime_checkable

from marianne_core.model.events import Event
from marianne_core.model.runs import JobRef

MAX_FAILURES = 10
"""A subscriber whose code fails this often without a success in between is switched off."""

GAP = "stream.gap"
"""Name of the event that stands for events a slow reader did not get."""

_BATCH = 64
"""Events given to one callback before the loop may do something else."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # an embedder without logging sees no stray lines

EventFilter = Callable[[Event], bool]
"""Says whether a subscriber wants an event; must be quick, since it runs inside `publish`."""


@runtime_checkable
class EventStream(Protocol):
    """Events that can be read with `async for` and given up with `aclose`."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def __anext__(self) -> Event: ...

    async def aclose(self) -> None: ...


def of_job(job: str | None) -> EventFilter | None:
    """The filter for `job` (all its runs), for `job#3` (that run), or None (no filter) for None.

    Raises InputError when the text names no job.
    """
    if job is None:
        return None
    ref = JobRef.parse(job)

    def wanted(event: Event) -> bool:
        return event.job_id == ref.job_id and ref.run in (None, event.run)

    return wanted


class EventBus:
    """Hands every published event to all subscribers, in the order of publication.

    Lives in one event loop and is not thread-safe: another thread publishes with
    `loop.call_soon_threadsafe(bus.publish, event)`. Every subscriber has a queue of its own; when
    that is full the oldest event goes, and an event `stream.gap` tells the reader how many went.
    """

    def __init__(self, max_queue_size: int = 1000) -> None:
        if max_queue_size < 1:
            raise ValueError("max_queue_size must be at least 1")
        self.max_queue_size = max_queue_size
        """Events kept for each subscriber that has not read them yet."""
        self._ids = itertools.count(1)
        self._outlets: dict[int, _Outlet] = {}
        self._closed = False

    @property
    def subscribers(self) -> int:
        """How many subscribers there are now."""
        return len(self._outlets)

    def publish(self, event: Event) -> None:
        """Queue the event for everyone who wants it. Never waits, never raises, runs no callback."""
        for outlet in tuple(self._outlets.values()):
            if outlet.wants(event):
                outlet.put(event)

    def subscribe(self, event_filter: EventFilter | None = None) -> Subscription:
        """A stream of the events published from now on; on a closed bus it is at its end."""
        subscription = Subscription(self, next(self._ids), event_filter, self.max_queue_size)
        if self._closed:
            subscription.end()
        else:
            self._outlets[subscription.id] = subscription
        return subscription

    def subscribe_callback(
        self, callback: Callable[[Event], None], event_filter: EventFilter | None = None
    ) -> int:
        """Call `callback` with each event, soon after its publication; returns the id to unsubscribe.

        Needs a running event loop. A callback that raises is logged and goes on getting events;
        after ten failures in a row it is unsubscribed, with a line in the log.
        """
        loop = asyncio.get_running_loop()
        number = next(self._ids)
        if not self._closed:
            self._outlets[number] = _Caller(
                self, number, event_filter, self.max_queue_size, callback, loop
            )
        return number

    def unsubscribe(self, number: int) -> bool:
        """Stop delivery to that subscriber at once; False when there is none of that id."""
        outlet = self._outlets.pop(number, None)
        if outlet is None:
            return False
        outlet.discard()
        return True

    def close(self) -> None:
        """End every stream and callback after what it still holds; later events go nowhere."""
        self._closed = True
        for outlet in tuple(self._outlets.values()):
            outlet.end()
        self._outlets.clear()


class _Outlet(ABC):
    """What both kinds of subscribers share: filter, bounded queue and the gap in it."""

    def __init__(
        self, bus: EventBus, number: int, event_filter: EventFilter | None, limit: int
    ) -> None:
        self.id = number
        """Names this subscriber to `EventBus.unsubscribe`."""
        self.dropped = 0
        """Events that this subscriber has lost in all because it was too slow."""
        self._bus = bus
        self._filter = event_filter
        self._limit = limit
        self._queue: deque[Event] = deque()
        self._gap = 0
        self._gap_time = 0.0
        self._filter_failures = 0
        self._ended = False

    def wants(self, event: Event) -> bool:
        """Ask the filter; a filter that raises means no."""
        if self._filter is None:
            return True
        try:
            wanted = self._filter(event)
        except Exception:
            self._filter_failures += 1
            self._failed(event, self._filter_failures)
            return False
        self._filter_failures = 0
        return wanted

    def put(self, event: Event) -> None:
        """Take an event, at the cost of the oldest one when the queue is full."""
        if self._ended:
            return
        if len(self._queue) >= self._limit:
            self._gap_time = self._queue.popleft().timestamp
            self._gap += 1
            self.dropped += 1
        self._queue.append(event)
        self._notify()

    def end(self) -> None:
        """No event comes any more; what is queued is still delivered."""
        self._ended = True
        self._notify()

    def discard(self) -> None:
        """No event comes any more, and what is queued is forgotten."""
        self._queue.clear()
        self._gap = 0
        self.end()

    def _take(self) -> Event | None:
        """The next event, or the gap before it; None when nothing is there."""
        if self._gap:
            count, self._gap = self._gap, 0
            reason = f"{count} events were left out because the reader was too slow"
            return Event(GAP, timestamp=self._gap_time, data={"dropped": count, "reason": reason})
        return self._queue.popleft() if self._queue else None

    def _failed(self, event: Event, in_a_row: int) -> None:
        """Log the exception that is being handled; the tenth in a row ends the subscription."""
        about = {"subscriber": self.id, "event": event.event, "failures": in_a_row}
        _log.exception("bus.subscriber_failed", extra=about)
        if in_a_row >= MAX_FAILURES:
            self._bus.unsubscribe(self.id)
            _log.error("bus.subscriber_disabled", extra=about)

    @abstractmethod
    def _notify(self) -> None:
        """Wake the reader: there is something to take, or the end."""


class Subscription(_Outlet):
    """One reader's stream: `async for event in subscription`, `await subscription.aclose()`.

    For one task at a time. It ends after `aclose`, or when the bus is closed and all was read.
    """

    def __init__(
        self, bus: EventBus, number: int, event_filter: EventFilter | None, limit: int
    ) -> None:
        super().__init__(bus, number, event_filter, limit)
        self._waiting: asyncio.Future[None] | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while (event := self._take()) is None:
            if self._ended:
                raise StopAsyncIteration
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return event

    async def aclose(self) -> None:
        """Unsubscribe and forget what was not read. Harmless when done twice."""
        if not self._bus.unsubscribe(self.id):
            self.discard()

    def _notify(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class _Caller(_Outlet):
    """Calls a function with each event, from the loop and not from inside `publish`."""

    def __init__(
        self,
        bus: EventBus,
        number: int,
        event_filter: EventFilter | None,
        limit: int,
        callback: Callable[[Event], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(bus, number, event_filter, limit)
        self._callback = callback
        self._loop = loop
        self._scheduled = False
        self._failures = 0

    def _notify(self) -> None:
        if self._queue and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        for _ in range(_BATCH):
            event = self._take()
            if event is None:
                return
            try:
                self._callback(event)
            except Exception:
                self._failures += 1
                self._failed(event, self._failures)
            else:
                self._failures = 0
        self._notify()
