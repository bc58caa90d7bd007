from __future__ import annotations

from marianne_core.model.events import Event
from marianne_tui.cli.lines import event_line


def test_a_failed_sheet_tells_everything_on_one_line() -> None:
    event = Event(
        "sheet.failed",
        "hello",
        1,
        3,
        1_700_000_000.0,
        {
            "instrument": "cli",
            "attempt": 2,
            "exit_code": 3,
            "duration_seconds": 0.21,
            "reason": "exit status 3; \x1b[31mlast line\nof stderr",
        },
    )
    line = event_line(event, {3: "Second\x1b[2J variation"}, plain=True)
    assert line.endswith(
        "x sheet 3 failed (Second variation) - cli - attempt 2 - exit status 3 - 0.2 s"
        " - exit status 3; last line of stderr"
    )


def test_events_of_jobs_and_unknown_events_are_told_too() -> None:
    assert event_line(Event("job.started", "h", 1), {}, plain=True).endswith("* job started")
    line = event_line(Event("baton.sheet.retry_scheduled", "h", 1, 2), {})
    assert line.endswith("sheet 2 retry scheduled")


def test_partial_validations_are_named() -> None:
    event = Event("sheet.partial", "h", 1, 2, 0.0, {"validation_pass_rate": 50.0})
    assert "50 % of its validations passed" in event_line(event, {})
