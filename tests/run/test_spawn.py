"""Spawns beside the event loop: who closes what, orders nobody waits for, and bad input."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marianne_core.model.outcome import Ended
from marianne_core.run import spawn as spawn_module
from marianne_core.run.attempt_files import lift_descriptor
from marianne_core.run.spawn import Spawner

from .band import Band, until

SH = "/bin/sh"


@pytest.fixture(params=[0, 1, 2])
def spawner(request: pytest.FixtureRequest) -> Iterator[Spawner]:
    """In the loop, and in threads."""
    spawner = Spawner(request.param)
    yield spawner
    spawner.close()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def writing_to(path: Path) -> list[Any]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return [(os.POSIX_SPAWN_OPEN, 1, str(path), flags, 0o600)]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def reaped(pid: int) -> int:
    """Exit status of a child, once it is gone."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def text(path: Path) -> str:
    return path.read_text()


async def test_many_at_once_and_each_with_its_own(spawner: Spawner, tmp_path: Path) -> None:
    env = {"A": "1"}

    async def one(number: int) -> int:
        script = 'echo "$0 $A $B"'
        return await spawner.spawn(
            SH,
            ["sh", "-c", script, f"n{number}"],
            env,
            writing_to(tmp_path / f"{number}"),
            marks={"B": str(number)},
        )

    pids = await asyncio.gather(*(one(number) for number in range(20)))
    assert len(set(pids)) == 20
    for number, pid in enumerate(pids):
        assert reaped(pid) == 0
        assert text(tmp_path / f"{number}") == f"n{number} 1 {number}\n"


async def test_a_session_of_its_own_and_no_descriptor_of_ours(spawner: Spawner, out: Path) -> None:
    fd = lift_descriptor(os.open(os.devnull, os.O_RDONLY))
    script = "read -r line </proc/$$/stat; set -- $line; echo $6 $$; ls /proc/$$/fd"
    actions = [*writing_to(out), (os.POSIX_SPAWN_DUP2, fd, 5)]
    env = {"PATH": os.environ["PATH"]}
    pid = await spawner.spawn(SH, ["sh", "-c", script], env, actions, close=[fd])
    assert reaped(pid) == 0
    assert not is_open(fd)
    first, *rest = text(out).splitlines()
    session, own = first.split()
    assert session == own == str(pid)
    assert "5" in rest
    assert str(fd) not in rest


@pytest.mark.parametrize(
    ("path", "argv", "env", "error"),
    [
        ("/no/such/program", ["x"], {}, FileNotFoundError),
        (SH, ["sh", "a\0b"], {}, ValueError),
        (SH, ["sh"], {"A=B": "1"}, ValueError),
        (SH, ["sh"], {"A": "\0"}, ValueError),
        (SH, ["sh", "-c", "true", "x" * 200_000], {}, OSError),
    ],
    ids=["missing", "nul", "name", "value", "too long"],
)
async def test_what_cannot_be_started_leaves_nothing_open(
    spawner: Spawner, path: str, argv: list[str], env: dict[str, str], error: type[Exception]
) -> None:
    fd = lift_descriptor(os.open(os.devnull, os.O_RDONLY))
    with pytest.raises(error) as caught:
        await spawner.spawn(path, argv, env, [], close=[fd])
    assert not is_open(fd)
    if error is OSError:
        assert caught.value.args[0] == errno.E2BIG


async def test_a_file_that_cannot_be_made_is_an_error(spawner: Spawner, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await spawner.spawn(SH, ["sh", "-c", "true"], {}, writing_to(tmp_path / "no" / "folder"))


async def test_an_order_nobody_waits_for_is_not_carried_out(
    monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    plain, gate = spawn_module._spawn, threading.Event()

    def gated(*order: Any) -> int:
        gate.wait(20)
        return plain(*order)

    monkeypatch.setattr(spawn_module, "_spawn", gated)
    spawner = Spawner(1)
    fds = [lift_descriptor(os.open(os.devnull, os.O_RDONLY)) for _ in range(2)]
    script = ["sh", "-c", "echo here"]
    first, second = (
        asyncio.create_task(spawner.spawn(SH, script, {}, writing_to(out), close=[fd]))
        for fd in fds
    )
    await asyncio.sleep(0)
    second.cancel()
    assert isinstance(
        (await asyncio.gather(second, return_exceptions=True))[0], asyncio.CancelledError
    )
    gate.set()
    pid = await first
    reaped(pid)
    await until(lambda: not any(map(is_open, fds)))
    spawner.close()
    assert text(out) == "here\n"


async def test_the_loop_goes_on_while_a_spawn_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, turns = spawn_module._spawn, 0

    def slow(*order: Any) -> int:
        time.sleep(0.05)
        return plain(*order)

    monkeypatch.setattr(spawn_module, "_spawn", slow)
    spawner = Spawner()
    spawning = asyncio.create_task(spawner.spawn(SH, ["sh", "-c", "true"], {}, []))
    while not spawning.done():
        await asyncio.sleep(0)
        turns += 1
    reaped(spawning.result())
    spawner.close()
    assert turns > 10


@pytest.mark.parametrize("ended", [Ended.CANCELLED, Ended.TIMEOUT])
async def test_an_attempt_that_is_ended_while_it_is_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: Ended
) -> None:
    plain, gate = spawn_module._spawn, threading.Event()
    spawning = threading.Event()

    def gated(*order: Any) -> int:
        spawning.set()
        gate.wait(20)
        return plain(*order)

    monkeypatch.setattr(spawn_module, "_spawn", gated)
    band = Band(tmp_path)
    attempt = band.attempt("sleep 60")
    playing = asyncio.create_task(band.musician.play(attempt))
    await until(spawning.is_set)
    await band.musician.end(attempt, ended, "enough")
    gate.set()
    outcome = await playing
    await band.close()
    assert outcome.ended is ended
    told = [name for name, _ in band.log.said]
    assert told.index("started") < told.index("ending")
