"""Scores of other people, and very large ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.load import Score, load_score
from marianne_core.model.problem import Severity
from marianne_core.plan.build import build_plan
from marianne_core.plan.checks import check_plan
from marianne_core.plan.rehearsal import preview
from marianne_core.plan.rules import rules_for
from marianne_core.plan.sheets import levels

FOLDER = Path(__file__).parents[2].parent / "shared" / "scores"
SCORES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.skipif(not SCORES, reason="the collection of scores is not here")
@pytest.mark.parametrize("path", SCORES, ids=lambda p: p.stem)
def test_scores_of_other_people(path: Path, profiles: dict[str, InstrumentProfile]) -> None:
    score = load_score(path)
    found = check_plan(score, profiles)
    assert [p for p in found if p.severity is Severity.ERROR] == []
    # What remains are files that are not on this machine.
    assert {p.code for p in found} <= {"V108", "V107"}
    plan = build_plan(score, profiles)
    bound = 0
    for sheet in plan.sheets:
        text = preview(plan, sheet.num)
        assert "{{" not in text.split("What will be checked")[-1]
        rules = rules_for(plan, sheet.num)
        bound += len(rules)
        assert all(rule.path is None or rule.path.is_absolute() for rule in rules)
    assert bound > 0
    assert sum(len(block) for level in levels(plan) for block in level) == plan.total_sheets


@pytest.mark.parametrize(
    "sheets",
    [
        "{size: 1, total_items: 100000}",
        "{size: 1, total_items: 100000, dependencies: {2: [1]}}",
        "{size: 1, total_items: 4, fan_out: {2: 50000, 3: 49998}, "
        "dependencies: {2: [1], 3: [2], 4: [3]}}",
    ],
    ids=["chain", "free", "fan-out"],
)
def test_a_hundred_thousand_sheets(
    score_of: Callable[[str], Score], profiles: dict[str, InstrumentProfile], sheets: str
) -> None:
    plan = build_plan(score_of(f"sheet: {sheets}"), profiles)
    assert plan.total_sheets == 100_000
    assert max(len(sheet.deps) for sheet in plan.sheets) <= 1
    assert len({id(sheet.choice) for sheet in plan.sheets}) == 1
    if "fan_out" in sheets:
        assert plan.sheet(50_002).deps == (range(2, 50_002),)
        assert plan.sheet(60_000).deps is plan.sheet(50_002).deps
        assert [len(level) for level in levels(plan)] == [1, 1, 1, 1]


_MEASURED = """
from pathlib import Path
from marianne_core.config.load import score_from_text
from marianne_core.plan.build import build_plan

text = "name: n\\nworkspace: w\\nsheet: {size: 1, total_items: 100000}\\nprompt: {template: x}"
plan = build_plan(score_from_text(text, Path("n.yaml")), {})
status = Path("/proc/self/status").read_text()
print(plan.total_sheets, status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_memory_of_a_hundred_thousand_sheets() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURED],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    sheets, kilobytes = map(int, ran.stdout.split())
    assert sheets == 100_000
    assert kilobytes < 150_000
