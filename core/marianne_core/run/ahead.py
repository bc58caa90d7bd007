"""Which shim is started ahead: that of the attempt which is likely next, beside one that runs alone.

`warm.py` holds the shim itself. Here is decided when there is to be one, for whom, and when it is no
longer needed.
"""

from __future__ import annotations

from collections.abc import Mapping

from marianne_core.decide.baton import Baton
from marianne_core.decide.messages import Launch
from marianne_core.run.active import ActiveRun, Playing
from marianne_core.run.intents import Intents
from marianne_core.run.musician import Musician


class Ahead:
    """Starts at most one shim ahead. Belongs to one event loop."""

    def __init__(
        self,
        musician: Musician,
        baton: Baton,
        intents: Intents,
        *,
        runs: Mapping[int, ActiveRun],
        playing: Mapping[tuple[int, int], Playing],
    ) -> None:
        """`playing` are the living attempts by run id and sheet, `runs` the runs by run id."""
        self._musician = musician
        self._warm = musician.warm
        self._baton = baton
        self._intents = intents
        self._runs = runs
        self._playing = playing
        self._leaving = False
        self._pair: tuple[Playing, Launch] | None = None
        """The attempt whose shim waits already, and the one beside which it was started."""

    def started(self, attempt: Playing) -> None:
        """While this attempt runs alone, start the shim of the one that is likely next.

        Where several run, they fill each other's pauses, and to start ahead gains nothing.
        """
        alone = len(self._playing) == 1 and attempt.shim_alive
        if self._leaving or not alone or self._warm.token is not None:
            return
        running = Launch(attempt.run.run_id, attempt.num, attempt.number, attempt.mode)
        for launch in self._baton.likely(1) or self._baton.after(running, 1):
            run, token = self._runs.get(launch.run_id), self._intents.waiting(launch)
            if run is not None and token is not None:
                self._pair = attempt, launch
                self._musician.warm_up(run, launch.num, launch.attempt, token)
            elif (coming := self._intents.coming(launch)) is not None:
                coming.add_done_callback(lambda _: self.started(attempt))

    def ended(self, over: Playing) -> None:
        """End the shim that waits, if it was not needed when the attempt beside it was over."""
        token = self._warm.token
        if token is None or self._pair is None:
            return
        beside, launch = self._pair
        taken = self._playing.get((launch.run_id, launch.num))
        if over.token == token or (over is beside and (taken is None or taken.token != token)):
            self._warm.drop()

    def forget(self, run_id: int) -> None:
        """The run is over: a shim that waits for its next attempt is ended."""
        if self._pair is not None and self._pair[1].run_id == run_id:
            self._warm.drop()

    async def settle(self) -> None:
        """Returns when nothing is left of what was started ahead and is not needed."""
        await self._warm.settle()

    def leave(self) -> None:
        """Start nothing more."""
        self._leaving = True
