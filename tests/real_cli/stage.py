"""A house whose conductors play one real program against one stand-in."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.profiles import load_profiles
from marianne_core.remember.rows import AttemptRow
from marianne_core.run.attempt_files import AttemptFiles, read_status
from tests.conductor.house import House, submit
from tests.real_cli.agents import KEY, Agent, folder
from tests.real_cli.recordings import PROOF, Case, record

PATIENCE = 200.0
"""Seconds that a test waits for a program; it fails then."""
ROOT = Path(__file__).resolve().parents[2]


class Stage(House):
    """State, home, workspace and environment of one program."""

    def __init__(self, root: Path, agent: Agent) -> None:
        super().__init__(root)
        self.agent = agent
        self.workspace.mkdir()
        self.environ: dict[str, str] = {}

    def point_at(self, url: str) -> None:
        """Let the program use the service at this address."""
        theirs = self.agent.environment(self.root / "home", url)
        self.environ = {**theirs, "MARIANNE_HOME": str(self.home.root)}

    def piece(self, validations: str = "[]", *, timeout: int = 170) -> Path:
        """A score of one sheet for the program."""
        settings = f"{{model: {self.agent.model}, timeout_seconds: {timeout}}}"
        text = f"instrument: {self.agent.instrument}\ninstrument_config: {settings}\n"
        return self.score(
            f"{text}validations: {validations}", script="Do the work that you are told to do."
        )

    def conductor(self, **settings: Any) -> Conductor:
        """A conductor in this process, with the program's environment."""
        config = DaemonConfig(grace_seconds=5, **settings)
        return Conductor(config, self.home, environ=self.environ, profiles=load_profiles())

    def program(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The real `mzt` in a process of its own; what it prints is in the file `mzt.out`."""
        path = os.pathsep.join(str(ROOT / name) for name in (".", "core", "widgets", "styles"))
        argv = [sys.executable, "-m", "marianne_tui", *arguments]
        with (self.root / "mzt.out").open("ab") as output:
            return subprocess.Popen(
                argv,
                cwd=self.root,
                env={**self.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @contextmanager
    def host(self, score: Path) -> Iterator[subprocess.Popen[bytes]]:
        """`mzt run SCORE`, killed at the end if it is still there."""
        process = self.program("run", str(score))
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    async def perform(self, score: Path) -> AttemptRow:
        """Play a score of one attempt to its end; what is stored about the attempt."""
        async with self.conductor() as conductor:
            await submit(conductor, score)
            await self.settle(conductor)
        return self.attempt()

    async def settle(self, conductor: Conductor) -> None:
        """Wait until nothing is active any more."""
        async with asyncio.timeout(PATIENCE):
            await conductor.idle.wait()
            await conductor.list_jobs()

    def attempt(self) -> AttemptRow:
        """The only attempt that there was."""
        (row,) = self.attempts()
        return row

    def record(self, case: str) -> None:
        """Keep what the first attempt printed as a fixture for the fast tests of parsing."""
        row = self.attempts()[0]
        files = AttemptFiles(self.home.run_dir(self.row().run_id), 1, row.attempt)
        status = read_status(files.status).exit_status
        assert status is not None
        places = {
            str(self.root / "home"): "/home/player",
            str(self.workspace): "/song",
            str(self.root): "/stage",
            str(folder().resolve()): "/programs",
            str(folder()): "/programs",
            str(Path.home()): "/home/somebody",
            KEY: "[KEY]",
        }
        # Some programs name folders of theirs after the path that they work in.
        for path in (self.workspace, self.root):
            places[re.sub(r"[^A-Za-z0-9]", "-", str(path))] = places[str(path)].replace("/", "-")
        recorded = Case(self.agent.instrument, f"{PROOF}{case}")
        found = record(recorded, files, status, places=places, folder=self.root / "recorded")
        stored = {key: getattr(row, key) for key in ("input_tokens", "output_tokens", "code")}
        assert {key: found.get(key) for key in stored} == stored

    def output(self) -> str:
        """What the program has written to stdout so far."""
        files = AttemptFiles(self.home.run_dir(self.row().run_id), 1, 1)
        return files.stdout.read_text(errors="replace") if files.stdout.exists() else ""

    def processes(self) -> dict[int, str]:
        """Living processes that have this stage in their environment or work in it, by their pid."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    works_here = os.readlink(entry / "cwd").startswith(str(self.root))
                    if works_here or f"={self.root}".encode() in (entry / "environ").read_bytes():
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        found[int(entry.name)] = command.decode(errors="replace")[:200]
                except OSError:
                    continue
        return found


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that no event tells; the test fails when it does not come."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - programs tell nobody
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited {PATIENCE:.0f} s in vain until {what}") from None
