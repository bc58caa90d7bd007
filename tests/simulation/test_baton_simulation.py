"""The baton against thousands of random scores with random outcomes; every step is checked."""

from __future__ import annotations

import pytest

from tests.simulation.world import World


def simulate(seeds: range, *, trouble: float, commands: float) -> None:
    for seed in seeds:
        world = World(seed, trouble=trouble, commands=commands)
        try:
            world.run()
        except Exception as error:
            last = "\n".join(world.log[-40:])
            pytest.fail(
                f"seed {seed}, trouble {trouble}, commands {commands}: {error!r}\n{last}",
                pytrace=True,
            )


@pytest.mark.parametrize("block", range(8))
def test_outcomes_of_every_kind(block: int) -> None:
    simulate(range(block * 120, block * 120 + 120), trouble=0.4, commands=0.0)


@pytest.mark.parametrize("block", range(8))
def test_people_restarts_and_limits_interfere(block: int) -> None:
    simulate(range(10_000 + block * 120, 10_000 + block * 120 + 120), trouble=0.3, commands=0.15)


def test_a_quiet_day_completes() -> None:
    for seed in range(100):
        world = World(seed, trouble=0.0, commands=0.0)
        world.run()
        timed = {i for i, b in world.books.items() if b.added.policy.job_timeout is not None}
        for run_id, book in world.books.items():
            killed = any(a.timeout < 100 for a in book.tasks.values())
            assert run_id in timed or killed or book.status == "completed", seed
