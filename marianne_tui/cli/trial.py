"""One real turn on an instrument, to see whether it works: a score of one sheet, played in a
throw-away state directory by a conductor in this process.

So the turn goes the way of every sheet: shim, environment, reading of the result, failures, and the
end of everything it started.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import yaml

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.load import load_score
from marianne_core.config.profiles import Profiles
from marianne_core.model.clock import SystemClock
from marianne_core.model.errors import InputError, MztError
from marianne_core.model.outcome import Ended
from marianne_core.model.requests import SubmitRequest
from marianne_core.model.runs import JobRef
from marianne_core.plan.checks import checked_plan
from marianne_core.plan.prompt import build_prompt
from marianne_core.plan.sheets import Plan
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import AttemptRow
from marianne_core.run.attempt_files import AttemptFiles
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.instrument.command_line import build_invocation
from marianne_core.run.instrument.tails import tail_of
from marianne_core.run.processes import become_subreaper
from marianne_core.serve.logs import logging_to
from marianne_core.serve.stop import Stop, caught_signals
from marianne_core.watch.bus import EventStream

JOB = "check"
"""Job id of the turn, in its own state directory."""

_SENTENCE = "Answer with the single word: ready"
_SCRIPT = "echo ready"
_PATIENCE = 30.0
"""Seconds beside the time of the turn: for one that may not start, because the disk is full or the
machine short of something, and to end it."""
_SHELLS = frozenset({"bash", "sh", "dash", "zsh", "ksh"})


@dataclass(frozen=True, slots=True)
class Wish:
    """The turn that is to be played."""

    instrument: str
    """Name of a profile that can be played."""
    prompt: str
    model: str | None
    """None: the one that its profile or the program chooses."""
    timeout: float
    """Seconds until the turn is ended."""


@dataclass(frozen=True, slots=True)
class Start:
    """How the program is started."""

    argv: tuple[str, ...]
    """The program as an absolute path, then its arguments."""
    stdin_bytes: int | None
    """Size of what it reads; None = nothing."""
    removed: tuple[str, ...]
    """Names of variables that its profile keeps back."""
    unset: tuple[str, ...]
    """Names of variables that its profile refers to and that are not set."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the turn."""

    attempt: AttemptRow | None
    """None when nothing was tried."""
    reason: str
    """Why it was not good, in words; "" when it was."""
    answer: str
    """What the instrument answered, as it was written: neither cleaned nor short."""
    interrupted: bool
    """A person or the system ended it."""

    @property
    def good(self) -> bool:
        """Whether the instrument answered."""
        attempt = self.attempt
        return attempt is not None and attempt.ended == Ended.OK and not self.interrupted

    @property
    def seconds(self) -> float | None:
        """How long it took; None when that is not known."""
        attempt = self.attempt
        if attempt is None or attempt.started_at is None or attempt.finished_at is None:
            return None
        return attempt.finished_at - attempt.started_at


def sentence_for(profile: InstrumentProfile) -> str:
    """What an instrument is told: a sentence, or a script where the prompt is one."""
    executable = "" if profile.cli is None else profile.cli.command.executable
    shell = profile.raw_prompt and PurePath(executable).name in _SHELLS
    return _SCRIPT if shell else _SENTENCE


def with_program(profiles: Profiles, name: str, program: str) -> Profiles:
    """The profiles with this one's program as an absolute path: a relative one counts from the score
    of a run, and the score of a turn lies in a folder of its own."""
    profile = profiles.by_name[name]
    if profile.cli is None or profile.kind == "http":
        return profiles
    command = profile.cli.command.model_copy(update={"executable": program})
    cli = profile.cli.model_copy(update={"command": command})
    pinned = profile.model_copy(update={"cli": cli})
    return replace(profiles, by_name={**profiles.by_name, name: pinned})


