"""What the baton knows of one run: its sheets' records, its living attempts, its status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from marianne_core.decide.blocks import blocks_of
from marianne_core.decide.messages import RunAdded, SheetRecord
from marianne_core.decide.records import Records
from marianne_core.model.outcome import Ended
from marianne_core.model.states import JobStatus, SheetStatus

_TERMINAL = tuple(status for status in SheetStatus if status.terminal)
_COUNTING = frozenset({JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING})


@dataclass(slots=True)
class Living:
    """An attempt that holds a slot."""

    deadline: float | None = None
    """When it is ended; None until the engine says that it started."""
    killed: Ended | None = None
    """What was ordered to be its end."""
    launched: float = 0.0
    """When it was; 0 = under an earlier conductor."""


@dataclass(frozen=True, slots=True)
class Closing:
    """Nothing new starts in this run, and why."""

    reason: str
    final: JobStatus | None
    """Status at the end; None = as its sheets say (fail_fast)."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it stands, for clients."""

    run_id: int
    job_id: str
    status: JobStatus
    reason: str
    paused_by: str | None
    total: int
    completed: int
    failed: int
    skipped: int
    """Cleanly skipped and blocked ones together."""
    blocked: int
    """Those of the skipped that something else's failure stopped."""
    cancelled: int
    running: int
    """Living attempts."""
    elapsed: float
    """Seconds that count against the job's timeout."""
    counting: bool
    """They go on."""
    final: JobStatus | None
    """What it will be when its living attempts have ended, while it is being ended; else None."""


class Run:
    """One run. Only the baton changes it; every change of a sheet goes through `put` or `put_all`."""

    def __init__(self, added: RunAdded) -> None:
        self.run_id = added.run_id
        self.job_id = added.job_id
        self.policy = added.policy
        self.graph = added.graph
        """Made beforehand, and not registered with the scheduler yet."""
        self.tasks = (
            {task.num: task for task in added.tasks} if added.graph is None else added.graph.tasks
        )
        restored = added.restored
        if not isinstance(restored, Records):
            sheets = blocks_of(self.tasks) if added.graph is None else added.graph.sheets
            restored = Records(sheets, restored)
        self.records = restored
        """To be changed through `put` and `put_all` alone."""
        self.status = JobStatus.QUEUED
        self.reason = ""
        self.paused_by = added.paused_by
        self.last_start = added.last_start
        """When a sheet started last under an earlier conductor."""
        self.last_end = added.last_end
        """When one ended last under it."""
        self.closing: Closing | None = None
        self.living: dict[int, Living] = {}
        self.registered = False
        """The scheduler knows it."""
        self.impossible = False
        """Its sheets wait for each other: it can never run."""
        self.ends_at: float | None = None
        """When the job's timeout strikes, while its time is counted."""
        self._spent = added.elapsed
        self._since: float | None = None
        for num, record in self.records.unsettled():
            if record.alive:
                self.living[num] = Living()

    # --- sheets ---------------------------------------------------------------------------------

    def record(self, num: int) -> SheetRecord:
        """Raises KeyError when the run has no such sheet."""
        return self.records[num]

    def put(self, num: int, record: SheetRecord) -> None:
        """Replace a sheet's record."""
        old = self.records.put(num, record)
        if not record.alive:
            self.living.pop(num, None)
        elif num not in self.living or old.attempt != record.attempt:
            self.living[num] = Living()

    def put_all(self, blocks: Iterable[range], record: SheetRecord) -> None:
        """Replace the records of sheets without one of their own."""
        for block in blocks:
            self.records.set_all(block, record)

    @property
    def rest(self) -> int:
        """Sheets that are not over."""
        tally = self.records.tally
        return self.records.total - sum(tally[status] for status in _TERMINAL)

    @property
    def clean(self) -> bool:
        """Every sheet is completed, or skipped because the score said so."""
        tally = self.records.tally
        done = tally[SheetStatus.COMPLETED] + tally[SheetStatus.SKIPPED] - self.records.blocked
        return done == self.records.total

    # --- status and time ------------------------------------------------------------------------

    @property
    def counting(self) -> bool:
        """Its time counts against the job's timeout."""
        return self._since is not None

    @property
    def holds_slot(self) -> bool:
        """It takes one of the conductor's job slots; a paused run does not."""
        return self.status in _COUNTING

    def enter(self, status: JobStatus, reason: str, now: float) -> None:
        """Take a status; the time against the job's timeout runs while it works."""
        self.status = status
        self.reason = reason
        self.count(self.holds_slot, now)

    def count(self, counts: bool, now: float) -> None:
        """Let the time against the job's timeout run from now on, or stand still."""
        if self._since is not None:
            self._spent += now - self._since
        self._since = now if counts else None
        timeout = self.policy.job_timeout
        if self._since is None or timeout is None:
            self.ends_at = None
        else:
            self.ends_at = now + timeout - self._spent

    def begin_again(self) -> None:
        """The run is opened again after its end: a new measure of time, nothing closing."""
        self._spent = 0.0
        self.last_start = self.last_end = None
        self.closing = None
        self.paused_by = None

    def elapsed(self, now: float) -> float:
        """Seconds that count against the job's timeout."""
        return self._spent + (0.0 if self._since is None else now - self._since)

    def view(self, now: float) -> RunView:
        """A picture for clients."""
        tally, over = self.records.tally, self.status.terminal
        return RunView(
            run_id=self.run_id,
            job_id=self.job_id,
            status=self.status,
            reason=self.reason,
            paused_by=self.paused_by,
            total=self.records.total,
            completed=tally[SheetStatus.COMPLETED],
            failed=tally[SheetStatus.FAILED],
            skipped=tally[SheetStatus.SKIPPED],
            blocked=self.records.blocked,
            cancelled=tally[SheetStatus.CANCELLED],
            running=len(self.living),
            elapsed=self.elapsed(now),
            counting=self.counting,
            final=None if over or self.closing is None else self.closing.final,
        )
