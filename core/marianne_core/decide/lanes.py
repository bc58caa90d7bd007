"""Who queues where: the ready sheets of a job on an instrument (lane), and who may use it (pool).

Virtual time is that of start-time fair queueing: every start moves a job's time forward by
1/weight, and the job with the least goes first. It is kept on the job, not on the lane, so a job
with four instruments has one share, not four. Entries in a pool's heap may carry an older, smaller
time than their job has: they are corrected when they come to the top, never before.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

from marianne_core.decide.graph import READY, SheetGraph
from marianne_core.decide.messages import RunPolicy
from marianne_core.model.waits import Wait, WaitReason

PoolKey = tuple[str, str | None]
LaneEntry = tuple[float, float, int, "Lane"]
"""(virtual time, ageing key, serial number, lane)"""


def weight_of(priority: int) -> float:
    """Share of a job against one of priority 5: doubled by every two steps, from 0.18 to 5.7."""
    return float(2.0 ** ((min(10, max(0, priority)) - 5) / 2))


@dataclass(frozen=True, slots=True)
class Park:
    """Why an instrument is not used now."""

    reason: WaitReason
    until: float | None


class Meter:
    """Sheets that run under one limit; several models of an instrument may share it."""

    __slots__ = ("limit", "name", "running")

    def __init__(self, name: str, limit: int | None) -> None:
        self.name = name
        self.limit = limit
        self.running = 0

    @property
    def free(self) -> bool:
        return self.limit is None or self.running < self.limit


class Job:
    """What the scheduler knows of one registered job."""

    __slots__ = (
        "age",
        "delayed",
        "generation",
        "graph",
        "key",
        "lanes",
        "not_before",
        "pacing",
        "policy",
        "queued",
        "running",
        "shut",
        "stopped",
        "vt",
        "wait",
        "weight",
    )

    def __init__(
        self, key: Hashable, generation: int, graph: SheetGraph, policy: RunPolicy, now: float
    ) -> None:
        self.key = key
        self.generation = generation
        self.graph = graph
        self.policy = policy
        self.weight = weight_of(policy.priority)
        self.age = now - policy.priority * 60.0
        """Ageing key: breaks ties of virtual time without ever being computed again."""
        self.vt = 0.0
        self.running = 0
        self.queued = 0
        """Sheets whose dependencies are done and that do not run yet."""
        self.delayed: dict[int, float] = {}
        """Earliest next start of sheets that must wait for a time."""
        self.lanes: dict[PoolKey, Lane] = {}
        self.shut: list[Lane] = []
        """Lanes taken out of their pools' heaps until the job may start something again."""
        self.not_before = 0.0
        """Stagger or pacing: no start before this time."""
        self.pacing = False
        self.wait: Wait | None = None
        """The job is paused."""
        self.stopped = False
        """Nothing more of it starts: it was withdrawn or deregistered."""

    def may_start(self, now: float) -> bool:
        return (
            self.wait is None
            and self.running < self.policy.max_concurrent
            and self.not_before <= now
        )


class Lane:
    """The ready sheets of one job on one instrument, the longest remaining path first."""

    __slots__ = ("heap", "job", "listed", "pool")

    def __init__(self, job: Job, pool: Pool) -> None:
        self.job = job
        self.pool = pool
        self.heap: list[tuple[int, float, int]] = []
        """(-depth, time of becoming ready, number)"""
        self.listed = False
        """In the pool's heap, or in the job's `shut`."""

    def head(self) -> int | None:
        """Number of the next sheet; those that are not ready any more are dropped on the way."""
        nodes = self.job.graph.nodes
        while self.heap:
            num = self.heap[0][2]
            if nodes[num].state == READY:
                return num
            heappop(self.heap)
        return None


class Pool:
    """One instrument with one model: the lanes that want it."""

    __slots__ = ("heap", "key", "meter", "park", "raw", "running")

    def __init__(self, key: PoolKey, raw: bool, meter: Meter, park: Park | None) -> None:
        self.key = key
        self.raw = raw
        self.meter = meter
        self.park = park
        self.running = 0
        self.heap: list[LaneEntry] = []

    def list_lane(self, lane: Lane, serial: int) -> None:
        """Put a lane into the heap."""
        lane.listed = True
        heappush(self.heap, (lane.job.vt, lane.job.age, serial, lane))

    def top(self, now: float) -> LaneEntry | None:
        """The lane whose turn it is. Lanes of jobs that may not start now are set aside."""
        heap = self.heap
        while heap:
            vt, age, serial, lane = entry = heap[0]
            job = lane.job
            if job.stopped or lane.head() is None:
                heappop(heap)
                lane.listed = False
            elif not job.may_start(now):
                heappop(heap)
                job.shut.append(lane)
            elif vt < job.vt:
                heapreplace(heap, (job.vt, age, serial, lane))
            else:
                return entry
        return None