class Trial:
    """The folder of one turn; a context manager, which removes it."""

    def __init__(self, profiles: Profiles, settings: DaemonConfig, wish: Wish) -> None:
        self._profiles = profiles
        self._settings = settings
        self._wish = wish
        # An agent may leave a folder there that nobody can empty; the system's own broom gets it.
        self._room = tempfile.TemporaryDirectory(prefix="mzt-check-", ignore_cleanup_errors=True)

    def __enter__(self) -> Trial:
        folder = Path(self._room.name)
        self.home = Home(folder / "state")
        self._score = folder / f"{JOB}.yaml"
        (folder / "workspace").mkdir()
        self._score.write_text(_score_text(self._wish), encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._room.cleanup()

    def start(self) -> Start:
        """How the program will be started, worked out as for any sheet. Raises MztError."""
        plan = self._plan()
        sheet = plan.sheet(1)
        ensemble = Ensemble(self._profiles, os.environ, SystemClock())
        environment = ensemble.environment(sheet.instrument, sheet.config)
        invocation = build_invocation(
            ensemble.profile(sheet.instrument),
            build_prompt(plan, 1).text,
            environment=environment,
            workspace=plan.workspace,
            timeout=sheet.timeout,
            model=sheet.model,
            config=sheet.config,
            base=plan.base,
        )
        program = ensemble.program(invocation.argv[0], invocation.env.get("PATH"), plan.base)
        stdin = invocation.stdin
        return Start(
            (program, *invocation.argv[1:]),
            None if stdin is None else len(stdin),
            environment.removed,
            environment.unset,
        )

    def play(self, began: Callable[[], None]) -> Result:
        """Play the turn to its end; nothing of it runs when this returns.

        Ctrl-C, SIGTERM and SIGHUP end it. `began` is called when it was accepted. Raises MztError.
        """
        return asyncio.run(self._play(began))

    def _plan(self) -> Plan:
        plan, problems = checked_plan(load_score(self._score), self._profiles)
        if plan is None:
            raise InputError("; ".join(problem.message for problem in problems))
        return plan

    async def _play(self, began: Callable[[], None]) -> Result:
        self.home.prepare()
        stop = Stop()
        with logging_to(self.home.log), caught_signals(stop):
            conductor = Conductor(
                self._settings,
                self.home,
                profiles=self._profiles,
                subreaper=become_subreaper(),
            )
            async with conductor:
                request = SubmitRequest(str(self._score), client_cwd=str(self.home.root))
                events = await conductor.events(None)
                watching = asyncio.create_task(self._told(conductor, events))
                stopping = asyncio.create_task(stop.wait())
                try:
                    reply = await conductor.submit(request)
                    if reply.status != "accepted":
                        raise InputError(reply.message)
                    began()
                    done, _ = await asyncio.wait(
                        {watching, stopping},
                        timeout=self._wish.timeout + _PATIENCE,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    status = await conductor.status(JOB)
                    waits = str(status["sheets"][0]["reason"])
                    if not done:
                        waits = f"nothing came of it in time{f': {waits}' if waits else ''}"
                    await _end(conductor)
                    if watching.done():
                        watching.result()
                finally:
                    watching.cancel()
                    stopping.cancel()
                    await asyncio.gather(watching, stopping, return_exceptions=True)
                    await events.aclose()
            return self._result(waits, overdue=not done, interrupted=stop.level > 0)

    async def _told(self, conductor: Conductor, events: EventStream) -> None:
        """Return when the first attempt is over, whatever would follow (a retry, a parked limit)."""
        async for _ in events:
            await conductor.status(JOB)  # what was announced stands in the store then
            attempts = self._attempts()
            if (attempts and attempts[0].ended is not None) or conductor.idle.is_set():
                return

    def _attempts(self) -> list[AttemptRow]:
        """Those of the store so far."""
        with open_reader(self.home) as reader:
            return reader.attempts(reader.get_run(JobRef(JOB)).run_id)

    def _result(self, waits: str, *, overdue: bool, interrupted: bool) -> Result:
        """What the store says of the turn; `waits` is what its sheet waited for at the end."""
        with open_reader(self.home) as reader:
            run = reader.get_run(JobRef(JOB))
            attempts = reader.attempts(run.run_id)
        if not attempts:
            return Result(None, waits or run.reason, "", interrupted)
        attempt = attempts[0]
        files = AttemptFiles(self.home.run_dir(run.run_id), attempt.num, attempt.attempt)
        answer = tail_of(files.name("txt")) or tail_of(files.name("out"))
        # Ended because it was overdue, it says that a person did it.
        reason = waits if overdue else attempt.reason or waits
        return Result(attempt, "" if attempt.ended == Ended.OK else reason, answer, interrupted)


async def _end(conductor: Conductor) -> None:
    """End what still runs or waits, and return when it is gone."""
    if conductor.idle.is_set():
        return
    try:
        await conductor.cancel(JOB)
    except MztError:
        # It ended by itself just now.
        if not conductor.idle.is_set():
            raise
    await conductor.idle.wait()


def _score_text(wish: Wish) -> str:
    settings: dict[str, object] = {"timeout_seconds": wish.timeout}
    if wish.model is not None:
        settings["model"] = wish.model
    score = {
        "name": JOB,
        "workspace": "workspace",
        "instrument": wish.instrument,
        "instrument_config": settings,
        "sheet": {"size": 1, "total_items": 1},
        "retry": {"max_retries": 0, "max_completion_attempts": 0},
        # A variable, so that what was typed is no template.
        "prompt": {"template": "{{ told }}", "variables": {"told": wish.prompt}},
    }
    return yaml.safe_dump(score, sort_keys=False, allow_unicode=True)
