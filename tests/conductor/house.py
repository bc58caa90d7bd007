"""A whole conductor on a folder of its own, and eyes for what it does: for tests of real runs.

Scores play on `cli`, so a sheet is a bash script. Every process that a conductor of a `House` starts
carries the house's mark in its environment, so that what is left behind is seen.
"""

from __future__ import annotations

import asyncio
import os
import signal
import textwrap
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.profiles import load_profiles
from marianne_core.model.events import Event
from marianne_core.model.requests import SubmitReply, SubmitRequest
from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import AttemptRow, EventRow, RunRow, SheetRow, ValidationRow
from marianne_core.run.shim import ORDER_DESCRIPTOR

MARK = "MZT_TEST_HOUSE"

PATIENCE = 20.0
"""Seconds that a test waits for something that has to happen; it fails then."""


class House:
    """State directory, workspace, scores and instruments of one test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = Home(root / "state")
        self.workspace = root / "ws"
        self.instruments = root / "instruments"
        self.mark = uuid.uuid4().hex

    # --- what is played -------------------------------------------------------------------------

    def score(
        self, text: str, *, sheets: int = 1, script: str | None = None, name: str = "song"
    ) -> Path:
        """Write a score: `text` is its part that a test is about, `script` its template.

        There are no retries and no completion, and nothing is validated unless the text says otherwise.
        """
        text = textwrap.dedent(text).strip("\n")
        keys = {line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()}
        head = []
        for key, value in {
            "name": name,
            "workspace": str(self.workspace),
            "instrument": "cli",
            "sheet": f"{{size: 1, total_items: {sheets}}}",
            "retry": "{max_retries: 0, max_completion_attempts: 0}",
        }.items():
            if key not in keys:
                head.append(f"{key}: {value}")
        if script is not None:
            head += ["prompt:", "  template: |"]
            head.append(textwrap.indent(textwrap.dedent(script).strip("\n"), "    "))
        path = self.root / f"{name}.yaml"
        path.write_text("\n".join([*head, text]) + "\n", encoding="utf-8")
        return path

    def instrument(self, text: str, *, name: str, program: str | None = None) -> Path:
        """Write an instrument's profile, and a program for it: a bash script beside it.

        `{program}` in the text becomes the program's path, which is returned.
        """
        self.instruments.mkdir(exist_ok=True)
        path = self.instruments / f"{name}-program"
        if program is not None:
            path.write_text("#!/bin/bash\n" + textwrap.dedent(program))
            path.chmod(0o755)
        profile = textwrap.dedent(text).replace("{program}", str(path))
        head = f"name: {name}\ndisplay_name: {name}\nkind: cli\n"
        (self.instruments / f"{name}.yaml").write_text(head + profile)
        return path

    # --- the conductor --------------------------------------------------------------------------

    def conductor(
        self,
        *,
        grace: float = 0.3,
        seed: int = 1,
        job_timeout: float | None = None,
        dispatch: bool = True,
        **settings: Any,
    ) -> Conductor:
        """A conductor of this state directory. `job_timeout` may be shorter than a person's file may say."""
        config = DaemonConfig(grace_seconds=grace, **settings)
        if job_timeout is not None:
            config = config.model_copy(update={"job_timeout_seconds": job_timeout})
        return Conductor(
            config,
            self.home,
            seed=seed,
            environ={**os.environ, MARK: self.mark},
            profiles=load_profiles([self.instruments]) if self.instruments.exists() else None,
            dispatch=dispatch,
        )

    async def play(self, score: Path, *, conductor: Conductor | None = None, **request: Any) -> Run:
        """Play a score to its end, on a conductor of its own unless one is given."""
        if conductor is None:
            async with self.conductor() as own:
                return await self.play(score, conductor=own, **request)
        reply = await submit(conductor, score, **request)
        await settled(conductor)
        return await self.run(conductor, f"{reply.job_id}#{reply.run}")

    async def run(self, conductor: Conductor, job: str = "song") -> Run:
        """What is known about a run now."""
        return Run(await conductor.status(job), self)

    # --- what is left ---------------------------------------------------------------------------

    def row(self, job: str = "song") -> RunRow:
        with open_reader(self.home) as reader:
            return reader.get_run(JobRef.parse(job))

    def rows(self) -> list[RunRow]:
        with open_reader(self.home) as reader:
            return reader.list_runs(limit=None)

    def attempts(self, sheet: int | None = None, job: str = "song") -> list[AttemptRow]:
        with open_reader(self.home) as reader:
            return reader.attempts(reader.get_run(JobRef.parse(job)).run_id, sheet)

    def sheet_rows(self, job: str = "song") -> list[SheetRow]:
        with open_reader(self.home) as reader:
            return list(reader.sheets(reader.get_run(JobRef.parse(job)).run_id))

    def intents(self, job: str = "song") -> set[str]:
        """Tokens of all attempts that the store knows and that have not ended."""
        with open_reader(self.home) as reader:
            run = reader.get_run(JobRef.parse(job))
            return {row.token for row in reader.open_attempts(run.run_id)}

    def validations(self, sheet: int, attempt: int, job: str = "song") -> list[ValidationRow]:
        with open_reader(self.home) as reader:
            return reader.validations(reader.get_run(JobRef.parse(job)).run_id, sheet, attempt)

    def journal(self, job: str = "song") -> list[EventRow]:
        with open_reader(self.home) as reader:
            return reader.events(reader.get_run(JobRef.parse(job)).run_id, limit=None)

    def kinds(self, sheet: int, job: str = "song") -> list[str]:
        """Names of a sheet's events, in order."""
        return [event.kind for event in self.journal(job) if event.sheet == sheet]

    def lines(self, name: str) -> list[str]:
        """Lines of a file of the workspace; none if it is not there."""
        path = self.workspace / name
        return path.read_text().splitlines() if path.exists() else []

    def wrote(self, name: str) -> bool:
        return (self.workspace / name).exists()

    def put(self, name: str, text: str = "") -> None:
        """Leave a file in the workspace, for example one that a sheet waits for."""
        self.workspace.mkdir(exist_ok=True)
        (self.workspace / name).write_text(text)

    async def appears(self, name: str) -> None:
        """Wait until a sheet has written that file of the workspace."""
        await until(lambda: self.wrote(name), f"{name} appears")

    def processes(self) -> dict[int, str]:
        """Living processes that a conductor of this house started: pid and command line."""
        needle = f"{MARK}={self.mark}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if needle in (entry / "environ").read_bytes():
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        found[int(entry.name)] = command.decode(errors="replace")[:200]
                except OSError:
                    continue
        return found

    def shims(self, *, waiting: bool = False) -> list[int]:
        """Pids of living shims: of those that have their order, or of those that wait for it."""
        shims = [pid for pid, line in self.processes().items() if " mzt-" in line]
        return [
            pid for pid in shims if os.path.lexists(f"/proc/{pid}/fd/{ORDER_DESCRIPTOR}") == waiting
        ]

    def tidy(self) -> list[str]:
        """What is wrong with the house after a test, in words; ends processes that are left."""
        left = self.processes()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        faults = [f"process left: {pid} {command}" for pid, command in left.items()]
        for run in self.rows() if self.home.database.exists() else []:
            with open_reader(self.home) as reader:
                attempts, sheets = reader.open_attempts(run.run_id), reader.sheets(run.run_id)
            if run.status.active:
                faults.append(f"{run.job_id}#{run.run} is left {run.status}")
            if run.status.terminal and attempts:
                open_ones = [(row.num, row.attempt) for row in attempts]
                faults.append(f"attempts without an end: {open_ones}")
            for sheet in sheets:
                if sheet.status in (SheetStatus.IN_PROGRESS, SheetStatus.DISPATCHED):
                    faults.append(f"sheet {sheet.num} is left {sheet.status}")
                if run.status.terminal and not sheet.status.terminal:
                    faults.append(f"sheet {sheet.num} of an ended run is {sheet.status}")
                if not sheet.reason and sheet.status in (SheetStatus.FAILED, SheetStatus.SKIPPED):
                    faults.append(f"sheet {sheet.num} is {sheet.status} without a reason")
        return faults


