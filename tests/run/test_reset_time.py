"""When a limit ends: what services and programs print, in every form that is known."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marianne_core.run.instrument.reset_time import LONGEST, read_reset

NOW = datetime(2026, 10, 8, 14, 0, 30, tzinfo=UTC)
"""A Thursday."""


def at(*moment: int, zone: str = "UTC") -> float:
    return datetime(*moment, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[arg-type,misc]


def seconds(text: str) -> float | None:
    found = read_reset(text, NOW.timestamp(), UTC)
    return None if found is None else round(found.at - NOW.timestamp(), 3)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Please retry in 30s.", 30),
        ("please try again in 20s", 20),
        ("Please try again in 6m0s. Visit https://example.com", 360),
        ("try again in 1.5s", 1.5),
        ("Please try again in 280ms", 0.28),
        ("Please retry in 34.074824224s.", 34.075),
        ("Your quota will reset after 2h13m20s.", 8000),
        ("try again in 3 days 4 hours 12 minutes", 3 * 86400 + 4 * 3600 + 720),
        ("Try again in 2 hours, 5 minutes and 3 seconds.", 7503),
        ("resets in 3 hours", 10800),
        ("resets in 2 hr", 7200),
        ("limit resets in 45 min", 2700),
        ("retry after 5 m", 300),
        ("Retry after 1 h", 3600),
        ("please wait 90 s", 90),
        ("wait for 2 minutes", 120),
        ("Retry-After: 120", 120),
        ('"retry-after": "17"', 17),
        ('{"retry_after": 12.5}', 12.5),
        ("  retryDelayMs: 30000,", 30),
        ('"retryDelay": "34s"', 34),
        ("retry_after_ms=1500", 1.5),
        ("available again in 10 minutes", 600),
        ("resets_in_seconds: 77", 77),
        ("you can try again in about 15 minutes", 900),
        ("Try again in 2 weeks", 14 * 86400),
    ],
)
def test_a_duration_counts_from_the_moment_it_was_told(text: str, wanted: float) -> None:
    assert seconds(text) == wanted
    found = read_reset(text, NOW.timestamp(), UTC)
    assert found is not None
    assert not found.by_clock


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("You've hit your limit · resets 6:02pm (UTC)", at(2026, 10, 8, 18, 2)),
        ("resets at 9pm", at(2026, 10, 8, 21)),
        ("resets 9 PM", at(2026, 10, 8, 21)),
        ("resets at 14:30", at(2026, 10, 8, 14, 30)),
        ("your limit will reset at 9am", at(2026, 10, 9, 9)),
        ("limit resets 12am", at(2026, 10, 9, 0)),
        ("resets 12pm", at(2026, 10, 9, 12)),
        ("resets 3pm (Europe/Berlin)", at(2026, 10, 9, 15, zone="Europe/Berlin")),
        ("resets 10pm (America/New_York)", at(2026, 10, 8, 22, zone="America/New_York")),
        ("resets Oct 9, 3pm", at(2026, 10, 9, 15)),
        ("resets Oct 9 at 3:04 PM", at(2026, 10, 9, 15, 4)),
        ("Try again at Nov 8th, 2026 3:04 PM.", at(2026, 11, 8, 15, 4)),
        ("try again at 3:04 PM", at(2026, 10, 8, 15, 4)),
        ("resets Mon 9am", at(2026, 10, 12, 9)),
        ("resets thursday at 9am", at(2026, 10, 15, 9)),
        ("resets tomorrow at 1:15am", at(2026, 10, 9, 1, 15)),
        ("try again at Jan 2, 1am", None),  # 86 days: no limit is so long
        ("reset at 2026-10-08T16:00:00Z", at(2026, 10, 8, 16)),
        ("Retry after 2026-10-08 18:00:00+02:00", at(2026, 10, 8, 16)),
        ('"resets_at": "2026-10-08T14:30:00.123456Z"', at(2026, 10, 8, 14, 30)),
        ("try again after 2026-10-08T15:00", at(2026, 10, 8, 15)),
        ('"resetsAt":1791475200', 1791475200.0),
        ('"resetsAt": 1791475200000', 1791475200.0),
        ("Claude AI usage limit reached|1791475200", 1791475200.0),
        ("resets at 1791475200", 1791475200.0),
        ("retry-after: Thu, 08 Oct 2026 15:00:00 GMT", at(2026, 10, 8, 15)),
    ],
)
def test_a_moment_is_the_next_one_that_is_meant(text: str, moment: float | None) -> None:
    found = read_reset(text, NOW.timestamp(), UTC)
    if moment is None:
        assert found is None
        return
    assert found is not None
    assert found.at == moment
    assert found.by_clock


@pytest.mark.parametrize(
    "text",
    [
        "",
        "429 Too Many Requests",
        "Quota exceeded. Check your plan and billing details.",
        "Retrying in 0.2 seconds...",  # what the program does, not what the service says
        "Reconnecting... 1/5 (in 200ms)",
        "resets 9",
        "resets at 25:00",
        "resets 13pm",
        "resets Feb 31, 9am",
        "retry after a while",
        "at most 5 retries",
        "waiting 3",
        "try again in 400 days",
        "resetsAt: 1791475200999999",
    ],
)
def test_what_tells_no_end_is_none(text: str) -> None:
    assert read_reset(text, NOW.timestamp(), UTC) is None


def test_the_last_words_count() -> None:
    text = "Please retry in 3s.\nPlease retry in 5s.\nresets 3pm\nPlease retry in 8s.\nbye"
    assert seconds(text) == 8


def test_a_time_of_day_that_passed_a_moment_ago_is_over() -> None:
    """A service rounds down to the minute; nobody is to wait a day for that."""
    assert seconds("resets 2pm") == 0
    assert seconds("resets 13:55") == 0
    assert seconds("resets 1:45pm") == 86400 - 15 * 60 - 30


def test_midnight_that_passed_a_moment_ago_is_over() -> None:
    now = datetime(2026, 10, 9, 0, 1, tzinfo=UTC).timestamp()
    found = read_reset("resets 11:59pm", now, UTC)
    assert found is not None
    assert found.at == now


def test_what_is_past_by_its_date_is_over() -> None:
    assert seconds('"resetsAt": 1791000000') == 0
    assert seconds("reset at 2026-10-01T00:00:00Z") == 0


def test_a_time_of_day_without_a_zone_is_the_given_one() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    found = read_reset("resets 5pm", NOW.timestamp(), berlin)
    assert found is not None
    assert found.at == at(2026, 10, 8, 17, zone="Europe/Berlin")


def test_a_time_of_day_holds_over_the_end_of_summer_time() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 10, 24, 22, 0, tzinfo=berlin).timestamp()
    found = read_reset("resets 9am", now, berlin)
    assert found is not None
    assert found.at == at(2026, 10, 25, 9, zone="Europe/Berlin")
    assert found.at - now == 12 * 3600


def test_an_unknown_zone_is_taken_as_the_given_one() -> None:
    assert seconds("resets 5pm (Middle/Earth)") is not None


@given(st.text(alphabet="retry again in at resets 0123456789:-msh|,\n\"'TZ", max_size=200))
def test_whatever_is_printed_gives_a_sane_time_or_none(text: str) -> None:
    found = read_reset(text, NOW.timestamp(), UTC)
    assert found is None or 0 <= found.at - NOW.timestamp() <= LONGEST


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    read_reset(text, NOW.timestamp())
