"""What the baton knows of one run: its sheets' records, its living attempts, its status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from marianne_core.decide.graph import SheetGraph
from marianne_core.decide.messages import PRISTINE, RunAdded, SheetRecord
from marianne_core.model.states import JobStatus, SheetStatus

_COUNTING = frozenset({JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING})


@dataclass(slots=True)
class Living:
    """An attempt that holds a slot."""

    deadline: float | None = None
    """When it is ended; None until the engine says that it started."""
    killed: bool = False
    """Its end is ordered."""


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


class Run:
    """One run. Only the baton changes it; every change of a sheet goes through `put`."""

    def __init__(self, added: RunAdded) -> None:
        self.run_id = added.run_id
        self.job_id = added.job_id
        self.policy = added.policy
        self.tasks = {task.num: task for task in added.tasks}
        self.graph: SheetGraph | None = added.graph
        """Made beforehand and not used yet."""
        self.status = JobStatus.QUEUED
        self.reason = ""
        self.paused_by = added.paused_by
        self.closing: Closing | None = None
        self.living: dict[int, Living] = {}
        self.registered = False
        """The scheduler knows it."""
        self.ends_at: float | None = None
        """When the job's timeout strikes, while its time is counted."""
        self._spent = added.elapsed
        self._since: float | None = None
        self._records: dict[int, SheetRecord] = {}
        self._tally = dict.fromkeys(SheetStatus, 0)
        self._tally[SheetStatus.PENDING] = len(self.tasks)
        self._blocked = 0

    # --- sheets ---------------------------------------------------------------------------------

    def record(self, num: int) -> SheetRecord:
        """Raises KeyError when the run has no such sheet."""
        record = self._records.get(num)
        if record is None:
            if num not in self.tasks:
                raise KeyError(f"run {self.run_id} has no sheet {num}")
            return PRISTINE
        return record

    def put(self, num: int, record: SheetRecord) -> None:
        """Replace a sheet's record."""
        old = self._records.get(num, PRISTINE)
        self._tally[old.status] -= 1
        self._tally[record.status] += 1
        self._blocked += record.blocked - old.blocked
        self._records[num] = record
        if not record.alive:
            self.living.pop(num, None)
        elif num not in self.living or old.attempt != record.attempt:
            self.living[num] = Living()

    def touched(self) -> Iterator[tuple[int, SheetRecord]]:
        """Sheets with a record of their own."""
        return iter(self._records.items())

    def unfinished(self) -> list[int]:
        """Sheets that are not over and have no living attempt."""
        records = self._records
        return [
            num
            for num in self.tasks
            if (record := records.get(num)) is None or not (record.alive or record.status.terminal)
        ]

    @property
    def rest(self) -> int:
        """Sheets that are not over."""
        return len(self.tasks) - sum(self._tally[s] for s in SheetStatus if s.terminal)

    @property
    def clean(self) -> bool:
        """Every sheet is completed, or skipped because the score said so."""
        tally = self._tally
        done = tally[SheetStatus.COMPLETED] + tally[SheetStatus.SKIPPED] - self._blocked
        return done == len(self.tasks)

    def first_failed(self) -> tuple[int, SheetRecord] | None:
        """The lowest sheet that failed or was cancelled by itself."""
        bad = (SheetStatus.FAILED, SheetStatus.CANCELLED)
        return min(((n, r) for n, r in self.touched() if r.status in bad), default=None, key=_num)

    # --- status and time ------------------------------------------------------------------------

    @property
    def holds_slot(self) -> bool:
        """It takes one of the conductor's job slots; a paused run does not."""
        return self.status in _COUNTING

    def enter(self, status: JobStatus, reason: str, now: float) -> None:
        """Take a status; the time against the job's timeout runs while it works."""
        if self._since is not None:
            self._spent += now - self._since
        self.status = status
        self.reason = reason
        self._since = now if self.holds_slot else None
        timeout = self.policy.job_timeout
        if self._since is None or timeout is None:
            self.ends_at = None
        else:
            self.ends_at = now + timeout - self._spent

    def begin_again(self) -> None:
        """The run is opened again after its end: a new measure of time, nothing closing."""
        self._spent = 0.0
        self.closing = None
        self.paused_by = None

    def elapsed(self, now: float) -> float:
        """Seconds that count against the job's timeout."""
        return self._spent + (0.0 if self._since is None else now - self._since)

    def view(self, now: float) -> RunView:
        """A picture for clients."""
        tally = self._tally
        return RunView(
            run_id=self.run_id,
            job_id=self.job_id,
            status=self.status,
            reason=self.reason,
            paused_by=self.paused_by,
            total=len(self.tasks),
            completed=tally[SheetStatus.COMPLETED],
            failed=tally[SheetStatus.FAILED],
            skipped=tally[SheetStatus.SKIPPED],
            blocked=self._blocked,
            cancelled=tally[SheetStatus.CANCELLED],
            running=len(self.living),
            elapsed=self.elapsed(now),
        )


def _num(item: tuple[int, SheetRecord]) -> int:
    return item[0]
