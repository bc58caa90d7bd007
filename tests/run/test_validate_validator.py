from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marianne_core.model.outcome import FailureCategory, ValidationReport, ValidationResult
from marianne_core.plan.rules import BoundRule
from marianne_core.run.command import CommandResult
from marianne_core.run.launcher import LaunchError
from marianne_core.run.validate.baseline import Baseline, take_baseline
from marianne_core.run.validate.validator import NOTHING_TO_CHECK, Validator

ENV = {"PATH": os.environ["PATH"]}


class Stage:
    """A validator whose sleeps are written down, and an attempt for it to look at."""

    def __init__(self, workspace: Path, **options: Any) -> None:
        self.workspace = workspace
        self.slept: list[float] = []
        self.validator = Validator(sleep=self._sleep, **options)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()

    def on_sleep(self) -> None:
        """Overwritten by tests in which something happens between two looks."""

    async def look(self, *rules: BoundRule, baseline: Baseline | None = None) -> ValidationReport:
        return await self.validator.validate(
            rules,
            workspace=self.workspace,
            baseline=baseline or Baseline(),
            env=ENV,
            token="t1",
        )

    async def one(self, rule: BoundRule) -> ValidationResult:
        return (await self.look(rule)).results[0]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.validator.close()


def exists(path: Path, index: int = 0, **fields: Any) -> BoundRule:
    return BoundRule(index, "file_exists", f"{path.name} exists", path=path, **fields)


def command(text: str, index: int = 0, **fields: Any) -> BoundRule:
    fields.setdefault("retry_count", 0)
    return BoundRule(index, "command_succeeds", text, command=text, **fields)


async def test_no_rules_cost_nothing(stage: Stage) -> None:
    report = await stage.look()
    assert report is NOTHING_TO_CHECK
    assert report.pass_rate == 100.0


async def test_all_types_at_once_with_every_field_filled(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    modified = BoundRule(1, "file_modified", "it changed", path=path)
    baseline = take_baseline([modified])
    path.write_text("Alpha\nbeta 42\n")
    report = await stage.look(
        exists(path),
        modified,
        BoundRule(2, "content_contains", "has beta", path=path, pattern="beta"),
        BoundRule(3, "content_regex", "has a number", path=path, pattern=r"^beta \d+$"),
        command('[ "$(wc -l < out.txt)" -eq 2 ]', 4, cwd=tmp_path),
        baseline=baseline,
    )
    assert [r.passed for r in report.results] == [True] * 5
    assert report.pass_rate == 100.0
    for index, result in enumerate(report.results):
        assert (result.rule, result.tries, result.category) == (index, 1, None)
        assert result.expected
        assert result.actual
        assert result.description
        assert result.reason == ""
        assert result.duration >= 0
    assert report.results[3].path == str(path)
    assert report.results[3].pattern == r"^beta \d+$"
    assert report.results[4].command == '[ "$(wc -l < out.txt)" -eq 2 ]'


async def test_the_first_failing_stage_is_the_last(stage: Stage, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    report = await stage.look(
        command(f"echo late >> {marks}", 0, stage=3),
        exists(tmp_path / "absent", 1, stage=2, retry_count=0),
        command(f"echo two >> {marks}", 2, stage=2),
        command(f"echo one >> {marks}", 3, stage=1),
    )
    assert marks.read_text() == "one\ntwo\n"
    assert [r.rule for r in report.results] == [0, 1, 2, 3]
    assert [r.passed for r in report.results] == [False, False, True, True]
    skipped = report.results[0]
    assert skipped.category is FailureCategory.SKIPPED
    assert skipped.reason == "skipped, because stage 2 failed"
    assert skipped.tries == 0
    assert report.pass_rate == 50.0


async def test_a_failure_is_looked_at_again(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "slow.txt"

    def on_sleep() -> None:
        if len(stage.slept) == 2:
            path.write_text("here")

    stage.on_sleep = on_sleep  # type: ignore[method-assign]
    result = await stage.one(exists(path, retry_count=5, retry_delay=0.5))
    assert result.passed
    assert result.tries == 3
    assert stage.slept == [0.5, 0.5]


async def test_looking_again_ends(stage: Stage, tmp_path: Path) -> None:
    result = await stage.one(exists(tmp_path / "never", retry_count=2))
    assert (result.passed, result.tries) == (False, 3)
    assert await stage.one(exists(tmp_path / "never", retry_count=0)) is not None
    assert len(stage.slept) == 2


async def test_what_a_time_limit_ended_is_not_looked_at_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, search_seconds=0.05)
    path = tmp_path / "f"
    path.write_text("a" * 80 + "b")
    rule = BoundRule(0, "content_regex", "", path=path, pattern="(a|aa)+$", retry_count=9)
    result = await stage.one(rule)
    stage.validator.close()
    assert (result.passed, result.tries, stage.slept) == (False, 1, [])


async def test_the_loop_goes_on_during_a_blow_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, search_seconds=0.8)
    path = tmp_path / "f"
    path.write_text("a" * 80 + "b")
    longest = 0.0
    looking = asyncio.ensure_future(
        stage.one(BoundRule(0, "content_regex", "", path=path, pattern="(a|aa)+$"))
    )
    while not looking.done():
        before = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - before)
    stage.validator.close()
    assert not looking.result().passed
    assert longest < 0.6


