"""A program for a test: as `nobody`, end an attempt that has become another user's.

Usage: other_user.py FOLDER SETPRIV. `SETPRIV` is a copy of setpriv(1) that is set-user-id root.
Prints what ending the tree came to as one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from marianne_core.run.attempt_files import AttemptFiles, new_token
from marianne_core.run.launcher import Launcher, LaunchSpec
from marianne_core.run.tree import Tree

NOBODY = 65534


def _uid(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


async def main(folder: Path, setpriv: str) -> None:
    await asyncio.to_thread(int)  # imports what `nobody` may not read
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    token, files = new_token(), AttemptFiles(folder, 1, 1)
    script = f"{setpriv} --reuid=0 --regid=0 --clear-groups sleep 94 & echo $!; wait"
    argv = ["/bin/sh", "-c", script]
    shim = Launcher().launch(LaunchSpec(token, argv, folder, dict(os.environ), None, files))
    deadline = time.monotonic() + 20
    pid = 0
    while not pid or "sleep" not in _name(pid):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
        pid = int(files.stdout.read_text() or 0)
    end = await Tree(token, shim.pid, status=files.name("st")).end(0.2, patience=30.0)
    told = {
        "pid": pid,
        "uid": _uid(pid),
        "survivors": [proc.pid for proc in end.survivors if proc.pid != shim.pid],
        "refused": [proc.pid for proc in end.refused],
        "signalled": [proc.pid for proc in end.signalled],
        "seconds": end.seconds,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
