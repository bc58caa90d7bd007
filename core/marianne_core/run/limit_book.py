"""The rate limits that hold: by the wall clock, since services name times of day.

The baton parks instruments by the boot clock, which nobody sets. This book keeps the same moments as
people and services tell them, for the store, for views, and for the day when the wall clock is set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from marianne_core.decide.instruments import name_of
from marianne_core.decide.messages import InstrumentParked, ParkInstrument
from marianne_core.model.clock import Clock
from marianne_core.remember.changes import LimitMet
from marianne_core.remember.rows import LimitRow

_JUMP = 2.0
"""Seconds by which the two clocks must part before the wall clock was set, and not only trimmed."""


@dataclass(frozen=True, slots=True)
class KnownLimit:
    """A rate limit that holds."""

    instrument: str
    model: str | None
    """None = the whole instrument."""
    until: float
    """Seconds since the epoch."""
    reason: str
    """What the service said."""
    told_at: float
    """Seconds since the epoch."""

    @property
    def name(self) -> str:
        """`claude-code`, or `claude-code/opus`."""
        return name_of((self.instrument, self.model))


@dataclass(frozen=True, slots=True)
class _Noted:
    """A limit, and when the baton lets its instrument go."""

    limit: LimitMet
    ends: float
    """By the boot clock."""

    def until(self, now: float, wall: float) -> float:
        """The end by the wall clock as it is set now; `now` is the same moment by the boot clock."""
        limit, until = self.limit, wall + self.ends - now
        if limit.by_clock or abs(until - limit.until) < _JUMP:
            return limit.until
        return until


class LimitBook:
    """Rate limits by instrument and model. Belongs to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted: dict[tuple[str, str | None], _Noted] = {}

    def restore(self, rows: Iterable[LimitRow]) -> list[ParkInstrument]:
        """Take over what the store remembers; returns what the baton must be told."""
        now, wall = self._clock.now(), self._clock.wall()
        parked = []
        for row in rows:
            until = row.until
            if not row.by_clock:
                # The clock may have been set back since: no duration is longer than it was told.
                until = min(until, wall + row.until - row.told_at)
            limit = LimitMet(
                row.instrument,
                row.model,
                until,
                row.by_clock,
                at=row.told_at,
                reason=row.reason,
                run_id=row.run_id,
                num=row.num,
            )
            parked.append(self._note(limit, now + until - wall))
        return parked

    def met(self, effect: InstrumentParked) -> LimitMet:
        """Note a limit that a sheet met; returns the row that remembers it."""
        wall = self._clock.wall()
        limit = LimitMet(
            effect.instrument,
            effect.model,
            wall + effect.until - self._clock.now(),
            effect.by_clock,
            at=wall,
            reason=effect.reason,
            run_id=effect.run_id,
            num=effect.num,
        )
        self._note(limit, effect.until)
        return limit

    def active(self) -> list[KnownLimit]:
        """What holds now, by instrument and model."""
        now, wall = self._clock.now(), self._clock.wall()
        return [
            KnownLimit(*key, noted.until(now, wall), noted.limit.reason, noted.limit.at)
            for key, noted in sorted(
                self._holding(now).items(), key=lambda item: (item[0][0], item[0][1] or "")
            )
        ]

    def lift(self, limit: KnownLimit) -> bool:
        """It does not hold any more. False when it holds no more already, or another does."""
        key = (limit.instrument, limit.model)
        noted = self._noted.get(key)
        if noted is None or noted.limit.at != limit.told_at:
            return False
        del self._noted[key]
        return True

    def look_at_clock(self) -> tuple[list[ParkInstrument], list[LimitMet]]:
        """After the wall clock was set: what the baton must be told anew, and rows that changed.

        A time of day comes sooner or later then, a duration is as long as it was.
        """
        now, wall = self._clock.now(), self._clock.wall()
        told, changed = [], []
        for noted in self._holding(now).values():
            limit = noted.limit
            ends = now + limit.until - wall
            jump = noted.ends - ends
            if abs(jump) < _JUMP:
                continue
            if limit.by_clock:
                told.append(self._note(limit, ends))
            else:
                shifted = replace(limit, until=limit.until + jump, at=limit.at + jump)
                self._note(shifted, noted.ends)
                changed.append(shifted)
        return told, changed

    def _holding(self, now: float) -> dict[tuple[str, str | None], _Noted]:
        """Those that hold, by the clock of the baton: the wall clock may have been set a moment ago."""
        self._noted = {key: noted for key, noted in self._noted.items() if noted.ends > now}
        return self._noted

    def _note(self, limit: LimitMet, ends: float) -> ParkInstrument:
        self._noted[limit.instrument, limit.model] = _Noted(limit, ends)
        return ParkInstrument(limit.instrument, ends, limit.model)
