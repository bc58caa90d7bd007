"""What the tests of the store share: a state directory, a journal that says what SQLite did."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from marianne_core.model.events import Event
from marianne_core.remember.changes import EventHappened, RunDraft, RunKey, SheetDraft
from marianne_core.remember.home import Home
from marianne_core.remember.journal import Journal
from marianne_core.remember.queries import Reader, open_reader


class Store:
    """A journal under test, with its connection, its trace and its troubles."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.journal: Journal
        self.connection: sqlite3.Connection
        self.trace: list[str] = []
        self.troubles: list[str | None] = []
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._loop = asyncio.get_running_loop()

    def setup(self, connection: sqlite3.Connection) -> None:
        """Watch the writer's connection; the tests may set its limits."""
        self.connection = connection
        connection.execute("PRAGMA busy_timeout=0")
        connection.set_trace_callback(self._traced)

    def _traced(self, statement: str) -> None:
        self._loop.call_soon_threadsafe(self._note, self.trace, statement)

    def troubled(self, reason: str | None) -> None:
        self._note(self.troubles, reason)

    def _note(self, into: list, what: str | None) -> None:
        into.append(what)
        for met, future in self._waiting:
            if not future.done() and met():
                future.set_result(None)

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait for what SQLite did or for a trouble, at most 10 s."""
        if met():
            return
        future = self._loop.create_future()
        self._waiting.append((met, future))
        async with asyncio.timeout(10):
            await future

    def limit_to(self, more_pages: int) -> None:
        """Let the database grow by so many pages only, as a full disk does."""
        (now,) = self.connection.execute("PRAGMA page_count").fetchone()
        self.connection.execute(f"PRAGMA max_page_count={now + more_pages}")

    def lift_limit(self) -> None:
        self.connection.execute("PRAGMA max_page_count=1000000")

    def reader(self) -> Reader:
        return open_reader(self.home)

    def kinds(self) -> list[str]:
        """Kinds of all events, in order."""
        with self.reader() as reader:
            return [event.kind for event in reader.events()]


def happened(kind: str, run_id: int = 0, sheet: int = 0, **data: object) -> EventHappened:
    """An event to write."""
    return EventHappened(run_id, Event(kind, "job", 1, sheet, 1000.0, dict(data)))


def draft(path: str = "/scores/hello.yaml", **changes: object) -> RunDraft:
    """A submission to write."""
    fields: dict = {
        "score_path": path,
        "score": "name: hello\n",
        "name": "hello",
        "workspace": "/song",
        "submitted_at": 1000.0,
    }
    return RunDraft(**(fields | changes))


class Syncs:
    """What this process syncs itself, by file name; SQLite's own syncs are not seen."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.failing: dict[str, int] = {}
        """Names of files -> error number, for syncs that shall fail."""
        self.gate = threading.Event()
        """Cleared: syncs take until it is set."""
        self.gate.set()
        self._loop = asyncio.get_running_loop()
        self._new = asyncio.Event()
        self._real = os.fdatasync

    def sync(self, fd: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
        self.names.append(name)
        self._loop.call_soon_threadsafe(self._new.set)
        self.gate.wait(10)
        if number := self.failing.get(name):
            raise OSError(number, os.strerror(number))
        self._real(fd)

    async def until(self, name: str, times: int = 1) -> None:
        """Wait until a file of this name was synced so often, or its sync has begun; at most 10 s."""
        async with asyncio.timeout(10):
            while self.names.count(name) < times:
                self._new.clear()
                await self._new.wait()


@pytest.fixture
async def syncs(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Syncs]:
    syncs = Syncs()
    monkeypatch.setattr(os, "fdatasync", syncs.sync)
    yield syncs
    syncs.gate.set()
    syncs.failing.clear()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "state")
    home.prepare()
    return home


@pytest.fixture
async def store(home: Home) -> AsyncIterator[Store]:
    store = Store(home)
    store.journal = await Journal.open(home.database, on_trouble=store.troubled, setup=store.setup)
    store.trace.clear()
    yield store
    await store.journal.close()


@pytest.fixture
def event() -> Callable[..., EventHappened]:
    return happened


@pytest.fixture
def submission() -> Callable[..., RunDraft]:
    return draft


@pytest.fixture
def submit(store: Store) -> Callable[..., Awaitable[RunKey]]:
    async def submit(
        sheets: int = 3, path: str = "/scores/hello.yaml", **changes: object
    ) -> RunKey:
        drafts = [SheetDraft(num, "cli", movement=1, voice=num) for num in range(1, sheets + 1)]
        return await store.journal.submit(draft(path, **changes), drafts)

    return submit
