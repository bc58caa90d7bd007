"""A conductor in a process of its own, for tests that kill it.

Usage: host_program.py HOME [SCORE]. Submits the score if one is given, says `ready`, then carries
out one command per line of its input: `pause JOB`, `resume JOB`, `cancel JOB`, `retry JOB`,
`idle` (wait until no run is active). Each is answered by a line: the status, or `error: ...`.
Ends when its input ends; the sheets live on. HOST_GRACE in its environment is the grace in seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.model.errors import MztError
from marianne_core.model.requests import SubmitRequest
from marianne_core.remember.home import Home


async def obey(conductor: Conductor, line: str) -> str:
    """Carry one command out."""
    name, _, job = line.strip().partition(" ")
    if name == "idle":
        await conductor.idle.wait()
        await conductor.list_jobs()  # what is answered here is in the store
        return "idle"
    command = {
        "pause": conductor.pause,
        "resume": conductor.resume,
        "cancel": conductor.cancel,
        "retry": conductor.retry,
    }[name]
    try:
        return str((await command(job)).status)
    except MztError as error:
        return f"error: {error.what}"


async def main(home: Path, score: str | None) -> None:
    config = DaemonConfig(grace_seconds=float(os.environ.get("HOST_GRACE", "0.3")))
    async with Conductor(config, Home(home), seed=1) as conductor:
        if score is not None:
            reply = await conductor.submit(SubmitRequest(score))
            assert reply.status == "accepted", reply.message
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(await obey(conductor, line), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
