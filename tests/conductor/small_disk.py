"""Helpers for tests that need a disk of their own: they play in a mount namespace, as a program.

Usage: small_disk.py MANNER FOLDER. `FOLDER` holds `state`, `ws` and `song.yaml`. Manners:

`full`       the state directory is on a disk of 3 MB that fills up while the score is played
`full-outputs`  the same disk has room for few outputs; when starts are held, more room is made
`full-work`  the workspace is on a disk of 1 MB that the sheets fill up
`read-only`  the state directory is on a read-only mount
`read-only-work`  the workspace is
`read-only-parent`  the folder that should hold the workspace is
`mzt-read-only`, `mzt-full`  the program `mzt` runs the score, and the state directory is such a disk

Prints what happened as one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.model.errors import MztError
from marianne_core.model.requests import SubmitRequest
from marianne_core.remember.home import Home


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


async def play(folder: Path) -> dict[str, Any]:
    """Play the score; what became of it, or the error that a person would see."""
    try:
        async with Conductor(DaemonConfig(grace_seconds=0.3), Home(folder / "state")) as conductor:
            reply = await conductor.submit(SubmitRequest(str(folder / "song.yaml")))
            if reply.status != "accepted":
                return {"rejected": reply.message, "exit_code": reply.exit_code}
            async with asyncio.timeout(20):
                await conductor.idle.wait()
            return await conductor.status(reply.job_id)
    except MztError as error:
        return {"error": str(error), "exit_code": error.exit_code}


async def play_on_a_full_disk(folder: Path) -> dict[str, Any]:
    """Fill the state directory's disk once a sheet runs; make room; play to the end."""
    filler = folder / "state" / "filler"
    async with Conductor(DaemonConfig(grace_seconds=0.3), Home(folder / "state")) as conductor:
        reply = await conductor.submit(SubmitRequest(str(folder / "song.yaml")))
        assert reply.status == "accepted", reply.message
        async with asyncio.timeout(20):
            while not (folder / "ws" / "started-1").exists():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)
            _fill(filler)
            (folder / "ws" / "go").touch()
            refused = ""
            while not refused:
                try:
                    second = await conductor.submit(SubmitRequest(str(folder / "second.yaml")))
                    refused = second.message if second.status == "rejected" else ""
                    _fill(filler)
                except MztError as error:
                    refused = str(error)
            await asyncio.sleep(0.3)
            held = await conductor.status("song")
            filler.unlink()
            await conductor.idle.wait()
        after = await conductor.status("song")
        third = await conductor.submit(SubmitRequest(str(folder / "second.yaml")))
        await conductor.idle.wait()
        listed = [(job["job_id"], job["run"], job["status"]) for job in await conductor.list_jobs()]
    return {"refused": refused, "held": held, "after": after, "third": third.status, "jobs": listed}


async def play_on_a_disk_for_few_outputs(folder: Path) -> dict[str, Any]:
    """Leave the disk little room, play; make room when a run says that it is held."""
    filler = folder / "state" / "filler"
    async with Conductor(DaemonConfig(grace_seconds=0.3), Home(folder / "state")) as conductor:
        events = await conductor.events()
        reply = await conductor.submit(SubmitRequest(str(folder / "song.yaml")))
        assert reply.status == "accepted", reply.message
        async with asyncio.timeout(20):
            async for event in events:
                if event.event == "sheet.started":
                    break
            _fill(filler)
            (folder / "ws" / "go").touch()
            async for event in events:
                if event.event == "job.held":
                    break
            held = event.data["reason"]
            filler.unlink()
            async for event in events:
                if event.event == "job.released":
                    break
            await conductor.idle.wait()
        return {"held": held, **await conductor.status("song")}


def _fill(path: Path) -> None:
    """Take what is free on the disk of `path`."""
    with path.open("ab", buffering=0) as file:
        size = 65536
        while size >= 512:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


def run_mzt(folder: Path) -> dict[str, Any]:
    """Run the score with the program itself; how it left, and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "marianne_tui", "run", str(folder / "song.yaml")],
        env={**os.environ, "MARIANNE_HOME": str(folder / "state")},
        capture_output=True,
        text=True,
        timeout=40,
    )
    return {"exit_code": done.returncode, "out": done.stdout, "err": done.stderr}


def main(manner: str, folder: Path) -> dict[str, Any]:
    state, work = folder / "state", folder / "ws"
    state.mkdir(exist_ok=True)
    if manner == "mzt-read-only":
        mount(state, "ro,mode=700")
        return run_mzt(folder)
    if manner == "mzt-full":
        mount(state, "size=1m,mode=700")
        _fill(state / "filler")
        return run_mzt(folder)
    if manner == "full":
        work.mkdir()
        mount(state, "size=3m,mode=700")
        return asyncio.run(play_on_a_full_disk(folder))
    if manner == "full-outputs":
        work.mkdir()
        mount(state, "size=3m,mode=700")
        return asyncio.run(play_on_a_disk_for_few_outputs(folder))
    if manner == "full-work":
        work.mkdir()
        mount(work, "size=1m")
    elif manner == "read-only":
        mount(state, "ro,mode=700")
    elif manner == "read-only-work":
        work.mkdir()
        mount(work, "ro")
    elif manner == "read-only-parent":
        parent = folder / "parent"
        parent.mkdir()
        mount(parent, "ro")
    return asyncio.run(play(folder))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
