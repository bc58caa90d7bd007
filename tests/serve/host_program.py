"""A program that hosts a fake conductor, for tests that send it signals.

Says what happens on stdout, a line each. SIGUSR1 lets the running sheets end.
Arguments: the state directory, and how it is to behave.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Self

from marianne_core.model.requests import SubmitRequest
from marianne_core.model.states import JobStatus
from marianne_core.remember.home import Home
from marianne_core.serve.client import Client
from marianne_core.serve.host import host
from marianne_core.serve.stop import Stop, StopLevel
from tests.contract.fake_service import HELD, FakeService


def tell(line: str) -> None:
    print(line, flush=True)


class Conductor(FakeService):
    """The fake service as a context manager that may hang at either end."""

    def __init__(self, manner: str) -> None:
        super().__init__()
        self.manner = manner

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.release)
        if self.manner == "hangs at opening":
            tell("opening")
            await asyncio.Event().wait()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.manner == "hangs at closing":
            tell("closing")
            hang()
        tell("left: " + ", ".join(self.log))

    async def end_sheets(self) -> None:
        if self.manner == "hangs at ending":
            tell("ending")
            await asyncio.Event().wait()
        await super().end_sheets()


def hang() -> None:
    """Hold the whole loop, as a disk does that does not answer."""
    time.sleep(60)


def body_of(manner: str, score: Path) -> object:
    async def body(client: Client, stop: Stop) -> int:
        events = await client.events()
        reply = await client.submit(SubmitRequest(str(score)))
        tell("ready")
        if manner == "is done, another job runs":
            return 0
        if manner == "does not see the stop":
            await asyncio.Event().wait()
        leaving = asyncio.create_task(stop.wait(StopLevel.LEAVE))
        while JobStatus((await client.status(reply.job_id))["status"]).active:
            event = asyncio.ensure_future(anext(events))
            await asyncio.wait({leaving, event}, return_when=asyncio.FIRST_COMPLETED)
            event.cancel()
            if leaving.done():
                break
        leaving.cancel()
        status = (await client.status(reply.job_id))["status"]
        return 0 if status == "completed" else 4

    return body


async def main(folder: Path, manner: str) -> int:
    score = folder.parent / "one.yaml"
    score.write_text(HELD)

    def announce(text: str) -> None:
        if manner == "has lost its terminal":
            raise OSError(5, "Input/output error")
        tell(f"say: {text}")

    body = body_of(manner, score)
    return await host(Conductor(manner), Home(folder), body, announce=announce)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2])))
