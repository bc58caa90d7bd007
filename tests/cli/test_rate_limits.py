"""Rate limits as a person meets them: told, shown with and without a conductor, and lifted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from marianne_core.remember.home import Home
from marianne_core.remember.lock import StateLock

from .conftest import Mzt
from .gates import sheet_statuses, started, until

PROFILE = """\
name: singer
display_name: Singer
kind: cli
cli:
  command: {executable: "PROGRAM"}
  errors: {rate_limit_patterns: [rate limit]}
"""
PROGRAM = """\
#!/bin/sh
[ -e answered ] && exit 0
touch answered
echo 'rate limit: try again in 3 hours' >&2
exit 1
"""
SCORE = """\
name: song
workspace: work
instrument: singer
sheet: {size: 1, total_items: 1}
prompt: {template: sing}
"""


@pytest.fixture
def score(tmp_path: Path) -> str:
    """A score whose instrument is used up the first time it is asked."""
    program = tmp_path / "singer"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    profiles = tmp_path / ".marianne" / "instruments"
    profiles.mkdir(parents=True)
    (profiles / "singer.yaml").write_text(PROFILE.replace("PROGRAM", str(program)))
    (tmp_path / "song.yaml").write_text(SCORE)
    return "song.yaml"


def _parked(tmp_path: Path) -> None:
    until(lambda: sheet_statuses(tmp_path, "song") == ["waiting"])


def test_a_limit_is_told_shown_and_lifted(tmp_path: Path, mzt_here: Mzt, score: str) -> None:
    with started(tmp_path, "run", score) as host:
        _parked(tmp_path)
        shown = mzt_here("status", "song").stdout
        assert re.search(r"waiting .* rate limit of singer: parked until .*\d\d:\d\d", shown), shown
        told = mzt_here("status").stdout
        assert "rate limit of singer: parked until" in told
        (limit,) = json.loads(mzt_here("status", "--json").stdout)["rate_limits"]
        assert (limit["instrument"], limit["model"]) == ("singer", None)
        assert (
            mzt_here("clear-rate-limits", "-i", "harp").stdout == "there is no rate limit of harp\n"
        )
        assert mzt_here("clear-rate-limits", "-i", "singer").stdout == "lifted 1 rate limit\n"
        assert host.wait(timeout=20) == 0
        assert host.stdout is not None
        lines = host.stdout.read()
    assert re.search(r"rate limit active · singer · parked until .*: .*try again in 3 hours", lines)
    assert "rate limit cleared · singer" in lines
    assert json.loads(mzt_here("status", "--json").stdout)["rate_limits"] == []


def test_it_outlives_its_conductor_and_can_be_lifted_without_one(
    tmp_path: Path, mzt_here: Mzt, score: str
) -> None:
    with started(tmp_path, "run", score, "-q") as host:
        _parked(tmp_path)
        host.kill()
    until(lambda: StateLock(Home(tmp_path / "state").lock).holder() is None)
    assert "rate limit of singer: parked until" in mzt_here("status", "song").stdout
    lifted = mzt_here("clear-rate-limits", "--json")
    assert json.loads(lifted.stdout) == {"cleared": 1, "instrument": None}
    assert mzt_here("clear-rate-limits").stdout == "there is no rate limit\n"
    assert "parked until" not in mzt_here("status", "song").stdout
    assert mzt_here("cancel", "song").returncode == 0


def test_where_nothing_ever_ran(mzt_here: Mzt) -> None:
    assert mzt_here("clear-rate-limits").stdout == "there is no rate limit\n"
