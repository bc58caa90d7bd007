"""The book of rate limits: by the wall clock, whatever people do to that clock."""

from __future__ import annotations

from marianne_core.decide.messages import InstrumentParked, ParkInstrument
from marianne_core.remember.changes import LimitMet
from marianne_core.remember.rows import LimitRow
from marianne_core.run.limit_book import LimitBook

DAY = 86_400.0


class Clocks:
    """Both clocks, set by hand."""

    def __init__(self) -> None:
        self.boot = 500.0
        self.epoch = 1_800_000_000.0

    def now(self) -> float:
        return self.boot

    def wall(self) -> float:
        return self.epoch

    def go(self, seconds: float) -> None:
        self.boot += seconds
        self.epoch += seconds


def met(clocks: Clocks, seconds: float, *, by_clock: bool, model: str | None = None):
    return InstrumentParked(1, 2, "claude-code", model, clocks.boot + seconds, by_clock, "used up")


def test_a_limit_is_known_until_it_ends() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    row = book.met(met(clocks, 100.0, by_clock=False))
    at = clocks.epoch
    assert row == LimitMet("claude-code", None, at + 100, False, at, "used up", 1, 2)
    clocks.go(99.0)
    (known,) = book.active()
    assert (known.name, known.until) == ("claude-code", row.until)
    clocks.go(1.0)
    assert book.active() == []


def test_one_of_each_model() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    book.met(met(clocks, 100.0, by_clock=False, model="opus"))
    book.met(met(clocks, 50.0, by_clock=False))
    book.met(met(clocks, 70.0, by_clock=False, model="opus"))
    names = [(known.name, round(known.until - clocks.epoch)) for known in book.active()]
    assert names == [("claude-code", 50), ("claude-code/opus", 70)]
    book.lift(book.active()[1])
    assert [known.name for known in book.active()] == ["claude-code"]


def test_a_clock_that_is_set_forward_brings_a_time_of_day_sooner() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    book.met(met(clocks, 7200.0, by_clock=True))
    clocks.epoch += 3600.0
    assert book.look_at_clock() == ([ParkInstrument("claude-code", clocks.boot + 3600.0)], [])
    assert book.look_at_clock() == ([], [])


def test_a_duration_is_as_long_as_it_was() -> None:
    for jump in (DAY, -DAY):
        clocks = Clocks()
        book = LimitBook(clocks)
        book.met(met(clocks, 60.0, by_clock=False, model="opus"))
        clocks.go(10.0)
        clocks.epoch += jump
        told, (row,) = book.look_at_clock()
        assert told == []  # the boot clock was not set
        assert row.until == clocks.epoch + 50.0
        assert [known.until for known in book.active()] == [row.until]


def test_a_clock_that_is_set_back_puts_a_time_of_day_off() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    book.met(met(clocks, 60.0, by_clock=True))
    clocks.epoch -= DAY
    (message,), _ = book.look_at_clock()
    assert message.until == clocks.boot + 60.0 + DAY


def test_a_clock_that_is_trimmed_is_not_set() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    book.met(met(clocks, 60.0, by_clock=True))
    clocks.epoch += 0.5
    assert book.look_at_clock() == ([], [])


def test_what_the_store_remembers_is_parked_again() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    at = clocks.epoch
    rows = [
        LimitRow("claude-code", "opus", at + 60, True, "used up", at - 100, 1, 2),
        LimitRow("codex-cli", None, at + 30, False, "", at - 10, 1, 3),
    ]
    assert book.restore(rows) == [
        ParkInstrument("claude-code", clocks.boot + 60, "opus"),
        ParkInstrument("codex-cli", clocks.boot + 30),
    ]
    assert [known.name for known in book.active()] == ["claude-code/opus", "codex-cli"]


def test_no_duration_grows_because_the_clock_was_set_back_meanwhile() -> None:
    clocks = Clocks()
    at = clocks.epoch
    row = LimitRow("codex-cli", None, at + DAY + 30, False, "", at + DAY, 1, 3)
    (message,) = LimitBook(clocks).restore([row])
    assert message.until == clocks.boot + 30


def test_a_limit_that_is_met_after_the_clock_was_set_is_not_moved() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    clocks.epoch += DAY
    row = book.met(met(clocks, 60.0, by_clock=False))
    assert book.look_at_clock() == ([], [])
    assert [known.until for known in book.active()] == [row.until]


def test_who_looks_before_the_clock_was_looked_at_loses_no_limit() -> None:
    """The baton still parks it, so it is shown, and can be lifted."""
    clocks = Clocks()
    book = LimitBook(clocks)
    book.met(met(clocks, 60.0, by_clock=False, model="opus"))
    book.met(met(clocks, 7200.0, by_clock=True))
    clocks.epoch += 3600.0
    assert [known.until - clocks.epoch for known in book.active()] == [3600.0, 60.0]
    told, (row,) = book.look_at_clock()
    assert told == [ParkInstrument("claude-code", clocks.boot + 3600.0)]
    assert row.until == clocks.epoch + 60.0


def test_a_limit_that_is_over_does_not_come_back_with_the_clock() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    book.met(met(clocks, 60.0, by_clock=True))
    clocks.go(120.0)
    clocks.epoch -= DAY
    assert book.look_at_clock() == ([], [])
    assert book.active() == []


def test_what_was_met_meanwhile_is_not_lifted() -> None:
    clocks = Clocks()
    book = LimitBook(clocks)
    book.met(met(clocks, 60.0, by_clock=False))
    (known,) = book.active()
    clocks.go(1.0)
    book.met(met(clocks, 600.0, by_clock=False))
    assert not book.lift(known)
    assert book.lift(book.active()[0])
    assert book.active() == []