async def test_a_large_file_is_searched_beside_the_loop(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(30 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"end")
    turns = 0
    looking = asyncio.ensure_future(
        stage.one(BoundRule(0, "content_contains", "", path=path, pattern="end"))
    )
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert looking.result().passed
    assert turns > 10


async def test_a_pattern_that_does_not_compile_is_a_result(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    result = await stage.one(BoundRule(0, "content_regex", "", path=path, pattern="("))
    assert result.category is FailureCategory.ERROR
    assert "does not compile" in result.reason
    assert result.tries == 1


async def test_a_rule_that_lacks_a_part_is_a_result(stage: Stage) -> None:
    for kind in ("file_exists", "content_regex", "command_succeeds", "no_such_type"):
        result = await stage.one(BoundRule(0, kind, ""))
        assert result.category is FailureCategory.ERROR
        assert kind in result.reason


async def test_a_failed_command_tells_its_last_line(stage: Stage, tmp_path: Path) -> None:
    text = "echo out; echo '\x1b[31mno tests found' >&2; exit 5"
    result = await stage.one(command(text, cwd=tmp_path))
    assert not result.passed
    assert result.actual == "status 5: no tests found"
    assert result.reason.endswith("status 5: no tests found")
    assert result.category is FailureCategory.INCOMPLETE


async def test_commands_run_in_the_workspace_or_their_own_folder(
    stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    assert (await stage.one(command(f"[ $PWD = {tmp_path} ]"))).passed
    assert (await stage.one(command("[ ${PWD##*/} = sub ]", cwd=tmp_path / "sub"))).passed


async def test_commands_carry_the_attempts_token(stage: Stage) -> None:
    assert (await stage.one(command("[[ $MARIANNE_ATTEMPT == t1/* ]]"))).passed


async def test_a_vanished_workspace_is_a_result(stage: Stage, tmp_path: Path) -> None:
    stage.workspace = tmp_path / "gone"
    stage.workspace.mkdir()
    shutil.rmtree(stage.workspace)
    result = await stage.one(command("true", retry_count=3))
    assert result.category is FailureCategory.ERROR
    assert "does not exist" in result.reason
    assert str(stage.workspace) in result.reason


async def test_a_command_that_takes_too_long_is_ended_with_its_tree(
    stage: Stage, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    text = f"sleep 300 & echo $! $$ > {pids}; wait"
    result = await stage.one(command(text, timeout=0.3, retry_count=3))
    assert result.category is FailureCategory.ERROR
    assert "longer than 0.3 s" in result.reason
    assert result.tries == 1
    for pid in pids.read_text().split():
        assert not _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_a_signal_is_named(stage: Stage) -> None:
    result = await stage.one(command("kill -SEGV $$"))
    assert "SIGSEGV" in result.actual


async def test_cancelling_ends_the_command(stage: Stage, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    looking = asyncio.ensure_future(
        stage.one(command(f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 300"))
    )
    async with asyncio.timeout(20):
        while not pid.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert not _alive(int(pid.read_text()))


async def test_a_command_that_cannot_be_started_is_a_result(tmp_path: Path) -> None:
    async def refuse(command: str, /, **_: Any) -> CommandResult:
        raise LaunchError("cannot start bash: no room", hint="make room")

    stage = Stage(tmp_path, run=refuse)
    result = await stage.one(command("true", retry_count=1))
    assert "could not be started: cannot start bash: no room" in result.reason
    assert result.suggested_fix == "make room"
    assert result.tries == 2


async def test_a_command_gets_its_time_and_its_environment(tmp_path: Path) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    async def note(command: str, /, **given: Any) -> CommandResult:
        seen.append((command, given))
        return CommandResult(None, signal.SIGKILL, False, "", 0, 0.0, 0)

    stage = Stage(tmp_path, run=note)
    assert (await stage.one(command("a", timeout=7.0))).actual == "ended by SIGKILL"
    await stage.one(command("b"))
    same = {"cwd": tmp_path, "env": ENV, "token": "t1"}
    assert seen == [("a", {**same, "timeout": 7.0}), ("b", {**same, "timeout": 3600.0})]


async def test_many_quick_rules_leave_the_loop_its_turns(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "here"
    path.write_text("")
    looking = asyncio.ensure_future(stage.look(*(exists(path, n) for n in range(200))))
    turns = 0
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(looking.result().results) == 200
    assert turns >= 10


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
async def test_what_the_system_is_short_of_is_not_the_works_fault(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marianne_core.run.system_errors._FIRST_PAUSE", 0.001)
    tries: list[str] = []

    async def run(command: str, /, **given: Any) -> CommandResult:
        tries.append(command)
        if len(tries) < 3:
            raise LaunchError("cannot start bash") from OSError(number, "not now")
        return CommandResult(0, None, False, "", 0, 0.0, 0)

    result = await Stage(tmp_path, run=run).one(command("true"))
    assert result.passed
    assert result.tries == 1
    assert len(tries) == 3
