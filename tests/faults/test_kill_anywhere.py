"""Fifty kills of the conductor: every sheet runs once, and nothing is left."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_FILE = Path(__file__).parent / "kill_anywhere.py"
_SPEC = importlib.util.spec_from_file_location("kill_anywhere", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
kill_anywhere = importlib.util.module_from_spec(_SPEC)
sys.modules["kill_anywhere"] = kill_anywhere
_SPEC.loader.exec_module(kill_anywhere)

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.mark.parametrize("seed", range(5))
def test_no_sheet_is_lost_or_run_twice(seed: int, tmp_path: Path) -> None:
    tally = kill_anywhere.Tally()
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert kill_anywhere.play_round(100 * seed + number, folder, tally, 10) == []
        if tally.kills >= 10:
            break
    assert tally.kills >= 10
    assert tally.with_living_shims * 3 >= tally.kills


def test_no_sheet_of_a_chain_is_lost_or_run_twice(tmp_path: Path) -> None:
    """The shim of the next sheet often waits when the conductor is killed."""
    tally = kill_anywhere.Tally()
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert kill_anywhere.play_round(7000 + number, folder, tally, 15, at_once=1) == []
        if tally.kills >= 15:
            break
    assert tally.kills >= 15
