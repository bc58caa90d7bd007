"""Intents: an attempt's row is committed before anything of it is spawned, many rows at a time.

A commit takes longer than a decision, so the intents of the sheets that are likely next are written
ahead, in one transaction, while others still run. An intent that is never used costs nothing: its
attempt was never started, and recovery says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from marianne_core.decide.messages import Launch
from marianne_core.model.errors import StateError
from marianne_core.remember.changes import AttemptIntended, Sync
from marianne_core.remember.journal import Journal
from marianne_core.run.attempt_files import new_token

Key = tuple[int, int, int]
"""run id, sheet, attempt."""

_AHEAD = 16
"""Intents in one commit."""
_FEW = 6
"""With fewer left, the next ones are written."""


class Intents:
    """Tokens of attempts whose intents are committed, or about to be."""

    def __init__(
        self,
        journal: Journal,
        likely: Callable[[int], Sequence[Launch]],
        after: Callable[[Launch, int], Sequence[Launch]],
        row: Callable[[Launch, str], AttemptIntended],
    ) -> None:
        """`likely` guesses the next launches, `after` those that follow one; `row` makes the row of a launch with its token."""
        self._journal = journal
        self._likely = likely
        self._after = after
        self._row = row
        self._tokens: dict[Key, str] = {}
        self._unused: set[Key] = set()
        """Those of them whose attempts were not launched yet."""
        self._commits: dict[Key, asyncio.Task[None]] = {}
        """Commits that are under way, by what they contain."""

    def token_of(self, launch: Launch) -> str:
        """The token of an attempt that starts now; `committed` says when it may."""
        key = self._key(launch)
        if key not in self._tokens or (not self._commits and len(self._unused) <= _FEW):
            self._write(launch)
        self._unused.discard(key)
        return self._tokens[key]

    def waiting(self, launch: Launch) -> str | None:
        """The token of an attempt that was not launched yet, if its intent is in the store."""
        key = self._key(launch)
        return self._tokens[key] if key in self._unused and key not in self._commits else None

    def coming(self, launch: Launch) -> asyncio.Task[None] | None:
        """The commit that an attempt's intent is part of, while it is under way."""
        return self._commits.get(self._key(launch))

    async def committed(self, run_id: int, num: int, attempt: int) -> None:
        """Returns when the attempt's intent is in the store. Raises StateError when it cannot be."""
        key = (run_id, num, attempt)
        if (commit := self._commits.get(key)) is not None:
            await asyncio.shield(commit)
        if key not in self._tokens:
            # Its commit failed before anybody asked.
            raise StateError("the intent to start the attempt could not be stored")

    def used(self, run_id: int, num: int, attempt: int) -> None:
        """The attempt is over."""
        self._tokens.pop((run_id, num, attempt), None)

    def forget(self, run_id: int) -> list[Key]:
        """The run is over: returns its intents that were never used, and drops them."""
        for key in [key for key in self._tokens if key[0] == run_id]:
            del self._tokens[key]
        unused = sorted(key for key in self._unused if key[0] == run_id)
        self._unused.difference_update(unused)
        return unused

    def _write(self, launch: Launch) -> None:
        """Commit the intents of this launch, of likely ones, and of those that may follow them."""
        wanted = {self._key(each): each for each in (launch, *self._likely(_AHEAD))}
        for each in (queue := list(wanted.values())):
            if len(wanted) > _AHEAD:
                break
            for follower in self._after(each, _AHEAD):
                if self._key(follower) not in wanted:
                    wanted[self._key(follower)] = follower
                    queue.append(follower)
        launches = {key: each for key, each in wanted.items() if key not in self._tokens}
        if not launches:
            return
        tokens = {key: new_token() for key in launches}
        rows = [self._row(each, tokens[key]) for key, each in launches.items()]
        self._tokens.update(tokens)
        self._unused.update(tokens)
        commit = asyncio.create_task(self._commit(tokens, rows), name="mzt-intents")
        commit.add_done_callback(_look)
        self._commits.update(dict.fromkeys(tokens, commit))

    @staticmethod
    def _key(launch: Launch) -> Key:
        return (launch.run_id, launch.num, launch.attempt)

    async def _commit(self, tokens: dict[Key, str], rows: list[AttemptIntended]) -> None:
        try:
            await self._journal.commit(rows, sync=Sync.WRITE)
        except StateError:
            for key, token in tokens.items():
                # Given up meanwhile, an attempt may have got another token in another commit.
                if self._tokens.get(key) == token:
                    del self._tokens[key]
                    self._unused.discard(key)
            raise
        finally:
            me = asyncio.current_task()
            for key in tokens:
                if self._commits.get(key) is me:
                    del self._commits[key]


def _look(commit: asyncio.Task[None]) -> None:
    """A commit that nobody waits for may fail in peace: its attempts ask before they start."""
    if not commit.cancelled():
        commit.exception()
