"""Random scores, policies and outcomes, from a generator that the caller seeded."""

from __future__ import annotations

from random import Random

from marianne_core.decide.messages import (
    RunPolicy,
    SheetTask,
)
from marianne_core.model.outcome import Ended, Limit, Outcome

INSTRUMENTS = (("cli", None, True), ("claude-code", None, False), ("claude-code", "opus", False))


def random_tasks(rng: Random) -> list[SheetTask]:
    """Stages of one or several sheets that wait for blocks of earlier sheets, whole or in part."""
    tasks: list[SheetTask] = []
    stages: list[range] = []
    for _ in range(rng.randint(1, 6)):
        first = len(tasks) + 1
        stage = range(first, first + rng.choice((1, 1, 2, 3, 5)))
        instrument, model, raw = rng.choice(INSTRUMENTS)
        earlier = [s for s in stages if rng.random() < 0.5]
        if earlier and rng.random() < 0.2:  # a block that is not a stage
            low = rng.randint(1, first - 1)
            earlier.append(range(low, rng.randint(low + 1, first)))
        shared = tuple(earlier)
        for i, num in enumerate(stage):
            deps = shared
            if rng.random() < 0.3:  # matched by instance
                deps = tuple(range(s[i % len(s)], s[i % len(s)] + 1) for s in earlier)
            timeout = rng.choice((5.0, 60.0))
            tasks.append(SheetTask(num, deps, instrument, model, timeout, raw))
        stages.append(stage)
    return tasks


def random_policy(rng: Random) -> RunPolicy:
    parallel = rng.random() < 0.7
    return RunPolicy(
        max_retries=rng.choice((0, 1, 3)),
        max_waits=rng.choice((1, 24)),
        limit_wait=rng.choice((5.0, 100.0)),
        base_delay=rng.choice((0.0, 1.0, 10.0)),
        max_completion_attempts=rng.choice((0, 2)),
        max_concurrent=rng.randint(2, 5) if parallel else 1,
        fail_fast=parallel and rng.random() < 0.3,
        stagger=rng.choice((0.0, 0.0, 0.5)),
        pause_between=rng.choice((0.0, 0.0, 3.0)),
        job_timeout=rng.choice((None, None, 200.0)),
        priority=rng.randint(1, 10),
    )


def random_outcome(rng: Random, trouble: float) -> Outcome:
    if rng.random() >= trouble:
        return Outcome(Ended.OK)
    return rng.choice(
        (
            Outcome(Ended.OK, pass_rate=75.0),
            Outcome(Ended.OK, pass_rate=25.0),
            Outcome(Ended.OK, pass_rate=0.0),
            Outcome(Ended.FAILED, exit_code=1),
            Outcome(Ended.FAILED, retriable=False, code="E505", reason="not found"),
            Outcome(Ended.FAILED, min_delay=30.0, code="E101"),
            Outcome(Ended.FAILED, code="E102", limit=Limit(rng.choice((0.0, 7.0, None)))),
            Outcome(Ended.TIMEOUT, code="E102", limit=Limit(20.0, by_clock=True)),
            Outcome(Ended.SKIPPED, reason="skip_when"),
            Outcome(Ended.LOST),
            Outcome(Ended.NEVER_RAN),
            Outcome(Ended.CANCELLED, reason="ended by hand"),
        )
    )
