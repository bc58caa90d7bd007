"""How sheets come into their lanes: when their dependencies are done, and when their time has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count, islice

from marianne_core.decide.graph import DELAYED, READY, WAITING, Node
from marianne_core.decide.instruments import Instruments
from marianne_core.decide.lanes import Job, Lane, Park, PoolKey

_PORTION = 1000
"""Sheets looked at in one step: about half a millisecond."""


class Releases:
    """Opened gates, and one heap of all that waits for a time."""

    def __init__(self, instruments: Instruments) -> None:
        self.queued = 0
        """Sheets of all jobs whose dependencies are done and that do not run yet."""
        self._instruments = instruments
        self._opening: deque[tuple[Job, Iterator[Node]]] = deque()
        self._wakes: list[tuple[float, int, Job | PoolKey, int | None]] = []
        """(when, serial, job, sheet), (when, serial, job, None) or (when, serial, parked, None)."""
        self._serial = count()

    # --- by dependency --------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Sheets behind opened gates are still to be looked at."""
        return bool(self._opening)

    def open(self, job: Job, nodes: Iterator[Node], now: float) -> None:
        """One thing that each of these sheets waited for is done; a first portion hears of it now."""
        self._opening.append((job, nodes))
        self.open_some(now)

    def open_some(self, now: float) -> None:
        """Count down the next portion."""
        left = _PORTION
        while self._opening and left > 0:
            left -= self._open_next(left, now)

    def open_useful(self, now: float) -> bool:
        """Count down a portion of a job that may start something; False when there is none."""
        for _ in range(len(self._opening)):
            if self._opening[0][0].may_start(now):
                self._open_next(_PORTION, now)
                return True
            self._opening.rotate(-1)
        return False

    def _open_next(self, most: int, now: float) -> int:
        """Count down at most so many sheets behind the first opened gates; how many it were."""
        job, nodes = self._opening.popleft()
        if job.stopped:
            return 0
        taken = 0
        for node in islice(nodes, most):
            taken += 1
            node.waiting -= 1
            if node.waiting <= 0 and node.state == WAITING:
                self.make_ready(job, node, now)
        if taken == most:
            self._opening.append((job, nodes))
        return taken

    def make_ready(self, job: Job, node: Node, now: float) -> None:
        """All its dependencies are done: the sheet enters its lane, or waits for its time."""
        job.queued += 1
        self.queued += 1
        num = node.task.num
        until = job.delayed.get(num)
        if until is not None and until > now:
            node.state = DELAYED
            heappush(self._wakes, (until, next(self._serial), job, num))
        else:
            job.delayed.pop(num, None)
            self._enqueue(job, node, now)

    def drop(self, job: Job) -> None:
        """Nothing of the job is queued any more; its entries are skipped when they are met."""
        self.queued -= job.queued
        job.queued = 0
        job.delayed.clear()

    # --- by time --------------------------------------------------------------------------------

    def delay_job(self, job: Job, until: float, *, pacing: bool) -> None:
        """No start of the job before a time; a shorter delay changes nothing."""
        if until > job.not_before:
            job.not_before = until
            job.pacing = pacing
            heappush(self._wakes, (until, next(self._serial), job, None))

    def carry_over(
        self,
        job: Job,
        earlier: Job | None,
        last_start: float | None,
        last_end: float | None,
        now: float,
    ) -> None:
        """Let a new registration wait as long as the job would have without it."""
        policy, delays = job.policy, []
        if earlier is not None:
            delays.append((earlier.not_before, earlier.pacing))
        if last_start is not None and policy.stagger > 0:
            delays.append((min(last_start, now) + policy.stagger, False))
        if last_end is not None and policy.pause_between > 0 and not job.running:
            delays.append((min(last_end, now) + policy.pause_between, True))
        for until, pacing in delays:
            if until > now:
                self.delay_job(job, until, pacing=pacing)

    def park(self, key: PoolKey, park: Park) -> None:
        """Park an instrument; it comes back at the park's time."""
        self._instruments.park(key, park)
        if park.until is not None:
            heappush(self._wakes, (park.until, next(self._serial), key, None))

    def relist(self, job: Job, now: float) -> None:
        """Bring back the lanes that were set aside, if the job may start again."""
        if job.shut and job.may_start(now):
            for lane in job.shut:
                lane.pool.list_lane(lane, next(self._serial))
            job.shut = []

    def advance(self, now: float) -> None:
        """Let everything happen that was due by now."""
        while self._wakes and self._wakes[0][0] <= now:
            when, _, subject, num = heappop(self._wakes)
            if not self._counts(when, subject, num):
                continue
            if not isinstance(subject, Job):
                self._instruments.unpark(subject)
            elif num is None:
                self.relist(subject, now)
            else:
                del subject.delayed[num]
                self._enqueue(subject, subject.graph.nodes[num], now)

    def next_wake(self) -> float | None:
        """The earliest time at which something happens by itself; None = never."""
        while self._wakes:
            when, _, subject, num = self._wakes[0]
            if self._counts(when, subject, num):
                return when
            heappop(self._wakes)
        return None

    # --- inside ---------------------------------------------------------------------------------

    def _counts(self, when: float, subject: Job | PoolKey, num: int | None) -> bool:
        """False for an entry that was overtaken by events."""
        if not isinstance(subject, Job):
            park = self._instruments.park_at(subject)
            return park is not None and park.until == when
        if subject.stopped:
            return False
        if num is None:
            return subject.not_before == when
        return subject.delayed.get(num) == when and subject.graph.nodes[num].state == DELAYED

    def _enqueue(self, job: Job, node: Node, now: float) -> None:
        node.state = READY
        task = node.task
        lane = job.lanes.get((task.instrument, task.model))
        if lane is None:
            lane = Lane(job, self._instruments.pool_of(task))
            job.lanes[lane.pool.key] = lane
        heappush(lane.heap, (-node.depth, now, task.num))
        if not lane.listed:
            lane.pool.list_lane(lane, next(self._serial))
