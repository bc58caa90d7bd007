"""One attempt, from the launch order to its outcome: prepare, start, wait, read, validate."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from marianne_core.model.clock import Clock
from marianne_core.model.errors import MztError
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import AttemptMode
from marianne_core.plan.cross_sheet import CrossSheet, collect
from marianne_core.plan.effort import prompt_may_take_long
from marianne_core.plan.prompt import build_prompt
from marianne_core.plan.rules import rules_for
from marianne_core.run.active import ActiveRun, Playing
from marianne_core.run.attempt_files import AttemptFiles
from marianne_core.run.conclusion import Conclusion, as_ordered
from marianne_core.run.ending import Endings
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.instrument.command_line import InstrumentError, build_invocation
from marianne_core.run.instrument.failures import refused
from marianne_core.run.launcher import Launcher, LaunchError, LaunchSpec
from marianne_core.run.parts import CutShort, cut_short, with_means
from marianne_core.run.processes import Proc
from marianne_core.run.readings import Readings
from marianne_core.run.skips import has_skip_command, reason_to_skip
from marianne_core.run.strays import Strays
from marianne_core.run.system_errors import Shortage, shortage_of, words_of
from marianne_core.run.tree import SharedScans
from marianne_core.run.validate.baseline import Baseline, read_baseline, take_baseline
from marianne_core.run.validate.validator import Validator
from marianne_core.run.waiter import Waiter
from marianne_core.run.warm import Warm

_STRANGER = "held by a process this conductor cannot see"


class AttemptLog(Protocol):
    """What the musician tells the engine while an attempt goes on."""

    async def intend(self, attempt: Playing) -> None:
        """See to it that the attempt's row is committed; nothing is spawned before this returns."""
        ...

    def started(self, attempt: Playing) -> None:
        """The shim was spawned."""
        ...

    async def ending(self, attempt: Playing) -> None:
        """See to it that the order to end the attempt (`ended_as`) is committed, if it can be;
        nothing is signalled before this returns."""
        ...

    def note(self, attempt: Playing, event: str, **data: object) -> None:
        """Something a person may want to know, for the event journal."""
        ...

    def disk_full(self, folder: Path, reason: str) -> None:
        """The disk of this folder has no room: start nothing until a trial write in it works."""
        ...

    def short_of_means(self, reason: str) -> None:
        """No open file, process, thread or memory was left for a start: start nothing for a moment
        (0.5 s, and longer, up to 5 s, while it is said again and again)."""
        ...


