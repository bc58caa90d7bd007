"""The instruments of all jobs: how many sheets each may run, and which are parked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from marianne_core.decide.lanes import Meter, Park, Pool, PoolKey
from marianne_core.decide.messages import Limits, SheetTask


@dataclass(slots=True)
class Instruments:
    """One pool per (instrument, model) that a sheet ever asked for, with its meter and its park."""

    limits: Limits
    _pools: dict[PoolKey, Pool] = field(default_factory=dict)
    _meters: dict[PoolKey, Meter] = field(default_factory=dict)
    _parks: dict[PoolKey, Park] = field(default_factory=dict)

    def pools(self) -> Iterable[Pool]:
        """All pools; they are few."""
        return self._pools.values()

    def pool_of(self, task: SheetTask) -> Pool:
        """The pool of a sheet, made when it is the first."""
        key = (task.instrument, task.model)
        pool = self._pools.get(key)
        if pool is None:
            pool = Pool(key, task.raw, self._meter(key, task.raw), self._park_for(key))
            self._pools[key] = pool
        return pool

    def set_limits(self, limits: Limits) -> None:
        """Use other limits from now on; what runs above them goes on."""
        self.limits = limits
        self._meters.clear()
        for pool in self._pools.values():
            pool.meter = self._meter(pool.key, pool.raw)
            pool.meter.running += pool.running

    def park(self, key: PoolKey, park: Park) -> None:
        """Use an instrument (model None) or one model no more, until `unpark`."""
        self._parks[key] = park
        self._apply(key[0])

    def unpark(self, key: PoolKey | None) -> None:
        """Lift one park, or all with None."""
        if key is None:
            self._parks.clear()
        else:
            self._parks.pop(key, None)
        self._apply(key and key[0])

    def park_at(self, key: PoolKey) -> Park | None:
        """The park that was set for exactly this instrument and model."""
        return self._parks.get(key)

    def park_of(self, key: PoolKey) -> Park | None:
        """The park that holds for this instrument and model: its own or the instrument's, the longer."""
        return self._park_for(key)

    @property
    def parks(self) -> bool:
        """Something is parked."""
        return bool(self._parks)

    def _apply(self, instrument: str | None) -> None:
        for pool in self._pools.values():
            if instrument is None or pool.key[0] == instrument:
                pool.park = self._park_for(pool.key)

    def _park_for(self, key: PoolKey) -> Park | None:
        both = (self._parks.get((key[0], None)), self._parks.get(key))
        parks = [park for park in both if park is not None]
        return max(parks, key=lambda park: inf if park.until is None else park.until, default=None)

    def _meter(self, key: PoolKey, raw: bool) -> Meter:
        limits = self.limits.instruments
        if key not in limits:
            key = (key[0], None)
        meter = self._meters.get(key)
        if meter is None:
            default = None if raw else self.limits.default_instrument
            meter = self._meters[key] = Meter(name_of(key), limits.get(key, default))
        return meter


def name_of(key: PoolKey) -> str:
    """How an instrument and model are shown: `claude-code`, or `claude-code/opus`."""
    instrument, model = key
    return instrument if model is None else f"{instrument}/{model}"
