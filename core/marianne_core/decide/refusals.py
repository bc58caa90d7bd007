"""How often an instrument refused in a row: a service may name a time that is too early again and again."""

from __future__ import annotations

from marianne_core.decide.lanes import PoolKey


class Refusals:
    """Tries of each instrument and model that a rate limit refused, none being answered in between."""

    def __init__(self) -> None:
        self._rows: dict[PoolKey, tuple[int, float]] = {}
        """Tries in a row, and when the last one was refused."""

    def refused(self, key: PoolKey, launched: float, now: float) -> int:
        """Count a refusal; how many tries before it were refused.

        What was `launched` before the last refusal belongs to the same try: it knew of no limit.
        """
        tries, last = self._rows.get(key, (0, -1.0))
        if launched > last:
            tries += 1
            self._rows[key] = tries, now
        return tries - 1

    def answered(self, key: PoolKey) -> None:
        """It works again."""
        self._rows.pop(key, None)
