"""Places from which a field's effect is seen: what is started, how it is judged, what is shown."""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from marianne_core.model.clock import SystemClock
from marianne_core.model.outcome import Outcome, ValidationReport
from marianne_core.model.states import AttemptMode, SheetStatus
from marianne_core.run.active import ActiveRun, Playing
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.launcher import Launcher, LaunchError, LaunchSpec, Shim
from marianne_core.run.musician import Musician
from marianne_core.run.validate.validator import Validator
from marianne_core.run.waiter import Waiter
from marianne_tui.cli.guard import run_guarded
from tests.effects.probe import See
from tests.effects.world import World
from tests.programs import Program

ROOT = Path(__file__).resolve().parents[2]

_TOKEN = f"effects-{uuid.uuid4().hex}"
"""Of this process alone: what carries a token is ended with it, wherever it was started."""


class _Stage(Launcher):
    """Takes note of what is to be started, and starts nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.spec: LaunchSpec | None = None

    async def start(self, spec: LaunchSpec) -> Shim:
        self.spec = spec
        raise LaunchError("nothing is started here")


class _Deaf:
    """In the place of the engine: nothing is remembered."""

    async def intend(self, attempt: Playing) -> None:
        pass

    def started(self, attempt: Playing) -> None:
        pass

    def note(self, attempt: Playing, event: str, **data: object) -> None:
        pass


@dataclass(frozen=True)
class Played:
    """An attempt that the musician prepared up to the moment of its start."""

    outcome: Outcome
    spec: LaunchSpec | None
    """What was to be started; None when the attempt ended before."""

    @property
    def argv(self) -> list[str]:
        """Arguments behind the program."""
        assert self.spec is not None, self.outcome
        return list(self.spec.argv[1:])

    @property
    def program(self) -> str:
        assert self.spec is not None, self.outcome
        return Path(self.spec.argv[0]).name

    @property
    def prompt(self) -> str:
        """What it is told: through stdin, else as the last argument."""
        assert self.spec is not None, self.outcome
        stdin = self.spec.stdin
        return self.argv[-1] if stdin is None else stdin.decode()

    @property
    def env(self) -> Mapping[str, str]:
        assert self.spec is not None, self.outcome
        return self.spec.env

    @property
    def cwd(self) -> Path:
        assert self.spec is not None, self.outcome
        return self.spec.cwd

    def behind(self, flag: str) -> str | None:
        """The argument behind a flag, or None."""
        return self.argv[self.argv.index(flag) + 1] if flag in self.argv else None


async def played(world: World, num: int = 1, *, after: Mapping[int, str] | None = None) -> Played:
    """Play sheet `num` up to its start. `after`: sheets that completed before, and what each wrote."""
    run = _run(world)
    stage = _Stage()
    async with _musician(world, stage) as musician:
        for other, text in (after or {}).items():
            await _concluded(musician, run, other, 0, text)
            run.remember(other, SheetStatus.COMPLETED, 1)
        outcome = await musician.play(Playing(run, num, 1, AttemptMode.NORMAL, _TOKEN))
    return Played(outcome, stage.spec)


def launch(pick: Callable[[Played], Any], num: int = 1, **how: Any) -> See:
    """What `pick` takes from the launch of a sheet; `how` goes to `played`."""

    async def see(world: World) -> Any:
        return pick(await played(world, num, **how))

    return see


@dataclass(frozen=True)
class Judged:
    """An attempt whose process is over, read and validated."""

    outcome: Outcome
    report: ValidationReport | None
    naps: list[float]
    """Seconds between two looks at a validation, one for each repeated look."""

    @property
    def passed(self) -> list[bool]:
        """Which validations passed, in order of the score."""
        return [result.passed for result in self.report.results] if self.report else []


async def judged(world: World, num: int = 1, *, status: int = 0, out: str = "") -> Judged:
    """What the musician makes of sheet `num` when its process ended like this."""
    naps: list[float] = []
    async with _musician(world, _Stage(), naps) as musician:
        attempt, outcome = await _concluded(musician, _run(world), num, status, out)
    return Judged(outcome, attempt.report, naps)


def judgement(pick: Callable[[Judged], Any], **how: Any) -> See:
    """What `pick` takes from the end of an attempt; `how` goes to `judged`."""

    async def see(world: World) -> Any:
        return pick(await judged(world, **how))

    return see


async def _concluded(
    musician: Musician, run: ActiveRun, num: int, status: int, out: str
) -> tuple[Playing, Outcome]:
    attempt = Playing(run, num, 1, AttemptMode.NORMAL, _TOKEN)
    for suffix, text in (("out", out), ("err", ""), ("st", f"={status}\n")):
        _write(attempt.files.name(suffix), text)
    return attempt, await musician.conclude(attempt)


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)


def _run(world: World) -> ActiveRun:
    run_dir = world.folder / "run"
    run_dir.mkdir(exist_ok=True)
    return ActiveRun(1, "song", 1, world.plan, run_dir)


@asynccontextmanager
async def _musician(
    world: World, launcher: Launcher, naps: list[float] | None = None
) -> AsyncIterator[Musician]:
    async def nap(seconds: float) -> None:
        if naps is not None:
            naps.append(round(seconds, 6))

    waiter, validator = Waiter(), Validator(sleep=nap)
    musician = Musician(
        _Deaf(),
        clock=SystemClock(),
        ensemble=Ensemble(world.profiles, world.environ, SystemClock()),
        launcher=launcher,
        waiter=waiter,
        validator=validator,
        environ=world.environ,
        grace=world.settings.grace_seconds,
        subreaper=False,
    )
    try:
        yield musician
    finally:
        await musician.close()
        validator.close()
        waiter.close()


def mzt(world: World, *arguments: str) -> str:
    """What a command that hosts nothing prints, run in this process."""
    shown = io.StringIO()
    with (
        mock.patch.dict(os.environ, world.environ, clear=True),
        contextlib.chdir(world.folder),
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(shown),
    ):
        run_guarded(list(arguments))
    return shown.getvalue()


def hosted(world: World, *arguments: str) -> str:
    """What `mzt` prints as a program of its own: for commands that host a conductor."""
    sources = [ROOT, ROOT / "core", ROOT / "widgets", ROOT / "styles"]
    path = os.pathsep.join(map(str, sources))
    env = {**world.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"}
    target = ["-m", "marianne_tui", *arguments]
    with Program(target, env=env, cwd=world.folder, stderr=True) as program:
        return "".join(program.communicate(timeout=60))
