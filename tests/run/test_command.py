"""Helper commands: output, exit, time limit, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from marianne_core.run.attempt_files import new_token
from marianne_core.run.command import CommandResult, run_command
from marianne_core.run.launcher import LaunchError
from marianne_core.run.processes import adopted_children, find_tokens, reap
from marianne_core.run.waiter import Waiter


@pytest.fixture(params=["", "1"], ids=["pidfd", "no-pidfd"], autouse=True)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARIANNE_NO_PIDFD", request.param)


async def run(command: Any, cwd: Path, **more: Any) -> CommandResult:
    settings: dict[str, Any] = {"env": dict(os.environ), "token": new_token(), "timeout": 20}
    return await asyncio.wait_for(run_command(command, cwd=cwd, **{**settings, **more}), 30)


async def test_a_text_runs_in_bash(tmp_path: Path) -> None:
    result = await run("[[ a == a ]] && pwd && echo err >&2; exit 3", tmp_path)
    assert (result.exit_code, result.signal, result.timed_out) == (3, None, False)
    assert not result.ok
    assert result.output == f"{tmp_path}\nerr\n"
    assert result.output_size == len(result.output)
    assert (result.leftovers, result.survivors) == (0, 0)


async def test_a_text_runs_in_sh_where_there_is_no_bash(tmp_path: Path) -> None:
    result = await run("echo $0; exit 0", tmp_path, env={"PATH": str(tmp_path)})
    assert result.ok
    assert result.output == "/bin/sh\n"


async def test_a_sequence_runs_without_a_shells_reading(tmp_path: Path) -> None:
    folder = tmp_path / "odd 'name'\n\"♫\""
    folder.mkdir()
    result = await run(["echo", "$HOME", "a  b"], folder)
    assert result.ok
    assert result.output == "$HOME a  b\n"


async def test_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert (await run("cat", tmp_path)).output == ""


async def test_only_the_end_of_the_output_is_kept(tmp_path: Path) -> None:
    result = await run("head -c 50000000 /dev/zero; printf 'ä%.0s' 1 2 3 4 5", tmp_path, limit=7)
    assert result.output == "äää"  # whole characters only
    assert result.output_size == 50_000_010
    assert (await run("printf 'a\\377b'", tmp_path)).output == "a�b"
    assert os.listdir(tmp_path) == []


async def test_a_signal(tmp_path: Path) -> None:
    result = await run("kill -9 $$", tmp_path)
    assert (result.exit_code, result.signal, result.ok) == (None, 9, False)


async def test_the_time_limit_ends_the_whole_tree(tmp_path: Path) -> None:
    token = new_token()
    script = "trap '' TERM; setsid sleep 60 & echo before; sleep 60; sleep 60"
    result = await run(script, tmp_path, timeout=0.3, grace=0.05, token=token)
    assert result.timed_out
    assert not result.ok
    assert result.signal == 9
    assert result.output == "before\n"
    assert result.survivors == 0
    assert find_tokens([token]) == {}


async def test_an_orderly_end_after_the_time_limit(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 0' TERM; sleep 60 & wait"
    result = await run(script, tmp_path, timeout=0.3)
    assert result.timed_out
    assert not result.ok
    assert (result.exit_code, result.output) == (0, "bye\n")


async def test_what_is_left_behind_is_ended(tmp_path: Path) -> None:
    token = new_token()
    result = await run("sleep 60 & exit 0", tmp_path, token=token)
    assert result.ok
    assert result.leftovers == 1
    assert find_tokens([token]) == {}


async def test_cancelling_kills_the_tree(tmp_path: Path) -> None:
    token = new_token()
    script = "trap '' TERM; touch started; sleep 60; sleep 60"
    task = asyncio.create_task(run(script, tmp_path, token=token))
    async with asyncio.timeout(20):
        while not (tmp_path / "started").exists():  # noqa: ASYNC110 -- made by another process
            await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert find_tokens([token]) == {}


async def test_two_commands_of_one_attempt_do_not_end_each_other(tmp_path: Path) -> None:
    token = new_token()
    quick, slow = await asyncio.gather(
        run("sleep 60", tmp_path, token=token, timeout=0.1, grace=0.1),
        run("sleep 0.5; echo $MARIANNE_ATTEMPT", tmp_path, token=token),
    )
    assert quick.timed_out
    assert slow.ok
    assert slow.output.startswith(f"{token}/c")


async def test_the_loop_is_not_held_up(tmp_path: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    await run("sleep 0.5", tmp_path)
    ticking.cancel()
    assert ticks > 10


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-program"], "E505", "no program"),
        ([], "E505", "empty"),
        (["/etc"], "E505", "directory"),
        (["echo", "x" * 5_000_000], "E602", "larger"),
        (["echo", "a\0b"], "E009", "null byte"),
    ],
)
async def test_what_cannot_be_started(
    tmp_path: Path, command: list[str], code: str, words: str
) -> None:
    with pytest.raises(LaunchError, match=words) as caught:
        await run(command, tmp_path)
    assert caught.value.code == code


async def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="does not exist"):
        await run("true", tmp_path / "gone")
    with pytest.raises(LaunchError, match="No such file"):
        await run("true", tmp_path, output_dir=tmp_path / "gone")


async def test_a_command_is_quick(tmp_path: Path) -> None:
    started = time.monotonic()
    for _ in range(10):
        assert (await run("true", tmp_path)).ok
    assert time.monotonic() - started < 5


async def test_a_host_that_reaps_orphans_leaves_helpers_alone(tmp_path: Path) -> None:
    """Each command may bring its own Waiter: whoever reaps asks any of them, and must see all."""
    waiter = Waiter()
    reap(adopted_children(waiter.awaited()))  # what other tests of this process left
    task = asyncio.create_task(run("sleep 0.2; exit 5", tmp_path))
    reaped: list[int] = []
    async with asyncio.timeout(20):
        while not task.done():
            reaped += reap(adopted_children(waiter.awaited()))
            await asyncio.sleep(0)
    assert reaped == []
    assert (await task).exit_code == 5
    assert waiter.awaited() == set()
    waiter.close()
