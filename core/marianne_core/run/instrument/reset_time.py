"""When a limit ends, read from what an instrument printed.

Programs pass on the words of their services: "resets 6:02am (UTC)", "try again in 2h 13m", a header
`retry-after: 30`, an event with `"resetsAt": 1764349200`. A duration counts from the moment the
words were printed; a time of day is the next such time, in the zone that is named, else in that of
this machine (field reference, section 4.6).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LONGEST = 35 * 86_400.0
"""Seconds; a time further away (a month's quota is the longest there is) is a misreading."""

JUST_PAST = 600.0
"""Seconds: a time of day so short before the words were printed is over, not tomorrow's. Services
round to the minute, and clocks differ."""

_FARTHEST = 60
"""Characters between the word that tells of an end and the time itself."""

_IN_NAME = re.compile(r"[\w-]")


@dataclass(frozen=True, slots=True)
class Reset:
    """The end of a limit."""

    at: float
    """Seconds since the epoch."""
    by_clock: bool
    """A date or a time of day was told, and not a duration: it moves with the wall clock."""


def read_reset(text: str, said_at: float, zone: tzinfo | None = None) -> Reset | None:
    """The end that the last such words in `text` tell; None when there are none.

    `said_at` is when they were printed, in seconds since the epoch; `zone` is that of times of day
    without one (None: this machine's). Never in the past: what is over by then ends at `said_at`.
    What is a part of a longer name (`overageResetsAt`, `x-ratelimit-tokens-reset`) tells of one window
    among several, that need not be used up: it counts only where nothing else tells an end.
    """
    found: tuple[bool, int, Reset] | None = None
    for pattern, read in _READERS:
        for match in pattern.finditer(text):
            try:
                at = read(match, said_at, zone)
            except (ValueError, OverflowError):
                continue  # February 31, the year 0
            if at is None or not at - said_at <= LONGEST:
                continue
            start = match.start()
            rank = (not _IN_NAME.match(text[max(0, start - 1) : start]), start)
            if found is None or rank > found[:2]:
                found = *rank, Reset(max(at, said_at), read is not _duration)
    return None if found is None else found[2]


# --- durations ----------------------------------------------------------------------------------

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_UNIT = (
    r"ms|milli(?:second)?s?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?"
)
_NUMBER = r"\d{1,15}(?:\.\d{1,20})?"  # bounded: to search a row of digits takes their square
_AMOUNT = rf"{_NUMBER}\s*(?:{_UNIT})(?![a-z])"
_ONE_AMOUNT = re.compile(rf"({_NUMBER})\s*({_UNIT})(?![a-z])", re.IGNORECASE)
_DURATION = re.compile(
    r"(?:\bretry[ _-]?(?:again\W+)?(?:in|after)"  # "please retry in 3s", `retry-after: 30`
    r"|\btry(?:ing)?\W+again\W+(?:in|after)"
    r"|\bresets?\W+(?:in|after)"
    r"|\bavailable\W+(?:again\W+)?in"
    r"|\bwait(?:\W+for)?"
    r"|\bretry_?delay(?:_?ms)?(?:_?seconds)?|\bretry_?after(?:_?ms)?(?:_?seconds)?"
    r"|\bresets?_?(?:in|after)_?seconds?"
    rf")(?P<between>[\"'\s:=~\\]{{0,8}})(?:about\W+|at\W+least\W+)?(?P<told>{_AMOUNT}(?:(?:,|\s|and){{0,6}}{_AMOUNT}){{0,4}}|{_NUMBER}(?![\d:a-z-]|[.,]\d|\s?[ap]\.?m\b))",
    re.IGNORECASE,
)

_FIELD = re.compile(r"[\"':=]")
_STOP = re.compile(r"\s*(?:$|[\n\"',;)}\]]|[.](?:\s|$))")


def _duration(match: re.Match[str], said_at: float, _: tzinfo | None) -> float | None:
    amounts = _ONE_AMOUNT.findall(match["told"])
    if not amounts:
        # A number alone is that of a header or a field: seconds, unless its name says otherwise.
        if not _FIELD.search(match["between"]) and not _STOP.match(match.string, match.end()):
            return None  # "wait 2 or 3 times"
        name = match.string[match.start() : match.start("between")].lower()
        return said_at + float(match["told"]) * (0.001 if name.endswith("ms") else 1.0)
    return said_at + sum(float(number) * _seconds(unit.lower()) for number, unit in amounts)


def _seconds(unit: str) -> float:
    return _UNITS["ms" if unit.startswith(("ms", "milli")) else unit[0]]


# --- moments ------------------------------------------------------------------------------------

_LEAD = (
    r"(?:resets?(?:[_ ]?(?:at|time|on))?|reset_?date|limit reached|(?:try|retry)(?:\W+again)?(?:\W+after|[ _-]?at)"
    r"|again\W+(?:at|on)|until|available\W+(?:again\W+)?(?:at|on|from)|retry[ _-]?after)"
)
_GAP = r"[^\S\n]"
_STAMP = re.compile(rf"{_LEAD}(?:[\"':=|\\]|{_GAP}){{0,8}}(\d{{10}}|\d{{13}})(?!\d)", re.IGNORECASE)
_ISO = re.compile(
    rf"{_LEAD}[^\d\n]{{0,{_FARTHEST}}}?"  # the next line of a log begins with its own time
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?\s?\(?(Z\b|UTC\b|GMT\b|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_HTTP_DATE = re.compile(
    rf"{_LEAD}[\"'\s:=]{{0,6}}((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{{3}} \d{{4}} \d\d:\d\d:\d\d GMT)",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHORT_ZONES = {
    **dict.fromkeys(("PT", "PST", "PDT"), "America/Los_Angeles"),
    **dict.fromkeys(("MT", "MST", "MDT"), "America/Denver"),
    **dict.fromkeys(("CT", "CST", "CDT"), "America/Chicago"),
    **dict.fromkeys(("ET", "EST", "EDT"), "America/New_York"),
    **dict.fromkeys(("CET", "CEST"), "Europe/Berlin"),
    "BST": "Europe/London",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
}
"""Many say PST all the year: it is the region's time that is meant."""
_OFFSET = re.compile(r"(?:UTC|GMT)([+-])(\d{1,2}):?(\d\d)?", re.IGNORECASE)
_TIME_OF_DAY = re.compile(
    rf"{_LEAD}(?:{_GAP}|:){{1,4}}(?:at\s+|on\s+)?"
    rf"(?:(?:(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?"
    r"(?:,?\s+(?P<year>20\d\d))?"
    rf"|(?P<weekday>{'|'.join(_DAYS)})[a-z]*|(?P<tomorrow>tomorrow)|today)(?:,|\s|at\b){{1,6}})?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::\d\d)?)?\s?(?P<half>[ap]\.?m\b\.?)?"
    r"(?:\s?\(?(?P<zone>(?:UTC|GMT)(?:[+-]\d{1,2}(?::?\d\d)?)?|Z\b|[A-Z][A-Za-z_]+/[A-Za-z\d_/+-]+"
    rf"|(?-i:{'|'.join(_SHORT_ZONES)})\b)\)?)?",
    re.IGNORECASE,
)


def _stamp(match: re.Match[str], _: float, __: tzinfo | None) -> float | None:
    number = float(match[1])
    return number / 1000 if len(match[1]) > 10 else number


def _iso(match: re.Match[str], _: float, zone: tzinfo | None) -> float | None:
    offset = match[3] or ""
    if offset.isalpha():
        offset = "+00:00"
    moment = datetime.fromisoformat(f"{match[1]}T{match[2]}{offset}")
    return _timestamp(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _http_date(match: re.Match[str], _: float, __: tzinfo | None) -> float | None:
    return parsedate_to_datetime(match[1]).timestamp()


def _time_of_day(match: re.Match[str], said_at: float, zone: tzinfo | None) -> float | None:
    if match["half"] is None and match["minute"] is None:
        return None  # "resets 9": of what?
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if match["half"] is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    if hour > 23 or minute > 59:
        return None
    zone = _zone(match["zone"]) if match["zone"] else zone
    now = datetime.fromtimestamp(said_at, zone)
    told = now.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    times = [_timestamp(day) for day in _days(match, told)]
    return next((at for at in times if at >= said_at - JUST_PAST), None)


def _days(match: re.Match[str], today: datetime) -> Iterator[datetime]:
    """The moments that may be meant, the earliest first."""
    if match["month"] is not None:
        this = today.year
        years = [int(match["year"])] if match["year"] else [this - 1, this, this + 1]
        month = _MONTHS.index(match["month"].lower()) + 1
        for year in years:
            with suppress(ValueError):  # not a day of that year
                yield today.replace(year=year, month=month, day=int(match["day"]))
    elif match["weekday"] is not None:
        ahead = (_DAYS.index(match["weekday"].lower()) - today.weekday()) % 7
        yield today + timedelta(days=ahead)
        yield today + timedelta(days=ahead + 7)
    elif match["tomorrow"] is not None:
        yield today + timedelta(days=1)
    else:
        # Just before midnight, the end of a limit that was told a moment later is yesterday's.
        yield today - timedelta(days=1)
        yield today
        yield today + timedelta(days=1)


def _zone(name: str) -> tzinfo | None:
    if name.upper() in ("UTC", "GMT", "Z"):
        return UTC
    if offset := _OFFSET.fullmatch(name):
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return timezone(ahead if offset[1] == "+" else -ahead)
    try:
        return ZoneInfo(_SHORT_ZONES.get(name, name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None  # this machine's is the better guess than none


def _timestamp(moment: datetime) -> float:
    """Without a zone it is this machine's time, as it will be then (summer time included)."""
    return moment.timestamp()


_Reader = Callable[[re.Match[str], float, tzinfo | None], float | None]
_READERS: tuple[tuple[re.Pattern[str], _Reader], ...] = (
    (_DURATION, _duration),
    (_STAMP, _stamp),
    (_ISO, _iso),
    (_HTTP_DATE, _http_date),
    (_TIME_OF_DAY, _time_of_day),
)
