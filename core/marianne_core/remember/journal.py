"""The single writer: all changes of a loop turn in one commit, on a thread of its own.

How a failing group is split. Every call (`add`, `commit`, `call`) stands for itself: its changes
are written together or not at all, and in the order of the calls. A group is one transaction and is
rolled back as a whole when it fails; then its calls are tried one by one:

* A change that can never be written (a fault of ours) is refused alone. Nobody waits for an `add`:
  its error goes to the loop's exception handler.
* The disk is full, read-only or broken: somebody who waits is refused with a StateError, and
  nothing of his call is written. What nobody waits for is kept, and whatever comes behind it may
  not overtake it: calls that wait are refused at once, others are kept in their order too.
* While something is kept, or the disk refuses even a trial write, the store is *in trouble*:
  `on_trouble` has said why. The kept changes are tried again with growing pauses (0.1 to 5 s), and
  whenever somebody waits. When all is written, `on_trouble(None)` says so.

Syncing has a thread of its own (`disk`), so that nobody's commit waits for a sync he did not ask
for. A sync that failed is trouble like any other: the store is in it until one has succeeded.

So `add` promises "written, sooner or later, in order" as long as the process lives, and `commit`
answers "written" or "not written" within one try. A change that only makes sense after another one
is added when that one's `commit` has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from marianne_core.model.errors import MztError, StateError
from marianne_core.remember.changes import Change, RunDraft, RunKey, SheetDraft, Sync
from marianne_core.remember.clearing import ClearFilter, clear_runs
from marianne_core.remember.disk import Disk, SyncError
from marianne_core.remember.migrations import cannot_open, open_database
from marianne_core.remember.submitting import add_run
from marianne_core.remember.transactions import Transactions, Work
from marianne_core.remember.trouble import depends_on_size, is_trouble, refusal, sentence

T = TypeVar("T")

SYNC_AFTER = 0.08
"""Seconds after which LAZY changes are synced; with the sync itself they stay below 100 ms."""

_LINGER = 0.01
"""Seconds that a change which nobody waits for may gather company before it is written."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two tries while in trouble; each pause is twice the one before."""


class _Call:
    """One call: what to write, and who waits for it."""

    __slots__ = ("future", "work")

    def __init__(self, work: Work, future: asyncio.Future[Any] | None) -> None:
        self.work = work
        self.future = future


_Answer = tuple[asyncio.Future[Any], Any, BaseException | None]


