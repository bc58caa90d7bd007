"""A baton with a clock, driven by hand and answering in short words."""

from __future__ import annotations

from marianne_core.decide.baton import Baton
from marianne_core.decide.messages import (
    AttemptEnded,
    InstrumentParked,
    Kill,
    Launch,
    Limits,
    RunAdded,
    RunChanged,
    RunPolicy,
    SheetChanged,
    SheetRecord,
    SheetsChanged,
    SheetTask,
    Tick,
)
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.model.waits import WaitReason

POLICY = RunPolicy(jitter=False, max_concurrent=10)
OK = Outcome(Ended.OK)
BAD = Outcome(Ended.FAILED, retriable=False, reason="broken")
DONE = SheetRecord(SheetStatus.COMPLETED, attempt=1)
ALIVE = SheetRecord(SheetStatus.IN_PROGRESS, attempt=1, alive=True)


def chain(n: int) -> list[SheetTask]:
    return [
        SheetTask(i, (range(i - 1, i),) if i > 1 else (), timeout=30.0, raw=True)
        for i in range(1, n + 1)
    ]


def wide(n: int) -> list[SheetTask]:
    return [SheetTask(i, timeout=30.0, raw=True) for i in range(1, n + 1)]


class Hall:
    """A baton with a clock; every call returns what it made the baton do, in short words."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.baton = Baton(limits, seed=1)
        self.now = 1000.0

    def send(self, message: object) -> list[str]:
        words = []
        for effect in self.baton.handle(message, self.now):  # type: ignore[arg-type]
            match effect:
                case Launch(_, num, attempt, mode):
                    words.append(f"launch {num}.{attempt} {mode}")
                case Kill(_, num, attempt, ended, _):
                    words.append(f"kill {num}.{attempt} {ended}")
                case InstrumentParked(_, _, instrument, model, until, _, _):
                    words.append(f"park {instrument} {model} for {until - self.now:g}")
                case RunChanged(_, status, _):
                    words.append(f"run {status}")
                case SheetsChanged(_, blocks, record):
                    blocks = ", ".join(f"{b.start}-{b.stop - 1}" for b in blocks)
                    words.append(f"{blocks} {record.status}")
                case SheetChanged(_, num, record, _, _):
                    if record.status is not SheetStatus.IN_PROGRESS:
                        words.append(f"{num} {record.status}")
        return words

    def add(self, tasks: list[SheetTask], run: int = 1, **more: object) -> list[str]:
        policy = more.pop("policy", POLICY)
        return self.send(RunAdded(run, f"job-{run}", policy, tasks, **more))  # type: ignore[arg-type]

    def end(self, num: int, outcome: Outcome = OK, run: int = 1) -> list[str]:
        return self.send(AttemptEnded(run, num, self.record(num, run).attempt, outcome))

    def tick(self, now: float) -> list[str]:
        self.now = now
        return self.send(Tick())

    def record(self, num: int, run: int = 1) -> SheetRecord:
        return self.baton.record(run, num)

    def status(self, run: int = 1) -> JobStatus:
        view = self.baton.run(run)
        assert view is not None
        return view.status

    def why(self, num: int, run: int = 1) -> tuple[WaitReason, float | None, str] | None:
        wait = self.baton.wait_of(run, num, self.now)
        return wait and (wait.reason, wait.until, wait.blocker)
