"""A conductor in a process of its own, which tests kill."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from marianne_core.remember.lock import StateLock
from tests.conductor.house import MARK, PATIENCE, House
from tests.programs import Program

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent


class Host:
    """A conductor in a process of its own: `with Host(house, score) as host`. Killed at the end."""

    def __init__(self, house: House, score: Path | None = None, *, grace: float = 0.3) -> None:
        """`grace`: seconds between TERM and KILL."""
        argv = [str(_HERE / "host_program.py"), str(house.home.root)]
        if score is not None:
            argv.append(str(score))
        env = {**os.environ, "HOME": str(house.root), MARK: house.mark, "HOST_GRACE": str(grace)}
        env["PYTHONPATH"] = os.pathsep.join([str(_ROOT / "core"), str(_ROOT)])
        self._process = Program(argv, env=env, stdin=True)
        self.pid = self._process.pid
        self._lock = StateLock(house.home.lock)

    def __enter__(self) -> Self:
        assert self._answer() == "ready"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        self._process.close()

    def kill(self) -> None:
        """SIGKILL, as an out-of-memory killer does it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        # A program that was just being started can hold a copy of the lock for some milliseconds.
        deadline = time.monotonic() + PATIENCE
        while (holder := self._lock.holder()) is not None and holder.pid == self.pid:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def begin(self, line: str) -> None:
        """Give a command, and do not wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def order(self, line: str) -> str:
        """Give a command; returns its answer."""
        self.begin(line)
        return self._answer()

    def _answer(self) -> str:
        return self._process.stdout.readline().strip()