class Journal:
    """Writes changes of one conductor into its database. All methods belong to the loop's thread."""

    def __init__(
        self,
        database: Path,
        on_trouble: Callable[[str | None], None],
        setup: Callable[[sqlite3.Connection], None],
    ) -> None:
        """Use `Journal.open`."""
        self.database = database
        self._on_trouble = on_trouble
        self._setup = setup
        self._loop = asyncio.get_running_loop()
        # Of the loop's thread: calls of this turn.
        self._turn: list[_Call] = []
        self._due_this_turn = False
        self._lingering: asyncio.TimerHandle | None = None
        self._closed = False
        # Shared, under the condition.
        self._condition = threading.Condition()
        self._handed: list[_Call] = []
        self._waited_for = False
        self._closing = False
        self._not_synced = False
        # Of the writer's thread.
        self._in_hand: list[_Call] = []
        self._kept: list[_Call] = []
        self._trouble: str | None = None
        self._pause = _FIRST_PAUSE
        self._retry_at = 0.0
        self._answers: list[_Answer] = []
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._live, name="mzt-journal", daemon=True)

    @classmethod
    async def open(
        cls,
        database: Path,
        *,
        on_trouble: Callable[[str | None], None] = lambda reason: None,
        setup: Callable[[sqlite3.Connection], None] = lambda connection: None,
    ) -> Journal:
        """Open (make, migrate) the database and start the writer. The state lock must be held.

        `on_trouble` is called in the loop: with a reason when changes cannot be written, with None
        when they can again. `setup` gets the connection before anything is written, in the writer's
        thread (tracing, limits). Raises StateError.
        """
        journal = cls(database, on_trouble, setup)
        journal._thread.start()
        await journal._opened
        return journal

    # --- what the loop calls ------------------------------------------------------------------

    def add(self, changes: Sequence[Change], *, sync: Sync = Sync.LAZY) -> None:
        """Write the changes, together, as soon as possible; nobody waits. Raises StateError if closed."""
        self._hand(_Call(Work(changes=changes, sync=sync), None))

    async def commit(self, changes: Sequence[Change], *, sync: Sync = Sync.WRITE) -> None:
        """Write the changes, together; returns when they are committed (DISK: and on the disk).

        Raises StateError when they cannot be written: then nothing of them is. Giving up waiting
        does not take them back.
        """
        await self._wait_for(Work(changes=changes, sync=sync))

    async def call(
        self, function: Callable[[sqlite3.Connection], T], *, sync: Sync = Sync.DISK
    ) -> T:
        """Let `function` read and write within a transaction; returns what it returns.

        It runs in the writer's thread, in its place among the other calls, and must neither begin
        nor end a transaction. It may be called again when its group could not be committed, so it
        changes nothing but the database. Its MztErrors come back to the caller as they are.
        """
        result: T = await self._wait_for(Work(function=function, sync=sync))
        return result

    async def submit(self, draft: RunDraft, sheets: Sequence[SheetDraft]) -> RunKey:
        """Make a new run with its sheets, on the disk when this returns. Raises StateError."""
        return await self.call(lambda connection: add_run(connection, draft, sheets))

    async def clear(self, wanted: ClearFilter, now: float) -> list[int]:
        """Forget the runs that the filter names (see `clear_runs`); returns their run ids."""
        return await self.call(lambda connection: clear_runs(connection, wanted, now))

    async def written(self) -> None:
        """Everything added so far can be read when this returns, as far as the store can be written."""
        with contextlib.suppress(StateError):
            await self._wait_for(Work(sync=Sync.WRITE))

    def hasten(self) -> None:
        """Begin to write what was added so far: somebody is going to wait for it in a moment."""
        self._hand_over()

    async def flush(self) -> None:
        """Everything added so far is on the disk when this returns.

        Raises StateError when it cannot be written now; it is kept and tried again.
        """
        await self._wait_for(Work(sync=Sync.DISK))

    async def close(self) -> None:
        """Write what is left, sync, and end the writer.

        Raises StateError when something could not be written: it is lost to the store then, but
        recovery finds the ends of attempts in their files. Harmless when done before.
        """
        if not self._closed:
            self._closed = True
            self._hand_over()
            with self._condition:
                self._closing = True
                self._condition.notify()
        await asyncio.shield(self._ended)
        self._thread.join()

    def _hand(self, call: _Call) -> None:
        if self._closed or self._ended.done():
            raise StateError("the state database is closed", where=str(self.database))
        self._turn.append(call)
        if call.future is not None or call.work.sync is Sync.DISK:
            if not self._due_this_turn:
                # At the end of this turn of the loop: what it adds goes into one commit.
                self._due_this_turn = True
                self._loop.call_soon(self._hand_over)
        elif len(self._turn) == 1:
            # Nobody waits: what the next turns add goes along. What a kill takes from here is
            # found again in the attempts' files.
            self._lingering = self._loop.call_later(_LINGER, self._hand_over)

    def _hand_over(self) -> None:
        self._due_this_turn = False
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if not self._turn:
            return
        calls, self._turn = self._turn, []
        with self._condition:
            self._handed += calls
            self._waited_for = self._waited_for or any(call.future for call in calls)
            self._condition.notify()

    async def _wait_for(self, work: Work) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._hand(_Call(work, future))
        return await future

    # --- the writer's thread ------------------------------------------------------------------

    def _live(self) -> None:
        try:
            connection, disk = self._open()
        except BaseException as error:
            self._post(_settle, [(self._opened, None, error)])
            return
        problem: BaseException | None = None
        try:
            self._setup(connection)
            store = Transactions(connection, disk)
            self._post(_settle, [(self._opened, None, None)])
            self._write_until_closed(store)
            problem = self._unwritten()
        except BaseException as error:
            # A fault of ours: nobody may wait for ever.
            problem = error
            self._post(_settle, [(self._opened, None, error)])
            self._post(self._on_trouble, f"the writer of the state database failed: {error}")
        finally:
            disk.close()
            connection.close()
        with self._condition:
            left, self._handed = self._in_hand + self._handed, []
        closed = StateError("the state database is closed", where=str(self.database))
        self._answers += [(call.future, None, closed) for call in left if call.future]
        self._answers.append((self._ended, None, problem))
        self._post(_settle, self._answers)

    def _open(self) -> tuple[sqlite3.Connection, Disk]:
        connection = open_database(self.database)
        try:
            return connection, Disk(self.database, SYNC_AFTER, self._sync_failed)
        except OSError as error:
            connection.close()
            raise cannot_open(self.database, error) from error

    def _write_until_closed(self, store: Transactions) -> None:
        while True:
            with self._condition:
                while not self._closing and not self._due():
                    self._condition.wait(self._timeout())
                calls, self._handed = self._handed, []
                self._waited_for = self._not_synced = False
                closing = self._closing
            before = self._trouble
            self._in_hand = self._kept + calls
            self._write(store, self._in_hand, closing)
            if self._trouble != before:
                self._post(self._on_trouble, self._trouble)
            if self._answers:
                answers, self._answers = self._answers, []
                self._post(_settle, answers)
            self._in_hand = self._kept
            if closing:
                return
            store.keep_log_short()

    def _sync_failed(self) -> None:
        """In the syncing thread: the writer looks after it."""
        with self._condition:
            self._not_synced = True
            self._condition.notify()

    def _due(self) -> bool:
        """True when there is something to do now. Under the condition."""
        if self._trouble is not None:
            return self._waited_for or time.monotonic() >= self._retry_at
        return bool(self._handed) or self._not_synced

    def _timeout(self) -> float | None:
        return None if self._trouble is None else max(0.0, self._retry_at - time.monotonic())

    def _write(self, store: Transactions, calls: list[_Call], closing: bool) -> None:
        """Write the calls; afterwards `_kept` and `_trouble` say what could not be written and why."""
        self._kept = []
        if calls or self._trouble is None:
            error = self._write_group(store, calls, closing)
        else:
            error = self._try_disk(store)
        if error is None:
            self._trouble, self._pause = None, _FIRST_PAUSE
            return
        self._trouble = sentence(error)
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _write_group(
        self, store: Transactions, calls: list[_Call], closing: bool
    ) -> BaseException | None:
        """Write the calls in one transaction, or else apart; returns the trouble that is left."""
        try:
            results = store.write([call.work for call in calls], sync_now=closing)
        except Exception as failure:
            if is_trouble(failure) and not depends_on_size(failure):
                self._put_aside(calls, failure)
                return failure
            trouble = self._write_apart(store, calls)
            if not self._kept and (trouble is not None or not calls):
                # Only calls that somebody waits for were refused. They were perhaps too large, and
                # all else fits.
                return self._try_disk(store)
            return trouble
        for call, result in zip(calls, results, strict=True):
            self._answer(call, result, None)
        return None

    def _write_apart(self, store: Transactions, calls: Iterable[_Call]) -> BaseException | None:
        """Write the calls one by one; returns the trouble that the last try met, if any."""
        trouble: BaseException | None = None
        for call in calls:
            if trouble is not None and (self._kept or not depends_on_size(trouble)):
                self._put_aside([call], trouble)
                continue
            try:
                (result,) = store.write([call.work])
            except Exception as error:
                if is_trouble(error):
                    trouble = error
                    self._put_aside([call], error)
                else:
                    self._refuse(call, error)
            else:
                trouble = None
                self._answer(call, result, None)
        return trouble

    def _put_aside(self, calls: Iterable[_Call], error: BaseException) -> None:
        for call in calls:
            if call.future is None:
                self._kept.append(call)
            else:
                self._refuse(call, error)

    def _refuse(self, call: _Call, error: BaseException) -> None:
        answer = error if isinstance(error, MztError) else refusal(error, self.database)
        answer.__cause__ = error if answer is not error else None
        if call.future is not None:
            self._answer(call, None, answer)
            return
        context = {"message": f"{answer.what} ({call.work.changes!r:.500})", "exception": answer}
        self._post(self._loop.call_exception_handler, context)

    def _try_disk(self, store: Transactions) -> BaseException | None:
        try:
            store.try_disk()
        except (sqlite3.Error, SyncError) as error:
            return error
        return None

    def _answer(self, call: _Call, result: Any, error: BaseException | None) -> None:
        if call.future is not None:
            self._answers.append((call.future, result, error))

    def _unwritten(self) -> StateError | None:
        if not self._kept:
            return None
        return StateError(
            f"{len(self._kept)} changes were not written: {self._trouble}",
            where=str(self.database),
            hint="the next conductor finds the ends of attempts in their files",
        )

    def _post(self, function: Callable[..., object], *values: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *values)
        except RuntimeError:
            # The loop is closed: its program ended without closing the journal, nobody listens.
            return


def _settle(answers: Iterable[_Answer]) -> None:
    """Tell those who wait. In the loop."""
    for future, result, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
