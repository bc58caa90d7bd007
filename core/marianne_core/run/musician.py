"""One attempt, from the launch order to its outcome: prepare, start, wait, read, validate."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Protocol, TypeVar

from marianne_core.model.clock import Clock
from marianne_core.model.errors import MztError
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.plan.cross_sheet import CrossSheet, collect
from marianne_core.plan.prompt import build_prompt
from marianne_core.plan.rules import rules_for
from marianne_core.run.active import Playing
from marianne_core.run.attempt_files import read_end
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.instrument.command_line import InstrumentError, build_invocation
from marianne_core.run.instrument.failures import outcome_of, refused
from marianne_core.run.launcher import Launcher, LaunchError, LaunchSpec, resolve_program
from marianne_core.run.skips import reason_to_skip
from marianne_core.run.strays import Strays
from marianne_core.run.tree import SharedScans, Tree, TreeEnd
from marianne_core.run.validate.baseline import take_baseline
from marianne_core.run.validate.summary import with_report
from marianne_core.run.validate.validator import Validator
from marianne_core.run.waiter import Waiter

_SPAWNS_A_TURN = 4
"""A spawn holds the interpreter for up to a millisecond (SEAMS section 1): the loop must breathe."""

_AGAIN_AFTER = 0.5
"""Seconds until the end of a tree is tried again after the system refused to look."""

T = TypeVar("T")


class _CutShort(Exception):
    """The attempt is to end: what it was doing was stopped."""


class AttemptLog(Protocol):
    """What the musician tells the engine while an attempt goes on."""

    async def intend(self, attempt: Playing) -> None:
        """See to it that the attempt's row is committed; nothing is spawned before this returns."""
        ...

    def started(self, attempt: Playing) -> None:
        """The shim was spawned."""
        ...

    def note(self, attempt: Playing, event: str, **data: object) -> None:
        """Something a person may want to know, for the event journal."""
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
        self._validator = validator
        self._environ = environ
        self.grace = grace
        """Seconds between TERM and KILL."""
        self._scans = SharedScans()
        self._strays = Strays(waiter, self._end_the_rest, subreaper=subreaper)
        self._spawned_this_turn = 0
        self._waiting_to_spawn: deque[asyncio.Future[None]] = deque()

    async def play(self, attempt: Playing) -> Outcome:
        """Play a new attempt to its end; its processes are gone when this returns."""
        try:
            if attempt.first_try and (reason := await self._reason_to_skip(attempt)):
                return Outcome(Ended.SKIPPED, reason=reason)
            prepared = self._prepare(attempt)
        except _CutShort:
            return _as_ordered(attempt)
        except InstrumentError as error:
            return refused(error)
        except LaunchError as error:
            return _not_launched(error)
        except MztError as error:
            return Outcome(Ended.FAILED, code="E304", reason=str(error), retriable=False)
        except OSError as error:
            return Outcome(Ended.FAILED, code="E603", reason=f"cannot prepare the attempt: {error}")
        await self._log.intend(attempt)
        await self._spawn_turn()
        if attempt.ended_as is not None:
            return _as_ordered(attempt)
        try:
            shim = self._launcher.launch(prepared)
        except LaunchError as error:
            return _not_launched(error)
        attempt.pid = shim.pid
        attempt.shim_alive = True
        self._strays.begun(attempt)
        attempt.started_at = self._clock.wall()
        self._log.started(attempt)
        attempt.waited = await self._waiter.exited(shim.pid, attempt.files.name("st"))
        return await self.conclude(attempt)

    async def adopt(self, attempt: Playing) -> Outcome:
        """Wait for an attempt that an earlier conductor started and that lives on.

        With `attempt.pid` None its lock is held by a process that this conductor cannot see.
        """
        attempt.shim_alive = True
        self._strays.begun(attempt)
        await self._waiter.exited(attempt.pid, attempt.files.name("st"), child=False)
        return await self.conclude(attempt)

    async def conclude(self, attempt: Playing) -> Outcome:
        """From the shim's end to the outcome: what is left is ended, the result read and validated."""
        try:
            return await self._conclude(attempt)
        finally:
            self._strays.over(attempt)

    async def _conclude(self, attempt: Playing) -> Outcome:
        attempt.shim_alive = False
        sheet = attempt.run.plan.sheets[attempt.num - 1]
        end = read_end(attempt.files, attempt.token, attempt.waited)
        await self._strays.settle(attempt, group_known=end.exit_status is not None)
        if attempt.ended_as is Ended.CANCELLED:
            return _as_ordered(attempt)
        if attempt.ended_as is Ended.TIMEOUT:
            return outcome_of(end, None, timed_out_after=sheet.timeout)
        if end.exit_status is None:
            return outcome_of(end, None)
        reader = self._ensemble.reader(sheet.instrument)
        result = await reader.read(end.exit_status, attempt.files.stdout, attempt.files.stderr)
        if result.text is not None:
            _keep_answer(attempt, result.text)
        for warning in result.warnings:
            self._log.note(attempt, "sheet.warning", reason=warning)
        outcome = outcome_of(end, result)
        if outcome.ended is not Ended.OK:
            return outcome
        try:
            return await self._validated(attempt, outcome)
        except _CutShort:
            return _as_ordered(attempt)

    async def make_sure_it_is_over(self, attempt: Playing) -> None:
        """End whatever is left of an attempt that could not be played to its end."""
        if attempt.pid is not None or attempt.intended:
            await self._tree(attempt, shim=attempt.shim_alive).end(self.grace)

    async def close(self) -> None:
        """Look after what the last attempts left behind."""
        await self._strays.close()

    async def end(self, attempt: Playing, ended: Ended, reason: str) -> None:
        """End a living attempt; `play` returns the outcome. A timeout spares what is done already."""
        if attempt.ended_as is not None:
            return
        if ended is Ended.TIMEOUT and attempt.pid is not None and not attempt.shim_alive:
            return  # the instrument is done; validations have time limits of their own
        attempt.ended_as, attempt.ended_why = ended, reason
        if attempt.check is not None:
            attempt.check.cancel()
        if attempt.shim_alive:
            outcome = await self._end_tree(attempt)
            if outcome.survivors:
                pids = ", ".join(str(proc.pid) for proc in outcome.survivors)
                self._log.note(attempt, "sheet.survivors", reason=f"could not be ended: {pids}")

    # --- parts ----------------------------------------------------------------------------------

    async def _reason_to_skip(self, attempt: Playing) -> str:
        sheet_config = attempt.run.plan.config.sheet
        if not sheet_config.skip_when and not sheet_config.skip_when_command:
            return ""
        reason, warning = await self._cut_short(attempt, reason_to_skip(attempt, self._environ))
        if warning:
            self._log.note(attempt, "sheet.warning", reason=warning)
        return reason

    def _prepare(self, attempt: Playing) -> LaunchSpec:
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
        for warning in prompt.warnings:
            self._log.note(attempt, "sheet.warning", reason=warning)
        if not os.path.isdir(plan.workspace):
            plan.workspace.mkdir(exist_ok=True)
        invocation = build_invocation(
            profile,
            prompt.text,
            environment=self._ensemble.environment(sheet.instrument),
            workspace=plan.workspace,
            timeout=sheet.timeout,
            model=sheet.model,
            config=sheet.config,
            base=plan.base,
        )
        program = resolve_program(invocation.argv[0], invocation.env.get("PATH"), plan.base)
        argv = (str(program), *invocation.argv[1:])
        attempt.baseline = take_baseline(rules_for(plan, sheet.num))
        if attempt.baseline:
            # On the disk too: another conductor may validate what this attempt does.
            with open(attempt.files.name("base"), "w", encoding="utf-8") as file:
                json.dump(attempt.baseline.to_dict(), file)
        attempt.argv_digest = _digest("\0".join(argv))
        attempt.prompt_hash = _digest(prompt.text)
        return LaunchSpec(
            token=attempt.token,
            argv=argv,
            cwd=invocation.cwd,
            env=invocation.env,
            stdin=invocation.stdin,
            files=attempt.files,
        )

    async def _validated(self, attempt: Playing, outcome: Outcome) -> Outcome:
        run = attempt.run
        rules = rules_for(run.plan, attempt.num)
        if not rules:
            return outcome
        attempt.report = await self._cut_short(
            attempt,
            self._validator.validate(
                rules,
                workspace=run.plan.workspace,
                baseline=attempt.baseline,
                env=self._environ,
                token=attempt.token,
            ),
        )
        return with_report(outcome, attempt.report)

    async def _cut_short(self, attempt: Playing, work: Awaitable[T]) -> T:
        """Run a part that ends at once when the attempt is to end. Raises _CutShort then."""
        if attempt.ended_as is not None:
            if asyncio.iscoroutine(work):
                work.close()
            raise _CutShort
        task = asyncio.ensure_future(work)
        attempt.check = task
        try:
            return await task
        except asyncio.CancelledError:
            if attempt.ended_as is not None:
                raise _CutShort from None
            task.cancel()
            raise
        finally:
            attempt.check = None

    async def _end_the_rest(self, attempt: Playing) -> None:
        """End processes that outlived their shim."""
        ended = await self._tree(attempt, shim=False).end(self.grace)
        if ended.signalled and attempt.ended_as is None:
            self._log.note(
                attempt,
                "sheet.leftovers",
                reason=f"ended {len(ended.signalled)} processes that the sheet left behind",
            )

    async def _end_tree(self, attempt: Playing) -> TreeEnd:
        """End the attempt's tree; a system that is short of files or memory is asked again."""
        while True:
            try:
                return await self._tree(attempt).end(self.grace)
            except OSError as error:
                if not attempt.shim_alive:
                    raise
                self._log.note(attempt, "sheet.warning", reason=f"not ended yet: {error}")
                await asyncio.sleep(_AGAIN_AFTER)

    def _tree(self, attempt: Playing, *, shim: bool = True) -> Tree:
        return Tree(
            attempt.token,
            attempt.pid,
            status=attempt.files.name("st") if shim else None,
            scans=self._scans,
        )

    async def _spawn_turn(self) -> None:
        """Wait until this turn of the loop may spawn one more."""
        loop = asyncio.get_running_loop()
        if self._spawned_this_turn >= _SPAWNS_A_TURN:
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting_to_spawn.append(turn)
            await turn
            return
        if self._spawned_this_turn == 0:
            loop.call_soon(self._new_turn)
        self._spawned_this_turn += 1

    def _new_turn(self) -> None:
        self._spawned_this_turn = 0
        while self._waiting_to_spawn and self._spawned_this_turn < _SPAWNS_A_TURN:
            turn = self._waiting_to_spawn.popleft()
            if not turn.done():
                turn.set_result(None)
                self._spawned_this_turn += 1
        if self._spawned_this_turn:
            asyncio.get_running_loop().call_soon(self._new_turn)


def _keep_answer(attempt: Playing, text: str) -> None:
    """What the instrument answered, taken out of its events: other sheets are told this."""
    with open(attempt.files.name("txt"), "w", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _previous(attempt: Playing) -> CrossSheet:
    run = attempt.run
    return collect(run.plan, attempt.num, stdout_of=run.stdout_of, status_of=run.status_of)


def _as_ordered(attempt: Playing) -> Outcome:
    """The outcome of an attempt that was ended on order."""
    assert attempt.ended_as is not None
    code = "E001" if attempt.ended_as is Ended.TIMEOUT else None
    return Outcome(attempt.ended_as, code=code, reason=attempt.ended_why)


def _not_launched(error: LaunchError) -> Outcome:
    return Outcome(Ended.FAILED, code=error.code, reason=str(error), retriable=error.retriable)


def _digest(text: str) -> str:
    """Names a command line or prompt in the store without keeping it there: 16 hexadecimal digits."""
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()