class Run:
    """A run's status, and shortcuts to what tests ask about it."""

    def __init__(self, picture: dict[str, Any], house: House) -> None:
        self.picture = picture
        self.house = house
        self.status = JobStatus(picture["status"])
        self.reason: str = picture["reason"]
        self.job = f"{picture['job_id']}#{picture['run']}"

    def sheet(self, num: int) -> dict[str, Any]:
        """The sheet's entry of `mzt status --json`."""
        entry: dict[str, Any] = self.picture["sheets"][num - 1]
        assert entry["num"] == num
        return entry

    @property
    def statuses(self) -> list[str]:
        """Status of every sheet, in order."""
        return [sheet["status"] for sheet in self.picture["sheets"]]

    @property
    def tries(self) -> list[int]:
        """The column "attempts", in order of the sheets."""
        return [sheet["attempts"] for sheet in self.picture["sheets"]]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def submit(conductor: Conductor, score: Path, **request: Any) -> SubmitReply:
    """Submit a score that must be accepted."""
    reply = await conductor.submit(SubmitRequest(str(score), **request))
    assert reply.status == "accepted", reply.message
    return reply


async def settled(conductor: Conductor) -> None:
    """Wait until no run is active, and the store says so."""
    async with asyncio.timeout(PATIENCE):
        await conductor.idle.wait()
        await conductor.list_jobs()


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that no event tells; a test fails when it does not come."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - files of sheets tell nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {PATIENCE:.0f} s in vain until {what}") from None


