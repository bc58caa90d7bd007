"""A musician on its own, with an engine's log that only takes notes: for tests of one attempt."""

from __future__ import annotations

import asyncio
import os
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marianne_core.config.load import score_from_text
from marianne_core.config.profiles import load_profiles
from marianne_core.model.clock import SystemClock
from marianne_core.model.states import AttemptMode
from marianne_core.plan.build import build_plan
from marianne_core.run.active import ActiveRun, Playing
from marianne_core.run.attempt_files import new_token
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.launcher import Launcher
from marianne_core.run.musician import Musician
from marianne_core.run.processes import find_tokens, send_signal
from marianne_core.run.validate.validator import Validator
from marianne_core.run.waiter import Waiter

PATIENCE = 20.0
"""Seconds that a test waits for something that has to happen; it fails then."""


class Log:
    """In the place of the engine."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        """Events with their data, and the calls by name."""
        self.full: list[tuple[Path, str]] = []
        self.short: list[str] = []

    async def intend(self, attempt: Playing) -> None:
        attempt.intended = True
        self.said.append(("intend", {}))

    def started(self, attempt: Playing) -> None:
        self.said.append(("started", {}))

    async def ending(self, attempt: Playing) -> None:
        self.said.append(("ending", {}))

    def note(self, attempt: Playing, event: str, **data: Any) -> None:
        self.said.append((event, data))

    def disk_full(self, folder: Path, reason: str) -> None:
        self.full.append((folder, reason))

    def short_of_means(self, reason: str) -> None:
        self.short.append(reason)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [data for event, data in self.said if event == name]


class Band:
    """A musician, the waiter it has, and attempts for it. Belongs to one event loop."""

    def __init__(self, folder: Path, *, grace: float = 0.3, subreaper: bool = False) -> None:
        self.folder = folder
        self.workspace = folder / "ws"
        self.run_dir = folder / "run"
        self.workspace.mkdir(exist_ok=True)
        self.run_dir.mkdir(exist_ok=True)
        (folder / "instruments").mkdir(exist_ok=True)
        self.profiles = load_profiles([folder / "instruments"])
        self.log = Log()
        self.waiter = Waiter()
        self.validator = Validator()
        self.musician = Musician(
            self.log,
            clock=SystemClock(),
            ensemble=Ensemble(self.profiles, dict(os.environ), SystemClock()),
            launcher=Launcher(),
            waiter=self.waiter,
            validator=self.validator,
            environ=dict(os.environ),
            grace=grace,
            subreaper=subreaper,
        )
        self.tokens: list[str] = []

    def attempt(self, script: str, text: str = "", *, instrument: str = "cli") -> Playing:
        """An attempt of a score of one sheet, which plays this script."""
        score = "\n".join(
            [
                f"name: song\nworkspace: {self.workspace}\ninstrument: {instrument}",
                *([] if "sheet:" in text else ["sheet: {size: 1, total_items: 1}"]),
                textwrap.dedent(text).strip("\n"),
                "prompt:\n  template: |",
                textwrap.indent(textwrap.dedent(script).strip("\n"), "    "),
            ]
        )
        plan = build_plan(score_from_text(score, self.folder / "song.yaml"), self.profiles)
        run = ActiveRun(1, "song", 1, plan, self.run_dir)
        token = new_token()
        self.tokens.append(token)
        return Playing(run, 1, len(self.tokens), AttemptMode.NORMAL, token)

    async def close(self) -> None:
        """End whatever is left."""
        await self.musician.close()
        for procs in find_tokens(self.tokens).values():
            for proc in procs:
                send_signal(proc, signal.SIGKILL)
        self.waiter.close()
        self.validator.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that no event tells."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- what is waited for happens in other processes
            await asyncio.sleep(0.005)


async def written(path: Path) -> str:
    """The content of a file, once there is some with a newline."""
    content = [""]

    def complete() -> bool:
        content[0] = path.read_text() if path.exists() else ""
        return content[0].endswith("\n")

    await until(complete)
    return content[0]


async def left(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end, as a conductor that leaves does."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
