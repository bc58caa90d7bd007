"""A pretended conductor: random scores, random outcomes, and a check of every promise at each step.

The world carries out the baton's effects in its own clumsy way, keeps its own books about what runs,
and compares. Everything comes from one seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from marianne_core.decide.baton import Baton
from marianne_core.decide.messages import (
    PRISTINE,
    AttemptEnded,
    AttemptStarted,
    CancelRun,
    Effect,
    HoldDispatch,
    InstrumentParked,
    Kill,
    Launch,
    Limits,
    LimitsChanged,
    Message,
    ParkInstrument,
    PauseRun,
    ResumeRun,
    RetryRun,
    RunAdded,
    RunChanged,
    RunForgotten,
    SheetChanged,
    SheetRecord,
    SheetsChanged,
    SheetTask,
    Tick,
    UnparkInstrument,
)
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.model.waits import Wait, WaitReason
from tests.simulation.scores import random_outcome, random_policy, random_tasks

COMMANDS = ("pause", "resume", "cancel", "retry", "retry_one", "forget")


@dataclass
class Attempt:
    """A process that the world pretends to run."""

    number: int
    ends_at: float
    deadline: float | None = None
    killed: Kill | None = None


@dataclass
class Book:
    """What the world knows about one run, from effects alone."""

    added: RunAdded
    tasks: dict[int, SheetTask]
    status: JobStatus | None = None
    records: dict[int, SheetRecord] = field(default_factory=dict)
    alive: dict[int, Attempt] = field(default_factory=dict)
    highest: dict[int, int] = field(default_factory=dict)
    paused_by: str | None = None
    final: JobStatus | None = None
    """What it is to be, while it is being ended."""
    opened: bool = False
    """A command allowed it to leave a terminal status in this step."""

    def record(self, num: int) -> SheetRecord:
        return self.records.get(num, PRISTINE)

    def released(self, num: int) -> bool:
        record = self.record(num)
        return record.status is SheetStatus.COMPLETED or (
            record.status is SheetStatus.SKIPPED and not record.blocked
        )


class World:
    """One simulated day. Call `run`; it raises AssertionError when a promise is broken."""

    def __init__(self, seed: int, *, trouble: float = 0.4, commands: float = 0.05) -> None:
        self.rng = Random(seed)
        self.trouble = trouble
        self.commands = commands
        self.seed = seed
        self.now = self.rng.uniform(0, 1e6)
        self.limits = self._random_limits()
        self.baton = Baton(self.limits, seed)
        self.books: dict[int, Book] = {}
        self.hold: Wait | None = None
        self.parked: dict[tuple[str, str | None], float | None] = {}
        self.log: list[str] = []

    # --- the day --------------------------------------------------------------------------------

    def run(self) -> None:
        for run_id in range(1, self.rng.randint(1, 4) + 1):
            tasks = random_tasks(self.rng)
            start = self.rng.choice((None, None, None, self.rng.randint(1, len(tasks))))
            added = RunAdded(
                run_id, f"job-{run_id}", random_policy(self.rng), tasks, start_sheet=start
            )
            self.books[run_id] = Book(added, {t.num: t for t in tasks})
            self.send(added)
            self._step_some(self.rng.randint(0, 5))
        self._step_some(self.rng.randint(0, 150))
        self._finish()

    def _step_some(self, steps: int) -> None:
        for _ in range(steps):
            if self.rng.random() < self.commands:
                self._command()
            elif not self._pass_time():
                break

    def _finish(self) -> None:
        """Remove every obstacle; then all runs must come to their end by themselves."""
        self.commands = 0.0
        self.trouble = min(self.trouble, 0.4)
        self.hold = None
        self.send(HoldDispatch(None))
        self.parked.clear()
        self.send(UnparkInstrument())
        for _ in range(5000):
            for run_id, book in self.books.items():
                if book.status is JobStatus.PAUSED:
                    self.send(ResumeRun(run_id))
            if all(b.status is not None and b.status.terminal for b in self.books.values()):
                return
            assert self._pass_time(), "nothing will ever happen again"
        raise AssertionError("it does not come to an end")

    def _pass_time(self) -> bool:
        """Go to the next thing that happens; False when nothing will."""
        wake = self.baton.next_wake()
        ends = [
            (attempt.ends_at, run_id, num)
            for run_id, book in self.books.items()
            for num, attempt in book.alive.items()
        ]
        first = min(ends, default=None)
        if first is not None and (wake is None or first[0] <= wake):
            self.now = max(self.now, first[0])
            self._end_attempt(first[1], first[2])
        elif wake is not None:
            assert wake > self.now, "a wake-up that is due was not taken care of"
            self.now = wake
            self.send(Tick())
        else:
            return False
        return True

    def _end_attempt(self, run_id: int, num: int, outcome: Outcome | None = None) -> None:
        book = self.books[run_id]
        attempt = book.alive.pop(num)
        if outcome is None and attempt.killed is not None:
            outcome = Outcome(attempt.killed.ended, reason=attempt.killed.reason)
            if self.rng.random() < 0.1:  # it was quicker
                outcome = Outcome(Ended.OK)
        outcome = outcome or random_outcome(self.rng, self.trouble)
        if outcome.ended is Ended.NEVER_RAN:
            book.highest[num] = attempt.number - 1  # it is given back
        self.send(AttemptEnded(run_id, num, attempt.number, outcome))
        record = book.record(num)
        assert not record.alive or num in book.alive, "it stays in progress after its end"
        if self.rng.random() < 0.1 and outcome.ended is not Ended.NEVER_RAN:  # told twice
            self.send(AttemptEnded(run_id, num, attempt.number, Outcome(Ended.FAILED)))

    # --- what people and machines do ------------------------------------------------------------

    def _random_limits(self) -> Limits:
        return Limits(
            max_concurrent_sheets=self.rng.randint(1, 8),
            max_concurrent_jobs=self.rng.randint(1, 4),
            instruments={("claude-code", "opus"): self.rng.choice((None, 1, 2))},
            default_instrument=self.rng.randint(1, 4),
        )

    def _command(self) -> None:
        kind = self.rng.choice((*COMMANDS, "hold", "limits", "park", "unpark", "restart"))
        if kind in COMMANDS:
            self._command_run(kind)
        elif kind == "hold":
            self.hold = Wait(WaitReason.DRAINING) if self.hold is None else None
            self.send(HoldDispatch(self.hold))
        elif kind == "limits":
            self.limits = self._random_limits()
            self.send(LimitsChanged(self.limits))
        elif kind == "park":
            name = self.rng.choice(("cli", "claude-code"))
            self.parked[name, None] = until = self.rng.choice((None, self.now + 50))
            self.send(ParkInstrument(name, until))
        elif kind == "unpark":
            self.parked.clear()
            self.send(UnparkInstrument())
        else:
            self._restart()

    def _command_run(self, kind: str) -> None:
        run_id = self.rng.choice(list(self.books))
        book = self.books[run_id]
        if kind == "pause":
            self.send(PauseRun(run_id, "a person"))
        elif kind == "cancel":
            self.send(CancelRun(run_id, "no longer wanted"))
        elif kind == "forget":
            if book.status is None or not book.status.terminal:
                self.send(RunForgotten(run_id))
        else:
            book.opened = True
            if kind == "resume":
                self.send(ResumeRun(run_id))
            else:
                num = self.rng.choice(list(book.tasks)) if kind == "retry_one" else None
                self.send(RetryRun(run_id, num))
            book.opened = False

    def _restart(self) -> None:
        """The conductor dies; another one takes over what the store and the processes show."""
        self.log.append(f"{self.now:.1f} restart")
        elapsed = {view.run_id: view.elapsed for view in self.baton.runs()}
        views = {view.run_id: view for view in self.baton.runs()}
        for book in self.books.values():
            for attempt in book.alive.values():
                attempt.killed = None  # the order died with the conductor; it is given again
        self.baton = Baton(self.limits, self.seed + 1)
        self.send(HoldDispatch(Wait(WaitReason.DRAINING)))
        for (name, model), until in self.parked.items():
            self.send(ParkInstrument(name, until, model))
        for run_id, book in self.books.items():
            over = book.status is not None and book.status.terminal
            self.send(
                replace(
                    book.added,
                    restored=dict(book.records),
                    paused_by=book.paused_by,
                    elapsed=elapsed[run_id],
                    ended=book.status if over else None,
                    closing=book.final,
                    reason=views[run_id].reason,
                )
            )
        for run_id, book in self.books.items():
            for num, attempt in list(book.alive.items()):
                if self.rng.random() < 0.3:
                    self._end_attempt(run_id, num, Outcome(Ended.LOST))
                elif attempt.deadline is not None:
                    self.send(AttemptStarted(run_id, num, attempt.number, attempt.deadline))
        self.send(HoldDispatch(self.hold))

    # --- effects --------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        self.log.append(f"{self.now:.1f} {str(message)[:300]}")
        effects = self.baton.handle(message, self.now)
        started: list[AttemptStarted] = []
        for effect in effects:
            self.log.append(f"    {effect}")
            self._carry_out(effect, started)
        self._check()
        for note in started:
            book = self.books[note.run_id]
            if note.num in book.alive and self.rng.random() < 0.9:
                book.alive[note.num].deadline = note.deadline
                self.send(note)

    def _carry_out(self, effect: Effect, started: list[AttemptStarted]) -> None:
        book = self.books[effect.run_id]
        if isinstance(effect, RunChanged):
            old, book.status = book.status, effect.status
            paused = effect.status in (JobStatus.PAUSING, JobStatus.PAUSED)
            view = self.baton.run(effect.run_id)
            assert view is not None
            book.paused_by = (view.paused_by or "somebody") if paused else None
            if effect.status is JobStatus.CANCELLING:
                book.final = view.final
            elif effect.status.terminal:
                assert book.final in (None, effect.status), "it ended otherwise than it was to"
                book.final = None
            assert old is None or not old.terminal or book.opened, "a terminal run moved"
            assert not effect.status.terminal or not book.alive, "a run ended under its sheets"
            return
        over = book.status is not None and book.status.terminal
        assert not over or book.opened, f"{effect} after the end of the run"
        if isinstance(effect, SheetsChanged):
            for num in (num for block in effect.blocks for num in block):
                assert not book.highest.get(num), "an attempt is forgotten"
                self._sheet_changed(book, num, effect.record)
        elif isinstance(effect, SheetChanged):
            self._sheet_changed(book, effect.num, effect.record)
        elif isinstance(effect, InstrumentParked):
            key = (effect.instrument, effect.model)
            assert book.tasks[effect.num].instrument == effect.instrument
            assert effect.until >= self.now + 1.0
            earlier = self.parked.get(key, 0.0)
            assert earlier is not None, "an end was set for what has none"
            assert earlier < effect.until, "a limit became shorter"
            self.parked[key] = effect.until
        elif isinstance(effect, Launch):
            self._launch(book, effect)
            deadline = self.now + book.tasks[effect.num].timeout
            started.append(AttemptStarted(effect.run_id, effect.num, effect.attempt, deadline))
        else:
            attempt = book.alive[effect.num]
            assert attempt.number == effect.attempt
            order = (attempt.killed.ended, effect.ended) if attempt.killed else None
            assert order in (None, (Ended.TIMEOUT, Ended.CANCELLED)), "killed twice"
            attempt.killed = effect
            attempt.ends_at = min(attempt.ends_at, self.now + self.rng.uniform(0, 5))

    def _sheet_changed(self, book: Book, num: int, record: SheetRecord) -> None:
        old = book.record(num)
        if old.status.terminal and record.status is not old.status:
            assert book.opened, "a terminal sheet moved"
        book.records[num] = record
        if book.released(num) and record.status is SheetStatus.SKIPPED:
            book.highest[num] = record.attempt  # nothing of it was started

    def _launch(self, book: Book, launch: Launch) -> None:
        num, task = launch.num, book.tasks[launch.num]
        assert num not in book.alive, "the sheet runs already"
        assert launch.attempt > book.highest.get(num, 0), "an attempt number is used twice"
        assert book.status is JobStatus.RUNNING, f"a launch in a run that is {book.status}"
        assert self.hold is None, "a launch while everything is held"
        assert all(book.released(n) for block in task.deps for n in block), "too early"
        not_before = book.record(num).not_before
        assert not_before is None or not_before <= self.now, "before its time"
        running = [(b, n) for b in self.books.values() for n in b.alive]
        assert len(running) < self.limits.max_concurrent_sheets, "too many sheets"
        assert len(book.alive) < book.added.policy.max_concurrent, "too many of one job"
        own = ("claude-code", "opus")
        alike = [
            b.tasks[n]
            for b, n in running
            if b.tasks[n].instrument == task.instrument
            and ((b.tasks[n].model == "opus") == (task.model == "opus"))
        ]
        most = self.limits.default_instrument
        if (task.instrument, task.model) == own:
            most = self.limits.instruments[own]
        if most is not None and not task.raw:
            assert len(alike) < most, "too many of one instrument"
        for until in self._parks_of(task):
            assert until is not None, "a launch on a parked instrument"
            assert until <= self.now, "a launch on a parked instrument"
        duration = self.rng.choice((0.0, 0.5, self.rng.uniform(0, 20), 100.0))
        book.alive[num] = Attempt(launch.attempt, self.now + duration)
        book.highest[num] = launch.attempt

    def _parks_of(self, task: SheetTask) -> list[float | None]:
        keys = {(task.instrument, None), (task.instrument, task.model)}
        return [until for key, until in self.parked.items() if key in keys]

    # --- promises -------------------------------------------------------------------------------

    def _check(self) -> None:
        alive = sum(len(b.alive) for b in self.books.values())
        known = {view.run_id: view for view in self.baton.runs()}
        if len(known) < len(self.books):
            return  # in the middle of taking over
        assert self.baton.scheduler.active == alive, "the slots do not match the processes"
        holding = 0
        for run_id, book in self.books.items():
            view = known[run_id]
            assert view.status is (book.status or JobStatus.QUEUED)
            assert view.running == len(book.alive)
            holding += book.status in (JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING)
            self._check_run(run_id, book)
        for run_id in known:
            if self.books[run_id].status is JobStatus.QUEUED:
                assert holding >= self.limits.max_concurrent_jobs, "a job slot stays empty"

    def _check_run(self, run_id: int, book: Book) -> None:
        statuses = [book.record(n).status for n in book.tasks]
        if book.status is not None and book.status.terminal:
            assert all(s.terminal for s in statuses), "a run ended before its sheets"
            if book.status is JobStatus.COMPLETED:
                assert all(book.released(n) for n in book.tasks)
            elif book.status is JobStatus.FAILED:
                late = book.added.policy.job_timeout is not None
                assert late or not all(book.released(n) for n in book.tasks)
            return
        assert book.alive or not all(s.terminal for s in statuses), "a run without end"
        for num in book.tasks:
            record = book.record(num)
            assert record == self.baton.record(run_id, num)
            wait = self.baton.wait_of(run_id, num, self.now)
            if num in book.alive:
                assert record.alive
                assert record.status is SheetStatus.IN_PROGRESS
                assert wait is None
            elif record.status.terminal:
                assert wait is None
            else:
                assert not record.alive
                assert wait is not None, f"sheet {num} of run {run_id} waits for nothing"
                self._check_wait(book, num, wait)

    def _check_wait(self, book: Book, num: int, wait: Wait) -> None:
        """The reason is true."""
        task = book.tasks[num]
        running = sum(len(b.alive) for b in self.books.values())
        if wait.until is not None:
            assert wait.until > self.now
            wake = self.baton.next_wake()
            assert wake is not None
            assert wake <= wait.until, "nobody will look when the wait is over"
        match wait.reason:
            case WaitReason.DEPENDENCY:
                blocker = int(wait.blocker.removeprefix("sheet "))
                assert any(blocker in block for block in task.deps)
                assert not book.released(blocker)
            case WaitReason.SLOT:
                assert running >= self.limits.max_concurrent_sheets
            case WaitReason.JOB_SLOT:
                assert len(book.alive) >= book.added.policy.max_concurrent
            case WaitReason.PAUSED:
                assert book.status in (JobStatus.PAUSED, JobStatus.PAUSING)
            case WaitReason.QUEUED:
                assert book.status in (None, JobStatus.QUEUED)
            case WaitReason.RATE_LIMIT:
                assert wait.until in self._parks_of(task)
            case WaitReason.RETRY:
                assert book.record(num).not_before == wait.until
            case WaitReason.DRAINING | WaitReason.STAGGER | WaitReason.PACING:
                pass
            case WaitReason.INSTRUMENT_SLOT:
                assert any(
                    b.tasks[n].instrument == task.instrument
                    for b in self.books.values()
                    for n in b.alive
                )
            case _:
                raise AssertionError(f"unexpected {wait}")
