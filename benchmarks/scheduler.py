"""Decisions of the scheduler a second: register, next, complete, at growing numbers of sheets."""

from __future__ import annotations

import gc
import sys
import time
from statistics import median

from _options import options
from _report import machine

from marianne_core.decide.messages import Limits, RunPolicy, SheetTask
from marianne_core.decide.scheduler import Scheduler, SheetEnd


def main() -> None:
    many = options(__doc__, rounds=3).rounds
    print(machine())
    per_sheet: dict[int, float] = {}
    per_decision: dict[int, float] = {}
    for count in (1000, 10_000, 100_000):
        rounds = [_play(count) for _ in range(many)]
        whole = median(r[0] + r[1] for r in rounds)
        per_sheet[count] = whole / count
        per_decision[count] = median(r[1] for r in rounds) / count
        print(
            f"{count} queued: {count / whole:,.0f} register + next + complete a second,"
            f" {per_decision[count] * 1e6:.2f} µs a decision,"
            f" {median(r[2] for r in rounds):.0f} bytes a sheet",
            flush=True,
        )
    print(f"at 100,000: {1 / per_sheet[100_000]:,.0f} a second  (target 50,000)")
    print(
        f"a decision at 100,000 against 1,000: {per_decision[100_000] / per_decision[1000]:.2f} x  (target 2)"
    )


def _play(count: int) -> tuple[float, float, float]:
    """Seconds to register, seconds to run all, bytes a sheet; ten jobs of equal size."""
    jobs = [[SheetTask(n) for n in range(1, count // 10 + 1)] for _ in range(10)]
    policy = RunPolicy(max_concurrent=20)
    gc.collect()
    before = _allocated()
    start = time.perf_counter()
    scheduler = Scheduler(Limits(max_concurrent_sheets=8, default_instrument=None))
    for job, sheets in enumerate(jobs):
        scheduler.register(job, sheets, now=0.0, policy=policy)
    registered = time.perf_counter()
    size = (_allocated() - before) / count
    running = []
    done = 0
    now = 0.0
    decided = time.perf_counter()
    while done < count:
        while (dispatch := scheduler.next(now)) is not None:
            running.append(dispatch)
        now += 0.001
        dispatch = running.pop(0)
        scheduler.report(dispatch.job, dispatch.num, SheetEnd.DONE, now)
        done += 1
    return registered - start, time.perf_counter() - decided, size


def _allocated() -> float:
    """Bytes in living objects, near enough: blocks of the allocator times their mean size."""
    return sys.getallocatedblocks() * 64.0


if __name__ == "__main__":
    main()
