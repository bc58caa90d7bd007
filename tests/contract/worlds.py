"""Where the client contract is tried: a conductor of some kind, and scores that do as they say.

A real conductor joins by one more entry in `WORLDS`; the tests stay as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from marianne_core.serve.service import Service
from tests.contract.fake_service import HELD, FakeService


class World(Protocol):
    """One conductor, ready for clients."""

    service: Service

    def quick(self, name: str) -> str:
        """The path of a score with one sheet that completes at once."""
        ...

    def held(self, name: str) -> str:
        """The path of a score with one sheet that runs until `release`."""
        ...

    def release(self) -> None:
        """Let the sheets of `held` scores end well."""
        ...

    async def leave(self) -> None:
        """The conductor goes, as at the end of its host."""
        ...


class FakeWorld:
    """The world of the fake service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fake = FakeService()
        self.service: Service = self._fake

    def quick(self, name: str) -> str:
        return self._score(name, "quick")

    def held(self, name: str) -> str:
        return self._score(name, HELD)

    def release(self) -> None:
        self._fake.release()

    async def leave(self) -> None:
        self._fake.leave()

    def _score(self, name: str, text: str) -> str:
        path = self._folder / f"{name}.yaml"
        path.write_text(text)
        return str(path)


@asynccontextmanager
async def fake_world(folder: Path) -> AsyncIterator[World]:
    """A fake conductor."""
    yield FakeWorld(folder)


WORLDS: dict[str, Callable[[Path], AbstractAsyncContextManager[World]]] = {"fake": fake_world}
"""Every kind of conductor the contract holds for."""
