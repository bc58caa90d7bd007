"""A run played against the baton in pretended time: what starts when, what is ended, how it ends."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from marianne_core.decide.baton import Baton
from marianne_core.decide.messages import (
    AttemptEnded,
    AttemptStarted,
    Effect,
    Kill,
    Launch,
    Message,
    RunAdded,
    RunChanged,
    SheetChanged,
    Tick,
)
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.model.states import JobStatus, SheetStatus
from marianne_core.run.submission import limits_of, policy_of
from tests.effects.world import World

FOREVER = 1e9
"""Seconds of an attempt that does not end by itself."""
OK = Outcome(Ended.OK)
BAD = Outcome(Ended.FAILED, exit_code=1)
HALF = Outcome(Ended.OK, pass_rate=50.0)


class Scene(NamedTuple):
    """Something that happened."""

    time: float
    """Seconds since the beginning."""
    run: int
    num: int
    attempt: int


@dataclass
class Drama:
    """What came of one or several runs of a score."""

    launches: list[Scene] = field(default_factory=list)
    kills: list[Scene] = field(default_factory=list)
    statuses: dict[tuple[int, int], SheetStatus] = field(default_factory=dict)
    """Last status of each (run, sheet)."""
    runs: dict[int, JobStatus] = field(default_factory=dict)
    modes: list[str] = field(default_factory=list)
    """Mode of each launch."""

    @property
    def starts(self) -> list[float]:
        """Times of all launches, in order."""
        return [round(scene.time, 6) for scene in self.launches]

    @property
    def gaps(self) -> list[float]:
        """Seconds between each two launches."""
        return [round(b - a, 6) for a, b in zip(self.starts, self.starts[1:], strict=False)]

    @property
    def at_once(self) -> int:
        """Launches at the very beginning."""
        return sum(scene.time == 0 for scene in self.launches)


Ending = Callable[[int, int], tuple[float, Outcome]]
"""Seconds an attempt (sheet, number) takes, and its outcome."""


def perform(
    world: World, play: Ending = lambda num, attempt: (1.0, OK), *, runs: Sequence[int] = (1,)
) -> Drama:
    """Play the world's score to its end, as many times at once as there are `runs`.

    The baton gets what the conductor gives it: limits and policy made from the world's files.
    """
    submission = world.submission
    baton = Baton(limits_of(world.settings, world.profiles), 1)
    timeouts = {task.num: task.timeout for task in submission.tasks}
    drama = Drama()
    coming: list[tuple[float, int, AttemptEnded]] = []
    serial = count()
    over: set[tuple[int, int, int]] = set()

    def tell(message: Message, now: float) -> None:
        for each in baton.handle(message, now):
            carry_out(each, now)

    def carry_out(each: Effect, now: float) -> None:
        match each:
            case Launch(run, num, attempt, mode):
                drama.launches.append(Scene(now, run, num, attempt))
                drama.modes.append(str(mode))
                tell(AttemptStarted(run, num, attempt, now + timeouts[num]), now)
                seconds, outcome = play(num, attempt)
                ended = AttemptEnded(run, num, attempt, outcome)
                heapq.heappush(coming, (now + seconds, next(serial), ended))
            case Kill(run, num, attempt, ended_as, reason):
                drama.kills.append(Scene(now, run, num, attempt))
                ended = AttemptEnded(run, num, attempt, Outcome(ended_as, reason=reason))
                heapq.heappush(coming, (now, next(serial), ended))
            case SheetChanged(run, num, record):
                drama.statuses[run, num] = record.status
            case RunChanged(run, status):
                drama.runs[run] = status

    policy = policy_of(submission.score.config, world.settings)
    for run in runs:
        tell(RunAdded(run, f"song-{run}", policy, submission.tasks), 0.0)
    while coming or baton.next_wake() is not None:
        due = coming[0][0] if coming else FOREVER
        wake = baton.next_wake()
        if wake is not None and wake < due:
            tell(Tick(), wake)
            continue
        now, _, ended = heapq.heappop(coming)
        scene = (ended.run_id, ended.num, ended.attempt)
        if scene not in over:  # a killed attempt was to end later by itself
            over.add(scene)
            tell(ended, now)
    return drama


def killed_at(world: World, num: int = 1) -> float:
    """Seconds after its start at which an attempt of the sheet is ended that never ends by itself."""
    drama = perform(world, lambda n, _: (FOREVER, OK) if n == num else (0.0, OK))
    (kill,) = (scene for scene in drama.kills if scene.num == num)
    start = next(scene.time for scene in drama.launches if scene.num == num)
    return round(kill.time - start, 6)
