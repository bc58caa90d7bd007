"""The end of an attempt: from the shim's end to the outcome. What was paid for is not thrown away.

What is left of its tree is ended first, then its result is read and what it made validated. A
system that lacks the means for that is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from marianne_core.model.clock import Clock
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.plan.rules import rules_for
from marianne_core.read.redact import redact
from marianne_core.run.active import Playing
from marianne_core.run.attempt_files import AttemptEnd, read_end
from marianne_core.run.ending import Endings
from marianne_core.run.ensemble import Ensemble
from marianne_core.run.instrument.failures import outcome_of, with_limit
from marianne_core.run.instrument.result import InstrumentResult
from marianne_core.run.launcher import missing_interpreter
from marianne_core.run.parts import CutShort, cut_short, with_means
from marianne_core.run.readings import Readings
from marianne_core.run.shim import NO_STATUS_FILE
from marianne_core.run.strays import Strays
from marianne_core.run.system_errors import Shortage, has_room, shortage_of, words_of
from marianne_core.run.validate.summary import with_report
from marianne_core.run.validate.validator import Validator

_LONG = 100_000
"""Characters from which an answer is written in a thread: a shorter one takes less than that."""


def as_ordered(attempt: Playing, used: Outcome | None = None) -> Outcome:
    """The outcome of an attempt that was ended on order; `used` tells what it had used by then."""
    assert attempt.ended_as is not None
    code = "E001" if attempt.ended_as is Ended.TIMEOUT else None
    outcome = Outcome(attempt.ended_as, code=code, reason=attempt.ended_why)
    if used is None:
        return outcome
    return replace(
        outcome,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cost_usd=used.cost_usd,
    )


class Teller(Protocol):
    """What is told to the engine on the way."""

    def note(self, attempt: Playing, event: str, **data: object) -> None:
        """Something a person may want to know, for the event journal."""
        ...

    def disk_full(self, folder: Path, reason: str) -> None:
        """The disk of this folder has no room."""
        ...


class Conclusion:
    """Concludes attempts; one serves all runs of a conductor."""

    def __init__(
        self,
        log: Teller,
        *,
        clock: Clock,
        ensemble: Ensemble,
        validator: Validator,
        strays: Strays,
        endings: Endings,
        readings: Readings,
        environ: Mapping[str, str],
    ) -> None:
        """`environ` is what commands of validations inherit."""
        self._log = log
        self._clock = clock
        self._ensemble = ensemble
        self._validator = validator
        self._strays = strays
        self._endings = endings
        self._readings = readings
        self._environ = environ

    async def reach(self, attempt: Playing) -> Outcome:
        """End what is left of the attempt, read its result, validate what it made."""
        attempt.shim_alive = False
        attempt.concluding = True
        self._readings.end(attempt)
        # One ending at a time: a second TERM makes many programs give up their orderly end.
        await self._endings.over(attempt)
        attempt.doing = ""
        end = await with_means(attempt, "its result cannot be read", lambda: self._settled(attempt))
        attempt.doing = ""
        if attempt.ended_as is not None:
            return await self._ordered(attempt, end)
        if end.exit_status is None:
            return outcome_of(end, None)
        if end.launch_failure and end.exit_status == NO_STATUS_FILE:
            # The shim says so before it starts the instrument.
            folder = attempt.run.run_dir
            self._log.disk_full(folder, f"{end.launch_failure}: is the disk of {folder} full?")
            return Outcome(Ended.NEVER_RAN, reason=f"not started: {end.launch_failure}")
        if end.launch_failure and (interpreter := missing_interpreter(attempt.program)):
            words = f"{attempt.program}: its interpreter {interpreter!r} does not exist"
            return outcome_of(replace(end, launch_failure=words), None)
        result = await self._read(attempt, end.exit_status)
        attempt.outputs = (attempt.files.name("out"),)
        if result.text is not None:
            await self._keep_answer(attempt, result.text)
        for warning in result.warnings:
            self._log.note(attempt, "sheet.warning", reason=warning)
        outcome = with_limit(outcome_of(end, result), result, self._clock.wall())
        if outcome.ended is not Ended.OK:
            folder = attempt.run.run_dir
            return outcome if has_room(folder) else self._without_room(folder, outcome)
        try:
            return await self._validated(attempt, outcome)
        except CutShort:
            return as_ordered(attempt, outcome)

    async def _ordered(self, attempt: Playing, end: AttemptEnd) -> Outcome:
        """The outcome of an attempt whose processes were ended on order: what it used counts."""
        result = None
        if end.exit_status is not None and not end.launch_failure:
            result = await self._read(attempt, end.exit_status)
        timeout = attempt.run.plan.sheets[attempt.num - 1].timeout
        outcome = outcome_of(end, result, timed_out_after=timeout)
        outcome = with_limit(outcome, result, self._clock.wall())
        return outcome if attempt.ended_as is Ended.TIMEOUT else as_ordered(attempt, outcome)

    async def _read(self, attempt: Playing, status: int) -> InstrumentResult:
        """What the attempt's output says."""
        reader = self._ensemble.reader(attempt.run.plan.sheets[attempt.num - 1].instrument)
        out, err = attempt.files.name("out"), attempt.files.name("err")

        async def read() -> InstrumentResult:
            await self._readings.to_the_end(attempt)
            return await reader.read(status, out, err, attempt.progress)

        return await with_means(attempt, "its result cannot be read", read)

    def _without_room(self, folder: Path, outcome: Outcome) -> Outcome:
        """It could not write what it had to say: nobody knows what would have become of it."""
        full = f"the disk of {folder} is full"
        self._log.disk_full(folder, full)
        reason = f"{full}: what it wrote is lost; {outcome.reason}"
        return replace(outcome, ended=Ended.LOST, code="E403", reason=reason)

    async def _settled(self, attempt: Playing) -> AttemptEnd:
        """How the shim ended, once nothing of it is left."""
        end = read_end(attempt.files, attempt.token, attempt.waited)
        await self._strays.settle(attempt, group_known=end.exit_status is not None)
        return end

    async def _keep_answer(self, attempt: Playing, text: str) -> None:
        """Store what the instrument answered, taken out of its events and without credentials: other
        sheets are told this.

        Where it cannot be stored they are told the whole output; the run counts all the same.
        """
        path = attempt.files.name("txt")
        try:
            await with_means(attempt, "its answer cannot be stored", lambda: _write(path, text))
            attempt.outputs = (*attempt.outputs, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(path)  # half an answer is none
            reason = f"its answer could not be stored: {words_of(error)}"
            self._log.note(attempt, "sheet.warning", reason=reason)
            if shortage_of(error) is Shortage.ROOM:
                self._log.disk_full(attempt.run.run_dir, reason)

    async def _validated(self, attempt: Playing, outcome: Outcome) -> Outcome:
        run = attempt.run
        rules = rules_for(run.plan, attempt.num)
        if not rules:
            return outcome
        attempt.helped = True
        attempt.doing = "validating"
        attempt.report = await cut_short(
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


async def _write(path: str, text: str) -> None:
    if len(text) > _LONG:
        await asyncio.to_thread(_write_at_once, path, text)
    else:
        _write_at_once(path, text)


def _write_at_once(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(redact(text))
