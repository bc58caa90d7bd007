"""A host for the kill tests: opens a conductor, submits the score once, ends when it is done.

Usage: ledger_host.py HOME SCORE. Prints `ready` when recovery is through, then one line of JSON: the
job's `status`, and those of its `sheets` by number.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.model.requests import SubmitRequest
from marianne_core.remember.home import Home


async def main(home: Path, score: Path) -> None:
    async with Conductor(DaemonConfig(grace_seconds=0.5), Home(home), seed=1) as conductor:
        print("ready", flush=True)
        if not await conductor.list_jobs():
            reply = await conductor.submit(SubmitRequest(str(score)))
            assert reply.status == "accepted", reply
        await conductor.idle.wait()
        status = await conductor.status(score.stem)
        sheets = {sheet["num"]: sheet["status"] for sheet in status["sheets"]}
        print(json.dumps({"status": status["status"], "sheets": sheets}), flush=True)


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
