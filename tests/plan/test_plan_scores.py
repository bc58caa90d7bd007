"""Scores of other people, and very large ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.load import Score, load_score
from marianne_core.model.problem import Severity
from marianne_core.plan.build import build_plan
from marianne_core.plan.checks import check_plan
from marianne_core.plan.instruments import Instruments
from marianne_core.plan.rehearsal import preview
from marianne_core.plan.rules import rules_for
from marianne_core.plan.sheets import Plan, levels

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
import sys
from pathlib import Path
from marianne_core.config.load import score_from_text
from marianne_core.plan.build import build_plan

text = "name: n\\nworkspace: w\\ninstrument: cli\\nprompt: {template: x}\\n" + sys.stdin.read()
plan = build_plan(score_from_text(text, Path("n.yaml")), {})
status = Path("/proc/self/status").read_text()
print(plan.total_sheets, status.split("VmHWM:")[1].split()[0])
"""

_ALL_BEFORE = ", ".join(f"{n}: {list(range(1, n))}" for n in range(2, 51))
_SHAPES = {
    "chain": "sheet: {size: 1, total_items: 100000}",
    "equal fan-outs, each on all before": "sheet: {size: 1, total_items: 50, fan_out: {"
    + ", ".join(f"{n}: 2000" for n in range(1, 51))
    + f"}}, dependencies: {{{_ALL_BEFORE}}}}}",
    "an instrument for most sheets": "sheet: {size: 1, total_items: 100000, instrument_map: {cli: "
    + f"{list(range(1, 90_001))}}}}}",
    "names of many movements": "sheet: {size: 1, total_items: 100000}\nmovements: {"
    + ", ".join(f"{n}: {{name: m{n}}}" for n in range(1, 24_001))
    + "}",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("shape", _SHAPES.values(), ids=_SHAPES.keys())
def test_the_memory_of_a_hundred_thousand_sheets(shape: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURED],
        input=shape,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    sheets, kilobytes = map(int, ran.stdout.split())
    assert sheets == 100_000
    assert kilobytes < 150_000


def test_settings_of_many_sheets_take_no_longer_for_each(score_of: Callable[[str], Score]) -> None:
    def seconds(sheets: int) -> float:
        settings = "\n".join(f"    {n}: {{timeout_seconds: 9}}" for n in range(1, sheets + 1))
        text = "sheet:\n  size: 1\n  total_items: 20000\n  per_sheet_instrument_config:\n"
        config = score_of(text + settings).config
        started = time.thread_time()
        Instruments(config, {})
        return time.thread_time() - started

    few, many = seconds(4_000), seconds(16_000)
    assert many < 12 * few + 0.1, "four times as many"


def test_sheets_that_are_told_the_same_share_it(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        sheet:
          size: 1
          total_items: 6
          instrument_map: {cli: [1, 2], other: [3]}
          per_sheet_instrument_config: {2: {timeout_seconds: 7}}
        movements: {4: {name: a}, 5: {name: b}, 6: {instrument_config: {timeout_seconds: 8}}}
        """
    )
    names = [(sheet.instrument, sheet.timeout) for sheet in plan.sheets]
    assert names == [
        *[("cli", 300), ("cli", 7), ("other", 900), ("agent", 700), ("agent", 700), ("agent", 8)]
    ]
    assert plan.sheet(4).choice is plan.sheet(5).choice
