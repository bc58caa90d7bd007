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


class LimitBook:
    """Rate limits by instrument and model. Belongs to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limits: dict[tuple[str, str | None], LimitMet] = {}
        self._offset = clock.wall() - clock.now()

    def restore(self, rows: Iterable[LimitRow]) -> list[ParkInstrument]:
        """Take over what the store remembers; returns what the baton must be told."""
        wall = self._clock.wall()
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
            self._limits[limit.instrument, limit.model] = limit
            parked.append(self._park(limit))
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
        self._limits[limit.instrument, limit.model] = limit
        return limit

    def active(self) -> list[KnownLimit]:
        """What holds now, by instrument and model."""
        wall = self._clock.wall()
        self._limits = {key: limit for key, limit in self._limits.items() if limit.until > wall}
        return [
            KnownLimit(limit.instrument, limit.model, limit.until, limit.reason, limit.at)
            for _, limit in sorted(
                self._limits.items(), key=lambda item: (item[0][0], item[0][1] or "")
            )
        ]

    def lift(self, limit: KnownLimit) -> None:
        """It does not hold any more."""
        self._limits.pop((limit.instrument, limit.model), None)

    def look_at_clock(self) -> tuple[list[ParkInstrument], list[LimitMet]]:
        """After the wall clock was set: what the baton must be told anew, and rows that changed.

        A time of day comes sooner or later then, a duration is as long as it was.
        """
        offset = self._clock.wall() - self._clock.now()
        jump = offset - self._offset
        if abs(jump) < _JUMP:
            return [], []
        self._offset = offset
        told, changed = [], []
        for key, limit in self._limits.items():
            if limit.by_clock:
                told.append(self._park(limit))
            else:
                shifted = replace(limit, until=limit.until + jump, at=limit.at + jump)
                self._limits[key] = shifted
                changed.append(shifted)
        return told, changed

    def _park(self, limit: LimitMet) -> ParkInstrument:
        until = self._clock.now() + limit.until - self._clock.wall()
        return ParkInstrument(limit.instrument, until, limit.model)
