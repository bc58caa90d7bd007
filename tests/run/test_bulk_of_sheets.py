"""Many sheets at once, as views and templates hear of them."""

from __future__ import annotations

from pathlib import Path

from marianne_core.config.load import score_from_text
from marianne_core.config.profiles import load_profiles
from marianne_core.decide.messages import SheetRecord, SheetsChanged
from marianne_core.model.states import SheetStatus
from marianne_core.plan.build import build_plan
from marianne_core.run.active import ActiveRun
from marianne_core.run.narrate import sheets_event

SCORE = """
name: song
workspace: {workspace}
instrument: cli
sheet: {{size: 1, total_items: 100}}
prompt: {{template: "true"}}
"""


def active(folder: Path) -> ActiveRun:
    score = score_from_text(SCORE.format(workspace=folder / "ws"), folder / "song.yaml")
    return ActiveRun(7, "song", 2, build_plan(score, load_profiles([])), folder)


def test_they_are_one_event_of_the_run(tmp_path: Path) -> None:
    record = SheetRecord(SheetStatus.CANCELLED, reason="no longer wanted")
    change = SheetsChanged(7, (range(1, 3), range(5, 101)), record)
    event = sheets_event(active(tmp_path), change, 5.0)
    assert event.to_dict() == {
        "job_id": "song",
        "run": 2,
        "sheet_num": 0,
        "event": "sheets.cancelled",
        "data": {
            "status": "cancelled",
            "blocks": [[1, 2], [5, 100]],
            "count": 98,
            "reason": "no longer wanted",
        },
        "timestamp": 5.0,
    }


def test_other_sheets_learn_where_they_stand(tmp_path: Path) -> None:
    run = active(tmp_path)
    run.remember(3, SheetStatus.COMPLETED, 2)
    run.remember_all([range(1, 3), range(4, 101)], SheetStatus.CANCELLED)
    stand = [run.status_of(num) for num in (1, 2, 3, 4, 100)]
    assert stand == ["cancelled", "cancelled", "completed", "cancelled", "cancelled"]
    assert run.stdout_of(3) is not None
    run.remember_all([range(4, 101)], SheetStatus.PENDING)
    run.remember(2, SheetStatus.IN_PROGRESS, 1)
    assert [run.status_of(num) for num in (1, 2, 4)] == ["cancelled", "pending", "pending"]
