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
            "status": "failed",
            "attempt": 2,
            "mode": "completion",
            "exit_code": 3,
            "error_code": "E009",
            "pass_rate": 100.0,
            "reason": "exit status 3; \x1b[31mlast line\nof stderr",
        },
    )
    line = event_line(event, {3: "Second\x1b[2J variation"}, plain=True)
    assert line.endswith(
        "x sheet 3 failed (Second variation) - attempt 2 - completion mode - E009"
        " - exit status 3; last line of stderr"
    )


def test_events_of_jobs_and_unknown_events_are_told_too() -> None:
    started = Event("job.started", "h", 1, data={"status": "running"})
    assert event_line(started, {}, plain=True).endswith("* job started")
    line = event_line(Event("baton.sheet.retry_scheduled", "h", 1, 2), {})
    assert line.endswith("sheet 2 retry scheduled")


def test_partial_validations_are_named_even_when_none_passed() -> None:
    half = Event("sheet.retrying", "h", 1, 2, 0.0, {"pass_rate": 50.0})
    assert "50 % of its validations passed" in event_line(half, {})
    none = Event("sheet.retrying", "h", 1, 2, 0.0, {"pass_rate": 0.0})
    assert "0 % of its validations passed" in event_line(none, {})


def test_a_sheet_without_an_attempt_does_not_name_one() -> None:
    skipped = Event("sheet.skipped", "h", 1, 2, 0.0, {"attempt": 0, "reason": "blocked by sheet 1"})
    assert event_line(skipped, {}).endswith("sheet 2 skipped · blocked by sheet 1")


def test_many_sheets_at_once_are_one_line() -> None:
    data = {"status": "cancelled", "blocks": [[5, 100000]], "count": 99996, "reason": "by a person"}
    line = event_line(Event("sheets.cancelled", "h", 1, data=data), {}, plain=True)
    assert line.endswith("99996 sheets (5-100000) cancelled - by a person")
    data = {"blocks": [[1, 60], [70, 70], [80, 90], [95, 99]], "count": 77}
    line = event_line(Event("sheets.pending", "h", 1, data=data), {})
    assert line.endswith("77 sheets (1-60, 70, 80-90, ...) pending")
