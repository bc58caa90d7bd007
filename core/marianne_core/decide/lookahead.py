"""What comes next, without taking it: reading heaps in order and leaving them as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TypeVar

from marianne_core.decide.graph import READY
from marianne_core.decide.lanes import Job, Lane, LaneEntry, Pool

_T = TypeVar("_T")


def in_order(heap: list[_T]) -> Iterator[_T]:
    """The items of a binary heap from the smallest on; k items cost O(k log k)."""
    front: list[tuple[_T, int]] = [(heap[0], 0)] if heap else []
    while front:
        item, i = heappop(front)
        yield item
        for child in (2 * i + 1, 2 * i + 2):
            if child < len(heap):
                heappush(front, (heap[child], child))


def likely(pools: Iterable[Pool], busy: Iterable[Job], n: int) -> list[tuple[Job, int]]:
    """The next `n` sheets by share and path, limits and times not looked at.

    `busy` are jobs with running sheets: their lanes that wait only for one of those to end count.
    """
    lanes: list[LaneEntry] = []
    for pool in pools:
        if pool.park is None:
            lanes += islice(in_order(pool.heap), n)
    for job in busy:
        lanes += [(job.vt, job.age, -i, lane) for i, lane in enumerate(job.shut, 1)]
    vts = {id(lane.job): lane.job.vt for _, _, _, lane in lanes}
    turns = [
        (lane.job.vt, age, serial, i, lane, _ready(lane))
        for i, (_, age, serial, lane) in enumerate(lanes)
        if lane.job.wait is None and not lane.job.stopped and lane.pool.park is None
    ]
    heapify(turns)
    found: list[tuple[Job, int]] = []
    while turns and len(found) < n:
        vt, age, serial, i, lane, sheets = heappop(turns)
        job = lane.job
        if vt < vts[id(job)]:
            heappush(turns, (vts[id(job)], age, serial, i, lane, sheets))
            continue
        num = next(sheets, None)
        if num is not None:
            found.append((job, num))
            vts[id(job)] = vt + 1.0 / job.weight
            heappush(turns, (vts[id(job)], age, serial, i, lane, sheets))
    return found


def _ready(lane: Lane) -> Iterator[int]:
    nodes = lane.job.graph.nodes
    return (num for _, _, num in in_order(lane.heap) if nodes[num].state == READY)