class Watch:
    """The events of a conductor, kept in the order they came."""

    def __init__(self, stream: AsyncIterator[Event]) -> None:
        self._stream = stream
        self.seen: list[Event] = []

    async def until(self, *kinds: str, sheet: int | None = None, times: int = 1) -> Event:
        """Wait for an event of one of these names, counting those that came before."""

        def matching() -> list[Event]:
            return [e for e in self.seen if e.event in kinds and sheet in (None, e.sheet_num)]

        try:
            async with asyncio.timeout(PATIENCE):
                while len(matching()) < times:
                    self.seen.append(await anext(self._stream))
        except TimeoutError:
            seen = [f"{e.event}:{e.sheet_num}" for e in self.seen]
            raise AssertionError(f"no {kinds} of sheet {sheet}; seen: {seen}") from None
        return matching()[times - 1]

    def names(self, sheet: int | None = None) -> Sequence[str]:
        return [e.event for e in self.seen if sheet in (None, e.sheet_num)]


@asynccontextmanager
async def watching(conductor: Conductor, job: str | None = None) -> AsyncIterator[Watch]:
    """Watch events from now on."""
    stream = await conductor.events(job)
    try:
        yield Watch(stream)
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


class Playing:
    """A score that is being played: `async with Playing(house, score) as song`."""

    def __init__(
        self, house: House, score: Path, *, request: dict[str, Any] | None = None, **how: Any
    ):
        self.house = house
        self._score = score
        self._request = request or {}
        self.conductor = house.conductor(**how)

    async def __aenter__(self) -> Self:
        await self.conductor.__aenter__()
        self._watching = watching(self.conductor)
        self.events = await self._watching.__aenter__()
        self.reply = await submit(self.conductor, self._score, **self._request)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._watching.__aexit__(*error)
        await self.conductor.__aexit__(*error)

    async def now(self) -> Run:
        return await self.house.run(self.conductor, f"{self.reply.job_id}#{self.reply.run}")

    async def end(self) -> Run:
        """Wait until no run is active; the run as it is then."""
        await settled(self.conductor)
        return await self.now()
