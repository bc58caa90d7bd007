"""When a limit ends: what services and programs print, in every form that is known."""

from __future__ import annotations

import time
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
        ("please retry in 30", 30),
        ("reset in 3600.", 3600),
        (r"{\"retryDelay\": \"34s\"}", 34),  # JSON within a text of JSON
        ("Sorry, you have been rate-limited. Please wait 2 minutes before trying again.", 120),
        ("You've hit your limit. Please wait 6 seconds for your limit to reset.", 6),
        ("Your quota will reset after 5s.. Retrying after 6173ms...", 5),
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
        (r"{\"resetsAt\": 1791475200}", 1791475200.0),
        ("Please try again after 5 PM", at(2026, 10, 8, 17)),
        ("resets 3pm (Etc/GMT-3)", at(2026, 10, 9, 12)),
        ("resets 8pm (UTC+2)", at(2026, 10, 8, 18)),
        ("resets 8pm (GMT-05:30)", at(2026, 10, 9, 1, 30)),
        ("resets 5:00 PM PDT", at(2026, 10, 9, 0)),
        ("try again at 9pm EST.", at(2026, 10, 9, 1)),  # daylight time, whatever it says
        ("reset on October 20, 2026 at 2:00 AM or switch", at(2026, 10, 20, 2)),
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
        "retry after 3 attempts failed",
        "try again in 5 different ways",
        "I had to wait 2 or 3 times",
        "wait 1,200 seconds",
        "connection reset by peer\n2026-10-08T13:59:59Z ERROR stream",
        "rate limit reached\n14:02:33 - INFO",
        "reset at 0000-01-01T00:00",
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


@pytest.mark.parametrize("text", ["retry after " + "1" * 16_000, "wait 1" + " " * 16_000])
def test_no_text_takes_long(text: str) -> None:
    """The search holds up the whole conductor."""
    began = time.process_time()
    read_reset(text, NOW.timestamp(), UTC)
    assert time.process_time() - began < 1  # it was half a minute


def test_a_window_among_several_counts_only_where_nothing_else_tells() -> None:
    """Headers name the ends of all windows, also of those that are not used up."""
    text = """
        retry-after: 30
        anthropic-ratelimit-tokens-reset: 2026-10-08T16:00:00Z
        x-codex-secondary-reset-at: 1791820800
        "overageResetsAt": 1793491200
    """
    assert seconds(text) == 30
    assert seconds("x-ratelimit-reset: 1791475200") == 1791475200 - NOW.timestamp()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_date_at_the_end_of_time_is_none(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert read_reset("reset at 0001-01-01T00:00", NOW.timestamp()) is None
        assert read_reset("reset at 9999-12-31T23:59", NOW.timestamp()) is None
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_without_its_year_may_be_last_year_s() -> None:
    now = datetime(2027, 1, 1, 0, 3, tzinfo=UTC).timestamp()
    found = read_reset("resets Dec 31, 11:58pm", now, UTC)
    assert found is not None
    assert found.at == now
    found = read_reset("resets Jan 2, 1am", now - 86400, UTC)
    assert found is not None
    assert found.at == at(2027, 1, 2, 1)


def test_the_zone_of_a_date_is_heard_in_every_zone() -> None:
    found = read_reset("reset at 2026-10-08 16:00:00 GMT", NOW.timestamp(), ZoneInfo("Asia/Tokyo"))
    assert found is not None
    assert found.at == at(2026, 10, 8, 16)


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