class Musician:
    """Plays attempts; one serves all runs of a conductor."""

    def __init__(
        self,
        log: AttemptLog,
        *,
        clock: Clock,
        ensemble: Ensemble,
        launcher: Launcher,
        waiter: Waiter,
        validator: Validator,
        environ: Mapping[str, str],
        grace: float,
        subreaper: bool,
    ) -> None:
        """`environ` is what commands of validations and `skip_when_command` inherit."""
        self._log = log
        self._clock = clock
        self._ensemble = ensemble
        self._launcher = launcher
        self._waiter = waiter
        self.warm = Warm(waiter, launcher.spawner)
        """The shim of the attempt that is likely next, if one was started ahead."""
        self._validator = validator
        self._environ = environ
        self._readings = Readings(ensemble)
        scans = SharedScans()
        self._endings = Endings(log.note, grace, scans)
        self._strays = Strays(waiter, self._end_the_rest, scans=scans, subreaper=subreaper)
        self._conclusion = Conclusion(
            log,
            clock=clock,
            ensemble=ensemble,
            validator=validator,
            strays=self._strays,
            endings=self._endings,
            readings=self._readings,
            environ=environ,
        )

    async def play(self, attempt: Playing) -> Outcome:
        """Play a new attempt to its end; its processes are gone when this returns."""
        with self._strays.of(attempt):
            outcome = await self._play(attempt)
            if self.warm.token == attempt.token:
                # Nothing was started after all; its shim is no stray.
                self.warm.drop()
                await self.warm.settle()
            if self._strays.may_be_left(attempt):
                await self._settle_helpers(attempt)
        return outcome

    async def _play(self, attempt: Playing) -> Outcome:
        try:
            if attempt.first_try and (reason := await self._reason_to_skip(attempt)):
                return Outcome(Ended.SKIPPED, reason=reason)
            prepared = await self._prepared(attempt)
        except CutShort:
            return as_ordered(attempt)
        except (MztError, OSError, RuntimeError) as error:
            return self._not_started(attempt, error)
        if not attempt.intended:
            await self._log.intend(attempt)
        await self.warm.make_way(prepared)
        if attempt.ended_as is not None:
            return as_ordered(attempt)
        try:
            shim = self.warm.launch(prepared) or await self._launcher.start(prepared)
        except (LaunchError, RuntimeError) as error:
            return self._not_started(attempt, error)
        attempt.pid = shim.pid
        attempt.shim_alive = True
        attempt.started_at = self._clock.wall()
        self._log.started(attempt)
        self._readings.begin(attempt)
        if attempt.ended_as is not None:
            await self._end_living(attempt)  # ordered while it was being started
        if shim.gone is not None:
            attempt.waited = await shim.gone
        else:
            attempt.waited = await self._exited(attempt, child=True)
        return await self._conclusion.reach(attempt)

    def warm_up(self, run: ActiveRun, num: int, number: int, token: str) -> None:
        """Start the shim of an attempt that is likely next and whose intent is committed."""
        try:
            sheet = run.plan.sheets[num - 1]
            environment = self._ensemble.environment(sheet.instrument, sheet.config)
        except MztError:
            return  # the attempt itself will say so
        self.warm.start(token, AttemptFiles(run.run_dir, num, number), environment.variables)

    async def adopt(self, attempt: Playing) -> Outcome:
        """Wait for an attempt that an earlier conductor started and that lives on.

        With `attempt.pid` None its lock is held by a process that this conductor cannot see.
        """
        attempt.shim_alive = True
        if attempt.held_by_stranger and not attempt.doing:
            attempt.doing = f"{_STRANGER}; it is waited for"
        self._readings.begin(attempt)
        with self._strays.of(attempt):
            await self._exited(attempt, child=False)
            outcome = await self._conclusion.reach(attempt)
            await self._settle_helpers(attempt)
        return outcome

    async def conclude(self, attempt: Playing) -> Outcome:
        """From the shim's end to the outcome: what is left is ended, the result read and validated."""
        with self._strays.of(attempt):
            outcome = await self._conclusion.reach(attempt)
            await self._settle_helpers(attempt)
        return outcome

    async def make_sure_it_is_over(self, attempt: Playing) -> None:
        """End whatever is left of an attempt that could not be played to its end, however long that
        takes. A conductor that leaves meanwhile (cancels it) leaves the attempt to the next one."""
        attempt.concluding = True
        if attempt.pid is not None or attempt.intended:
            await self._endings.end(attempt)

    async def close(self) -> None:
        """End what was started ahead; attempts that live are left alone."""
        await self._readings.close()
        await self.warm.close()
        self._launcher.close()

    async def end(self, attempt: Playing, ended: Ended, reason: str) -> None:
        """End a living attempt; `play` returns the outcome. A timeout spares what is done already.

        Returns when its processes are gone, however long that takes. What a stranger holds is not
        signalled: its timeout cannot be carried out, its cancellation counts once it is gone.
        """
        if attempt.ended_as is not None:
            return
        if ended is Ended.TIMEOUT and attempt.concluding:
            return  # the instrument is done; validations have time limits of their own
        if ended is Ended.TIMEOUT and attempt.held_by_stranger:
            attempt.doing = f"its timeout cannot be carried out: {_STRANGER}; it is waited for"
            self._log.note(attempt, "sheet.warning", reason=attempt.doing)
            return
        attempt.ended_as, attempt.ended_why = ended, reason
        attempt.doing = f"being ended: {reason}"
        if attempt.check is not None:
            attempt.check.cancel()
        if attempt.shim_alive:
            await self._end_living(attempt)

    # --- parts ----------------------------------------------------------------------------------

    async def _end_living(self, attempt: Playing) -> None:
        """Carry out an order to end an attempt whose shim lives, or lived a moment ago."""
        await self._log.ending(attempt)
        if attempt.held_by_stranger:
            why = attempt.ended_why
            attempt.doing = f"cannot be ended: {_STRANGER}; it is waited for ({why})"
            self._log.note(attempt, "sheet.warning", reason=attempt.doing)
        elif attempt.shim_alive:
            await self._endings.end(attempt)

    async def _reason_to_skip(self, attempt: Playing) -> str:
        sheet_config = attempt.run.plan.config.sheet
        if not sheet_config.skip_when and not sheet_config.skip_when_command:
            return ""
        if not has_skip_command(attempt):
            reason, _ = await reason_to_skip(attempt, self._environ)
            return reason
        # A command is something of the attempt that a killed conductor leaves behind.
        await self._log.intend(attempt)
        attempt.helped = True
        attempt.doing = "asking skip_when_command"
        reason, warning = await cut_short(attempt, reason_to_skip(attempt, self._environ))
        attempt.doing = ""
        if warning:
            self._log.note(attempt, "sheet.warning", reason=warning)
        return reason

    def _not_started(self, attempt: Playing, error: MztError | OSError | RuntimeError) -> Outcome:
        """Nothing of the instrument ran: through no fault of the sheet, or because of it."""
        match shortage_of(error):
            case Shortage.ROOM:
                return self._no_room(attempt, error)
            case Shortage.MEANS:
                reason = error.what if isinstance(error, MztError) else words_of(error)
                self._log.short_of_means(reason)
                return Outcome(Ended.NEVER_RAN, reason=f"not started: {reason}")
        match error:
            case InstrumentError():
                return refused(error)
            case LaunchError():
                return Outcome(
                    Ended.FAILED, code=error.code, reason=str(error), retriable=error.retriable
                )
            case MztError():
                return Outcome(Ended.FAILED, code="E304", reason=str(error), retriable=False)
            case OSError():
                reason = f"cannot prepare the attempt: {error}"
                return Outcome(Ended.FAILED, code="E603", reason=reason)
        raise error

    def _no_room(self, attempt: Playing, error: MztError | OSError | RuntimeError) -> Outcome:
        """Nothing of the instrument ran, because a disk is full."""
        reason = error.what if isinstance(error, MztError) else words_of(error)
        where = error.where if isinstance(error, MztError) else getattr(error, "filename", None)
        self._log.disk_full(_folder_of(where, attempt), reason)
        return Outcome(Ended.NEVER_RAN, reason=f"not started: {reason}")

    async def _exited(self, attempt: Playing, *, child: bool) -> int | None:
        """Wait for the shim's end."""
        status = attempt.files.name("st")
        return await with_means(
            attempt,
            "its end cannot be waited for",
            lambda: self._waiter.exited(attempt.pid, status, child=child),
        )

    async def _prepared(self, attempt: Playing) -> LaunchSpec:
        """What is to be started, made in a thread where that may take long."""
        if prompt_may_take_long(attempt.run.plan, attempt.num):
            work = asyncio.to_thread(self._prepare, attempt)
            prepared, warnings = await cut_short(attempt, work)
        else:
            prepared, warnings = self._prepare(attempt)
        for warning in warnings:
            self._log.note(attempt, "sheet.warning", reason=warning)
        return prepared

    def _prepare(self, attempt: Playing) -> tuple[LaunchSpec, tuple[str, ...]]:
        """What is to be started, and what could not be put into its prompt."""
        run, plan = attempt.run, attempt.run.plan
        sheet = plan.sheets[attempt.num - 1]
        profile = self._ensemble.profile(sheet.instrument)
        previous = _previous(attempt)
        prompt = build_prompt(
            plan,
            sheet.num,
            attempt=1 if attempt.first_try else attempt.number,
            mode=attempt.mode,
            previous=previous,
            last_report=run.reports.get(sheet.num),
        )
        if not os.access(plan.workspace, os.F_OK):
            plan.workspace.mkdir(exist_ok=True)
        invocation = build_invocation(
            profile,
            prompt.text,
            environment=self._ensemble.environment(sheet.instrument, sheet.config),
            workspace=plan.workspace,
            timeout=sheet.timeout,
            model=sheet.model,
            config=sheet.config,
            base=plan.base,
        )
        path = invocation.env.get("PATH")
        program = self._ensemble.program(invocation.argv[0], path, plan.base)
        argv = (program, *invocation.argv[1:])
        attempt.baseline = _baseline(attempt)
        if attempt.baseline:
            # On the disk too: another conductor may validate what this attempt does.
            with open(attempt.files.name("base"), "w", encoding="utf-8") as file:
                json.dump(attempt.baseline.to_dict(), file)
        attempt.program = program
        attempt.argv_digest = _digest("\0".join(argv))
        attempt.prompt_hash = _digest(prompt.text)
        spec = LaunchSpec(
            token=attempt.token,
            argv=argv,
            cwd=invocation.cwd,
            env=invocation.env,
            stdin=invocation.stdin,
            files=attempt.files,
        )
        return spec, prompt.warnings

    async def _settle_helpers(self, attempt: Playing) -> None:
        """What helper commands left behind is ended when this returns."""
        await with_means(
            attempt,
            "what it left behind cannot be looked for",
            lambda: self._strays.settle_helpers(attempt),
        )

    async def _end_the_rest(self, attempt: Playing, also: Sequence[Proc] = ()) -> None:
        """End processes that outlived their shim."""
        ended = await self._endings.end(attempt, also)
        if ended and attempt.ended_as is None:
            self._log.note(
                attempt,
                "sheet.leftovers",
                reason=f"ended {len(ended)} processes that the sheet left behind",
            )


