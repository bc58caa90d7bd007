"""A conductor in a process of its own that plays scores, with a probe in its loop.

`_host.py FOLDER IDLE SCORE...` prints, as one line of JSON, what it used and how late its loop was: after
`FOLDER/warm.yaml`, first
`IDLE` seconds with nothing to do, then while the scores are played. Its socket is in the state directory.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.profiles import load_profiles
from marianne_core.model.requests import SubmitRequest
from marianne_core.remember.home import Home
from marianne_core.run.processes import become_subreaper
from marianne_core.serve.server import SocketServer

PROBE_SECONDS = 0.005
"""How often the loop is asked whether it is late."""


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


def cpu_seconds() -> float:
    """What this process has used, its threads included and its children not."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measured(work: Any, probe: Probe) -> dict[str, float]:
    """Seconds, CPU seconds and lateness of a coroutine."""
    probe.late.clear()
    start, used = time.perf_counter(), cpu_seconds()
    await work
    return {
        "seconds": time.perf_counter() - start,
        "cpu": cpu_seconds() - used,
        **probe.take(),
    }


async def play(conductor: Conductor, scores: list[Path]) -> None:
    """Play scores to their end."""
    for score in scores:
        reply = await conductor.submit(SubmitRequest(str(score)))
        if reply.status != "accepted":
            raise SystemExit(reply.message)
    await conductor.idle.wait()


async def main(folder: Path, idle: float, scores: list[Path]) -> None:
    profiles = load_profiles([folder / "instruments"])
    home = Home(folder / "state")
    config = DaemonConfig(max_concurrent_sheets=100)
    conductor = Conductor(config, home, profiles=profiles, subreaper=become_subreaper())
    async with conductor, SocketServer(home.socket, conductor):
        await play(conductor, [folder / "warm.yaml"])  # what is read and imported once
        probe = Probe()
        probing = asyncio.create_task(probe.run())
        nothing = await measured(asyncio.sleep(idle), probe)
        work = await measured(play(conductor, scores), probe)
        probing.cancel()
        jobs = {score.stem for score in scores}
        runs = [run for run in await conductor.list_jobs() if run["job_id"] in jobs]
    completed = sum(run["completed"] for run in runs)
    print(json.dumps({"idle": nothing, "work": work, "completed": completed}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), [*map(Path, sys.argv[3:])]))
