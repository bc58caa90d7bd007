"""When sheets start, how often they are tried, and how many play at once."""

from __future__ import annotations

from marianne_core.model.outcome import Ended, Limit, Outcome
from tests.effects.drama import BAD, HALF, OK, Drama, perform
from tests.effects.probe import effect
from tests.effects.world import World


def _failing(world: World) -> Drama:
    return perform(world, lambda num, attempt: (1.0, BAD))


def _half_done(world: World) -> Drama:
    return perform(world, lambda num, attempt: (1.0, HALF))


def _limited(world: World) -> Drama:
    refused = Outcome(Ended.FAILED, code="E102", limit=Limit())
    return perform(world, lambda num, attempt: (1.0, refused))


def _first_fails(world: World) -> list[int]:
    """Sheets that were started when the first one fails."""
    drama = perform(world, lambda num, attempt: (1.0, BAD if num == 1 else OK))
    return [scene.num for scene in drama.launches]


THREE_FREE = {"total_items": 4, "dependencies": {4: [1, 2, 3]}}
"""Three sheets that wait for nothing, and a last one that waits for them."""
THREE = {"sheet": {"total_items": 3}}
STEADY = {"max_retries": 2, "base_delay_seconds": 10, "jitter": False}

PROBES = [
    effect("retry.max_retries", (0, 1), (2, 3), see=lambda world: len(_failing(world).launches)),
    effect(
        "retry.base_delay_seconds",
        (10, [11.0, 21.0]),
        (4, [5.0, 9.0]),
        see=lambda world: _failing(world).gaps,
        score={"retry": STEADY},
    ),
    effect(
        "retry.max_delay_seconds",
        (3600, [11.0, 21.0]),
        (15, [11.0, 16.0]),
        see=lambda world: _failing(world).gaps,
        score={"retry": STEADY},
    ),
    effect(
        "retry.exponential_base",
        (2, [11.0, 21.0]),
        (3, [11.0, 31.0]),
        see=lambda world: _failing(world).gaps,
        score={"retry": STEADY},
    ),
    effect(
        "retry.jitter",
        (False, False),
        (True, True),
        see=lambda world: 6.0 <= _failing(world).gaps[0] < 11.0,
        score={"retry": STEADY},
    ),
    effect(
        "retry.max_completion_attempts",
        (0, ["normal"]),
        (2, ["normal", "completion", "completion"]),
        see=lambda world: _half_done(world).modes,
    ),
    effect(
        "retry.completion_delay_seconds",
        (0, [1.0]),
        (7, [8.0]),
        see=lambda world: _half_done(world).gaps,
        score={"retry": {"max_completion_attempts": 1}},
    ),
    effect(
        "retry.completion_threshold_percent",
        (50, ["normal", "completion"]),
        (60, ["normal"]),
        see=lambda world: _half_done(world).modes,
        score={"retry": {"max_completion_attempts": 1}},
    ),
    effect("rate_limit.max_waits", (1, 2), (3, 4), see=lambda w: len(_limited(w).launches)),
    effect(
        "rate_limit.wait_minutes",
        (60, [3601.0]),
        (5, [301.0]),
        see=lambda world: _limited(world).gaps,
        score={"rate_limit": {"max_waits": 1}},
    ),
    effect(
        "parallel.enabled",
        (False, 1),
        (True, 3),
        see=lambda world: perform(world).at_once,
        score={"sheet": THREE_FREE},
    ),
    effect(
        "parallel.max_concurrent",
        (2, 2),
        (3, 3),
        see=lambda world: perform(world).at_once,
        score={"sheet": THREE_FREE, "parallel": {"enabled": True}},
    ),
    effect(
        "parallel.fail_fast",
        (True, [1]),
        (False, [1, 2, 3]),
        see=_first_fails,
        score={"sheet": THREE_FREE, "parallel": {"enabled": True, "max_concurrent": 1}},
    ),
    effect(
        "parallel.stagger_delay_ms",
        (0, [0.0, 0.0, 0.0, 1.0]),
        (250, [0.0, 0.25, 0.5, 1.5]),
        see=lambda world: perform(world).starts,
        score={"sheet": THREE_FREE, "parallel": {"enabled": True}},
    ),
    effect(
        "pause_between_sheets_seconds",
        (0, [0.0, 1.0, 2.0]),
        (5, [0.0, 6.0, 12.0]),
        see=lambda world: perform(world).starts,
        score=THREE,
    ),
]
