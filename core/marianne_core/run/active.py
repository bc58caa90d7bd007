"""What the engine holds of a run and of each attempt that is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from marianne_core.decide.blocks import Spans
from marianne_core.decide.messages import SheetChanged
from marianne_core.model.outcome import Ended, Outcome, ValidationReport
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.plan.sheets import Plan
from marianne_core.run.attempt_files import AttemptFiles
from marianne_core.run.instrument.progress import Progress
from marianne_core.run.validate.baseline import EMPTY, Baseline


class LastAttempt(NamedTuple):
    """What a `skip_when` of another sheet may ask about a sheet's last attempt."""

    attempt: int
    exit_code: int | None
    pass_rate: float


@dataclass(slots=True)
class ActiveRun:
    """A run that the conductor works on, or loaded to be opened again."""

    run_id: int
    """Unique over all jobs."""
    job_id: str
    number: int
    """Number within the job, from 1."""
    plan: Plan
    run_dir: Path
    """Holds the files of all attempts."""
    status: JobStatus = JobStatus.QUEUED
    reason: str = ""
    winners: dict[int, int] = field(default_factory=dict)
    """Sheet number -> the attempt whose output counts, for completed sheets."""
    reports: dict[int, ValidationReport] = field(default_factory=dict)
    """Sheet number -> what its last attempt's validations said, while another attempt may follow."""

    lasts: dict[int, LastAttempt] = field(default_factory=dict)
    """Kept only where the score has a `skip_when`."""
    asked: dict[int, SheetChanged] = field(default_factory=dict)
    """Sheets of which it is being asked whether they are skipped, with the change that is announced
    once they really start."""
    ending: tuple[int, Outcome] | None = None
    """The sheet and outcome that is being reported: details for the events that follow from it."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the run is over."""
    _settled: Spans[SheetStatus] = field(init=False)
    """Where each sheet stands, for cross-sheet context and conditions: terminal, or pending."""
    _lock: Lock = field(init=False, default_factory=Lock)
    """Prompts that may take long are made in threads, which ask where sheets stand."""

    def __post_init__(self) -> None:
        sheets = range(1, len(self.plan.sheets) + 1)
        self._settled = Spans([sheets] if sheets else [], SheetStatus.PENDING)

    def remember(self, num: int, status: SheetStatus, attempt: int) -> None:
        """Take note of a sheet's new status, for other sheets' templates and conditions."""
        known = status if status.terminal else SheetStatus.PENDING
        with self._lock:
            if self._settled[num] is not known:
                self._settled.set(range(num, num + 1), known)
        if status.terminal:
            self.reports.pop(num, None)
        if status is SheetStatus.COMPLETED:
            self.winners[num] = attempt
        else:
            self.winners.pop(num, None)

    def remember_all(self, blocks: Sequence[range], status: SheetStatus) -> None:
        """Like `remember`, for many sheets that were never attempted."""
        known = status if status.terminal else SheetStatus.PENDING
        with self._lock:
            for block in blocks:
                self._settled.set(block, known)

    def stdout_of(self, num: int) -> Path | None:
        """The whole stored output of a completed sheet (its answer, where one was parsed), or None."""
        attempt = self.winners.get(num)
        if not attempt:
            return None
        files = AttemptFiles(self.run_dir, num, attempt)
        answer = Path(files.name("txt"))
        return answer if answer.exists() else files.stdout

    def status_of(self, num: int) -> SheetStatus:
        """Where a sheet stands, as far as other sheets' templates may know."""
        with self._lock:
            return self._settled[num]


@dataclass(slots=True)
class Playing:
    """One attempt, from its launch order until its end is reported."""

    run: ActiveRun
    num: int
    number: int
    """Number of the attempt within its sheet, from 1."""
    mode: AttemptMode
    token: str
    first_try: bool = True
    """Nothing of this sheet was tried yet: `skip_when` is asked."""
    files: AttemptFiles = field(init=False)
    pid: int | None = None
    """Of the shim, once spawned."""
    waited: int | None = None
    """The shim's own end as waitpid gave it; None for an adopted one."""
    shim_alive: bool = False
    program: str = ""
    """What it runs, absolute; "" for an adopted one."""
    argv_digest: str | None = None
    """Names its command line in the store."""
    prompt_hash: str | None = None
    intended: bool = False
    """Its row is in the store."""
    deadline: float = 0.0
    """In seconds of the boot clock."""
    started_at: float = 0.0
    """Wall clock, when it was spawned."""
    baseline: Baseline = EMPTY
    """Files of `file_modified` rules as they were before."""
    report: ValidationReport | None = None
    outputs: tuple[str, ...] = ()
    """Files with what it gave, absolute: on the disk before its result is."""
    ended_as: Ended | None = None
    """Set when the baton ordered its end."""
    ended_why: str = ""
    concluding: bool = False
    """The instrument is done: what is left is to end its leftovers, to read and to validate."""
    helped: bool = False
    """Helper commands (skip command, validations) may have run beside the instrument."""
    progress: Progress | None = None
    """What its events say so far, where it prints any."""
    doing: str = ""
    """For a person: what goes on where it is not plainly the instrument at work, e.g. "validating"."""
    task: asyncio.Task[None] | None = None
    """Plays the attempt."""
    check: asyncio.Task[Any] | None = None
    """The part of the attempt that may be cut short when it is to end: skip command, validations."""

    @property
    def held_by_stranger(self) -> bool:
        """Its lock is held by a process this conductor cannot see: waited for, never signalled."""
        return self.shim_alive and self.pid is None

    def __post_init__(self) -> None:
        self.files = AttemptFiles(self.run.run_dir, self.num, self.number)