def _folder_of(where: object, attempt: Playing) -> Path:
    """The folder whose disk is full: of this path, or the run's where there is none."""
    if isinstance(where, str | os.PathLike) and os.path.isabs(where):
        path = Path(where)
        for folder in (path, path.parent):
            if folder.is_dir():
                return folder
    return attempt.run.run_dir


def _baseline(attempt: Playing) -> Baseline:
    """What `file_modified` rules are measured against: the files as they are now.

    Completion finishes what an earlier attempt began, and leaves alone what that one changed. So
    the whole series is measured against what its first attempt found.
    """
    now = take_baseline(rules_for(attempt.run.plan, attempt.num))
    if not now or attempt.mode is not AttemptMode.COMPLETION:
        return now
    # From the disk, since an earlier conductor may have played them. One that never ran has none.
    for number in range(attempt.number - 1, 0, -1):
        files = AttemptFiles(attempt.run.run_dir, attempt.num, number)
        if (earlier := read_baseline(files.name("base"))) is not None:
            return now.with_earlier(earlier)
    return now


def _previous(attempt: Playing) -> CrossSheet:
    run = attempt.run
    return collect(run.plan, attempt.num, stdout_of=run.stdout_of, status_of=run.status_of)


def _digest(text: str) -> str:
    """Names a command line or prompt in the store without keeping it there: 16 hexadecimal digits."""
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()
