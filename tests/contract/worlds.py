"""Where the client contract is tried: a conductor of some kind, and scores that do as they say.

Another kind of conductor joins by one more entry in `WORLDS`; the tests stay as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig
from marianne_core.remember.home import Home
from marianne_core.serve.service import Service
from tests.contract.fake_service import HELD, FakeService


class World(Protocol):
    """One conductor, ready for clients."""

    service: Service

    def quick(self, name: str) -> str:
        """The path of a score with one sheet that writes `begun` and `done`, and completes at once."""
        ...

    def held(self, name: str) -> str:
        """The path of a score with one sheet that writes `begun`, and at `release` `done`, and ends."""
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


_SCORE = """\
name: {name}
instrument: cli
workspace: {workspace}
sheet: {{size: 1, total_items: 1}}
prompt:
  template: |
    {script}
"""


class RealWorld:
    """The world of the conductor itself, with sheets that are scripts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._flag = folder / "released"
        self.conductor = Conductor(DaemonConfig(), Home(folder / "home"))
        self.service: Service = self.conductor
        self._left = False

    def quick(self, name: str) -> str:
        return self._score(name, "echo begun; echo done")

    def held(self, name: str) -> str:
        return self._score(
            name, f"echo begun; while [ ! -e {self._flag} ]; do sleep 0.02; done; echo done"
        )

    def release(self) -> None:
        self._flag.touch()

    async def leave(self) -> None:
        if not self._left:
            self._left = True
            await self.conductor.end_sheets()
            await self.conductor.__aexit__(None, None, None)

    def _score(self, name: str, script: str) -> str:
        path = self._folder / f"{name}.yaml"
        path.write_text(
            _SCORE.format(name=name, workspace=self._folder / f"{name}.ws", script=script)
        )
        return str(path)


@asynccontextmanager
async def real_world(folder: Path) -> AsyncIterator[World]:
    """A conductor in a state directory of its own."""
    world = RealWorld(folder)
    await world.conductor.__aenter__()
    try:
        yield world
    finally:
        await world.leave()


WORLDS: dict[str, Callable[[Path], AbstractAsyncContextManager[World]]] = {
    "fake": fake_world,
    "real": real_world,
}
"""Every kind of conductor the contract holds for."""
