"""The time that is left is said only where a run's own sheets tell it."""

from __future__ import annotations

from typing import Any

import pytest

from marianne_tui.cli.estimate import time_left

from .test_live_view import painted, sheet, status


def done(num: int, movement: int, start: float, took: float) -> dict[str, Any]:
    return sheet(
        num,
        "completed",
        movement=movement,
        attempts=1,
        started_at=start,
        finished_at=start + took,
    )


CHAIN = [
    *(done(n, n, 10.0 * n, 10.0) for n in (1, 2, 3)),
    sheet(4, "in_progress", movement=4, attempts=1, started_at=40.0),
    *(sheet(n, movement=n) for n in (5, 6)),
]
WIDE = [
    done(1, 1, 0.0, 2.0),
    *(done(n, 2, 2.0, 30.0) for n in (2, 3, 4)),
    *(sheet(n, movement=2) for n in (5, 6, 7, 8, 9, 10)),
    sheet(11, movement=3),
]


def test_a_chain_takes_as_long_for_each_sheet() -> None:
    assert time_left(status(CHAIN), 46.0) == pytest.approx(24.0)
    assert time_left(status(CHAIN), 75.0) == pytest.approx((10 + 10) / 1)


def test_sheets_of_a_movement_take_what_its_others_took() -> None:
    at_once = 92 / 32
    work = 6 * 30 + 92 / 4
    assert time_left(status(WIDE), 32.0) == pytest.approx(work / at_once)


def test_a_pause_between_two_parts_of_a_run_does_not_count() -> None:
    late = [*(done(n, n, 10.0 * n + (1000 if n > 2 else 0), 10.0) for n in (1, 2, 3, 4))]
    assert time_left(status([*late, sheet(5, movement=5)]), 1100.0) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("sheets", "state"),
    [
        (CHAIN, "paused"),
        (CHAIN[:2] + CHAIN[3:], "running"),  # too few are completed
        ([*CHAIN, *(sheet(n, movement=n) for n in range(7, 60))], "running"),
        ([*CHAIN, sheet(7, "fermata", movement=7)], "running"),
        ([*WIDE, *(sheet(n, movement=3) for n in range(12, 20))], "running"),  # who knows these?
        (CHAIN[:3], "running"),
        ([], "running"),
    ],
)
def test_where_nothing_is_known_nothing_is_said(sheets: list[dict[str, Any]], state: str) -> None:
    assert time_left(status(sheets, state), 60.0) is None


def test_it_stands_in_the_head() -> None:
    sheets = [
        *(done(n, n, 100.0 + n, 1.0) for n in (1, 2, 3)),
        *(sheet(n, movement=n) for n in range(4, 16)),
    ]
    (head, *_) = painted(status(sheets), width=120)
    assert "3 of 15 sheets completed · 10 s · about 12 s left" in head
    (head, *_) = painted(status(sheets[:8]), width=120)
    assert "about 5 s left" in head
