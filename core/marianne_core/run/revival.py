"""Bringing stored runs back into the engine: all unfinished ones at the start, others when asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.profiles import Profiles
from marianne_core.decide import messages
from marianne_core.model.clock import Clock
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.model.waits import WaitReason
from marianne_core.remember import changes
from marianne_core.remember.changes import Sync
from marianne_core.remember.home import Home
from marianne_core.remember.journal import Journal
from marianne_core.remember.rows import AttemptRow, RunRow
from marianne_core.run import restore
from marianne_core.run.active import ActiveRun
from marianne_core.run.engine import Engine
from marianne_core.run.recovery import Finding, never_ran
from marianne_core.run.submission import policy_of, tasks_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What every part of one conductor works with."""

    home: Home
    profiles: Profiles
    settings: DaemonConfig
    clock: Clock


class Revival:
    """Recovery (design, section 4): the same path after a crash, a restart and a retry."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        shared: Shared,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._home = shared.home
        self._settings = shared.settings
        self._clock = shared.clock
        self._how: dict[str, Any] = {
            "profiles": shared.profiles,
            "thinking_method": shared.settings.default_thinking_method,
            "runs_dir": shared.home.runs,
            "clock": shared.clock,
        }

    async def recover(self) -> None:
        """Take up every run that is not over, with its open attempts. Nothing starts before all are."""
        self._engine.hold(WaitReason.DRAINING)
        found = await asyncio.to_thread(restore.read_unfinished, self._home, **self._how)
        restored = [each for each in found if isinstance(each, restore.RestoredRun)]
        findings = await asyncio.to_thread(restore.examine_attempts, restored)
        for each in found:
            if isinstance(each, restore.RestoredRun):
                self._bring_back(each, findings)
            else:
                self._set_aside(each)
        self._engine.release(WaitReason.DRAINING)

    async def load(self, row: RunRow) -> ActiveRun:
        """The run; one that is over, or was set aside, is loaded so that it can be opened again."""
        if row.run_id in self._engine.runs:
            return self._engine.runs[row.run_id]
        restored = await asyncio.to_thread(restore.read_run, self._home, row, **self._how)
        findings = await asyncio.to_thread(restore.examine_attempts, [restored])
        if row.run_id not in self._engine.runs:
            self._bring_back(restored, findings)
        return self._engine.runs[row.run_id]

    def _bring_back(self, restored: restore.RestoredRun, findings: Mapping[str, Finding]) -> None:
        """Put a stored run into the engine, and go on with its open attempts."""
        run, row = restored.run, restored.row
        for attempt_row in restored.unused:
            self._journal.add([self._never_ran(run.run_id, attempt_row)], sync=Sync.LAZY)
        open_attempts = []
        for attempt_row in restored.open_attempts:
            if never_ran(findings[attempt_row.token]):
                restored.never_ran(attempt_row)
                self._journal.add([self._never_ran(run.run_id, attempt_row)], sync=Sync.LAZY)
            else:
                restored.started(attempt_row)
                open_attempts.append(attempt_row)
        start = restored.options.get("start_sheet")
        message = messages.RunAdded(
            run.run_id,
            run.job_id,
            policy_of(run.plan.config, self._settings),
            tasks_of(run.plan),
            restored=restored.records,
            start_sheet=start if isinstance(start, int) else None,
            paused_by=row.paused_by,
            elapsed=row.elapsed,
            ended=row.status if row.status.terminal else None,
        )
        self._engine.add(run, message)
        for num in restored.corrected:
            self._engine.correct(run, num, restored.records[num])
        for attempt_row in open_attempts:
            finding = findings[attempt_row.token]
            attempt, part = restore.take_up(restored, attempt_row, finding, self._engine.musician)
            self._engine.take_up(attempt, part, finding)
        if row.status is JobStatus.CANCELLING:
            self._engine.apply(messages.CancelRun(run.run_id, row.reason))

    def _never_ran(self, run_id: int, row: AttemptRow) -> changes.AttemptFinished:
        outcome = Outcome(Ended.NEVER_RAN, reason="the conductor ended before it was started")
        return changes.AttemptFinished(
            run_id, row.num, row.attempt, at=self._clock.wall(), outcome=outcome
        )

    def _set_aside(self, broken: restore.NotRestored) -> None:
        """A run that cannot be planned waits for a person: its profile may come back."""
        row, reason = broken.row, f"cannot be taken up: {broken.error}"
        saved = changes.RunSaved(
            row.run_id,
            JobStatus.PAUSED,
            at=self._clock.wall(),
            reason=reason,
            paused_by="recovery",
            elapsed=row.elapsed,
        )
        sheets = [
            changes.SheetSaved(
                row.run_id,
                sheet.num,
                SheetStatus.PENDING,
                at=saved.at,
                reason="it ended, or never began; its run goes on from there when it can be taken up",
                attempts=sheet.attempts,
                retries_used=sheet.retries_used,
                completions_used=sheet.completions_used,
                lost_in_row=sheet.lost_in_row,
                mode=sheet.mode,
            )
            for sheet in broken.ended
        ]
        self._journal.add([saved, *sheets], sync=Sync.LAZY)
        _log.warning(
            "recovery.run_set_aside",
            extra={"job_id": row.job_id, "run": row.run, "reason": reason},
        )
