"""The bare baseline: an asyncio loop that only runs an argv with pipes, some at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence


async def _run_all(argv: Sequence[str], count: int, at_once: int) -> float:
    pending = iter(range(count))

    async def worker() -> None:
        for _ in pending:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            await process.communicate()

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - start


def seconds_per_run(argv: Sequence[str], count: int, at_once: int) -> float:
    """Seconds per process when `count` of them run `at_once` in a fresh loop."""
    return asyncio.run(_run_all(argv, count, at_once)) / count


def peak_memory_mb(argv: Sequence[str], count: int, at_once: int) -> float:
    """The most memory that a process of its own has which does the same and nothing else."""
    command = [sys.executable, __file__, str(count), str(at_once), *argv]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} left with {process.returncode}")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    seconds_per_run(sys.argv[3:], int(sys.argv[1]), int(sys.argv[2]))
