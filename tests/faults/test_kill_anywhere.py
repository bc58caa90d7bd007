"""Kills of the conductor at random moments: every score keeps its promise, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kill_anywhere import Tally, play_round
from tests.faults.ledger_scores import KINDS

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

_KILLS = {"plain": 10, "chain": 12, "mixed": 16}
"""78 in all."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_effect_is_lost_or_doubled(kind: str, tmp_path: Path) -> None:
    tally, kills = Tally(), _KILLS.get(kind, 8)
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        faults = play_round(kind, seed, folder, tally, kills)
        assert faults == [], f"--kind {kind} --seed {seed}"
        if tally.kills >= kills:
            break
    assert tally.kills >= kills
    if kind == "plain":
        assert tally.with_living_shims * 3 >= tally.kills
