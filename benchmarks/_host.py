"""A conductor in a process of its own that plays scores, with a probe in its loop.

`_host.py FOLDER IDLE AGENTS SCORE...` prints, as one line of JSON, what it used and how late its loop was
after it has played `FOLDER/warm.yaml`: for `IDLE` seconds with nothing to do, then while the scores are
played; with `AGENTS` from the moment on when so many play, which it tells them by the file `FOLDER/go`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.profiles import load_profiles
from marianne_core.model.requests import SubmitRequest
from marianne_core.remember.home import Home
from marianne_core.run.processes import become_subreaper
from marianne_core.serve.server import SocketServer

PROBE_SECONDS = 0.005
"""How often the loop is asked whether it is late."""


SETTLED_SECONDS = 2.0
"""For agents that were started to be ready."""


class Probe:
    """How late a loop comes to what is due, in seconds."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            due = time.perf_counter() + PROBE_SECONDS
            await asyncio.sleep(PROBE_SECONDS)
            self.late.append(max(0.0, time.perf_counter() - due))

    def take(self) -> dict[str, float]:
        """What was measured since the last call: percentiles, in seconds."""
        late, self.late = sorted(self.late), []
        return {
            "p50": late[len(late) // 2],
            "p99": late[int(len(late) * 0.99)],
            "most": late[-1],
        }


@contextmanager
def steps() -> Iterator[list[float]]:
    """CPU seconds of the longest step that the loop takes inside: what the machine does beside it, and
    whom it lets wait, is not in that."""
    longest = [0.0]
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        run(handle)
        longest[0] = max(longest[0], time.thread_time() - start)

    with patch.object(asyncio.Handle, "_run", timed):
        yield longest


def cpu_seconds() -> float:
    """What this process has used, its threads included and its children not."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measured(work: Any, probe: Probe) -> dict[str, float]:
    """Seconds, CPU seconds and lateness of a coroutine, and the longest step meanwhile."""
    probe.late.clear()
    start, used = time.perf_counter(), cpu_seconds()
    with steps() as longest:
        await work
    return {
        "seconds": time.perf_counter() - start,
        "cpu": cpu_seconds() - used,
        "step": longest[0],
        **probe.take(),
    }


async def begin(conductor: Conductor, scores: list[Path]) -> None:
    """Submit scores."""
    for score in scores:
        reply = await conductor.submit(SubmitRequest(str(score)))
        if reply.status != "accepted":
            raise SystemExit(reply.message)


async def all_play(conductor: Conductor, agents: int) -> None:
    """Wait until so many sheets are played, and have had time to start."""
    while (await conductor.health())["active_sheets"] < agents:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLED_SECONDS)


async def main(folder: Path, idle: float, agents: int, scores: list[Path]) -> None:
    profiles = load_profiles([folder / "instruments"])
    home = Home(folder / "state")
    config = DaemonConfig(max_concurrent_sheets=100)
    conductor = Conductor(config, home, profiles=profiles, subreaper=become_subreaper())
    async with conductor, SocketServer(home.socket, conductor) as server:
        await begin(conductor, [folder / "warm.yaml"])  # what is read and imported once
        await conductor.idle.wait()
        probe = Probe()
        probing = asyncio.create_task(probe.run())
        nothing = await measured(asyncio.sleep(idle), probe)

        async def work() -> None:
            if agents:
                (folder / "go").touch()
            else:
                await begin(conductor, scores)
            await conductor.idle.wait()

        if agents:
            await begin(conductor, scores)
            await all_play(conductor, agents)
        told = await measured(work(), probe)
        while server.connections:  # noqa: ASYNC110 - who watches takes what is left
            await asyncio.sleep(0.05)
        probing.cancel()
        jobs = {score.stem for score in scores}
        runs = [run for run in await conductor.list_jobs() if run["job_id"] in jobs]
    completed = sum(run["completed"] for run in runs)
    print(json.dumps({"idle": nothing, "work": told, "completed": completed}))


if __name__ == "__main__":
    asyncio.run(
        main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), [*map(Path, sys.argv[4:])])
    )
