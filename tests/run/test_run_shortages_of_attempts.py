"""A full disk, and a system without files or processes to give: no fault of the sheet.

What was not started never ran; what ran and was paid for counts.
"""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from marianne_core.model.outcome import Ended
from marianne_core.run import command, conclusion, launcher, processes, system_errors
from marianne_core.run import musician as musician_module
from marianne_core.run import spawn as spawn_module
from marianne_core.run.active import Playing
from marianne_core.run.launcher import Launcher, LaunchError, launch_error
from marianne_core.run.processes import environ_token, read_proc, still_there
from marianne_core.run.system_errors import Shortage, has_room, shortage_of, words_of
from marianne_core.run.waiter import Waiter
from tests.run.band import Band, until

_RULE = "validations: [{type: file_exists, path: '{workspace}/made'}]"
_SKIPS = 'sheet: {size: 1, total_items: 1, skip_when_command: {1: {command: "true"}}}'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_errors, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(system_errors, "_LONGEST_PAUSE", 0.05)


@pytest.fixture
async def band(tmp_path: Path) -> AsyncIterator[Band]:
    band = Band(tmp_path)
    yield band
    await band.close()


def _system(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


def _file(attempt: Playing, suffix: str) -> Path:
    return Path(attempt.files.name(suffix))


def _raising(error: BaseException) -> Any:
    def raises(*args: object, **kwargs: object) -> NoReturn:
        raise error

    return raises


# --- what an error says --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room(number: int) -> None:
    assert shortage_of(_system(number)) is Shortage.ROOM


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
def test_no_means(number: int) -> None:
    assert shortage_of(_system(number)) is Shortage.MEANS
    with pytest.raises(LaunchError) as caught:
        raise launch_error(_system(number), "prog", "/where") from _system(number)
    assert shortage_of(caught.value) is Shortage.MEANS


@pytest.mark.parametrize(
    "error",
    [
        _system(errno.ENOENT),
        _system(errno.EIO),
        _system(errno.E2BIG),
        RuntimeError("the roof fell in"),
        LaunchError("no such program"),
        ValueError("28"),
    ],
)
def test_all_else_is_no_shortage(error: Exception) -> None:
    assert shortage_of(error) is None


def test_python_without_a_thread_is_one() -> None:
    assert shortage_of(RuntimeError("can't start new thread")) is Shortage.MEANS


def test_words() -> None:
    assert words_of(_system(errno.ENOSPC, "/a/b")) == "No space left on device: /a/b"
    assert words_of(RuntimeError("can't")) == "can't"


def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_room(tmp_path)
    assert has_room(tmp_path / "nowhere")  # that is another matter
    real = os.statvfs(tmp_path)

    class Full:
        f_blocks, f_bavail = real.f_blocks, 0

    monkeypatch.setattr(os, "statvfs", lambda path: Full)
    assert not has_room(tmp_path)


def _no_spawn(monkeypatch: pytest.MonkeyPatch, raising: Any) -> None:
    """Whichever way programs are spawned here, the system refuses."""
    monkeypatch.setattr(os, "posix_spawn", raising)
    monkeypatch.setattr(spawn_module, "_spawn", raising)


# --- what is not there to be started ---------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["status", "input", "spawn"])
async def test_a_start_on_a_full_disk_never_ran(
    band: Band, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    error = _system(number, "/bin/sh")
    if where == "status":
        monkeypatch.setattr(launcher, "open_status_locked", _raising(error))
    elif where == "input":
        monkeypatch.setattr(Launcher, "start", _start_raising(error, str(band.run_dir)))
    else:
        _no_spawn(monkeypatch, _raising(error))
    outcome = await band.musician.play(band.attempt("touch made"))
    assert outcome.ended is Ended.NEVER_RAN
    assert os.strerror(number) in outcome.reason
    ((folder, reason),) = band.log.full
    assert folder == band.run_dir
    assert os.strerror(number) in reason


def _start_raising(error: OSError, where: str) -> Any:
    async def start(self: Launcher, spec: Any) -> NoReturn:
        raise launch_error(error, spec.argv[0], where) from error

    return start


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
async def test_a_start_without_means_never_ran(
    band: Band, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _no_spawn(monkeypatch, _raising(_system(number)))
    outcome = await band.musician.play(band.attempt("touch made"))
    assert outcome.ended is Ended.NEVER_RAN
    (reason,) = band.log.short
    assert os.strerror(number) in reason
    assert reason in outcome.reason
    assert band.log.full == []


@pytest.mark.parametrize(
    ("part", "number"),
    [("take_baseline", errno.ENOSPC), ("build_prompt", errno.EMFILE), ("json.dump", errno.ENOSPC)],
)
async def test_preparing_meets_a_shortage(
    band: Band, monkeypatch: pytest.MonkeyPatch, part: str, number: int
) -> None:
    error = _raising(_system(number))
    if part == "json.dump":
        monkeypatch.setattr(musician_module.json, "dump", error)
    else:
        monkeypatch.setattr(musician_module, part, error)
    rule = "validations: [{type: file_modified, path: '{workspace}/made'}]"
    outcome = await band.musician.play(band.attempt("touch made", rule))
    assert outcome.ended is Ended.NEVER_RAN
    assert bool(band.log.full) is (number == errno.ENOSPC)
    assert bool(band.log.short) is (number == errno.EMFILE)


async def test_a_workspace_on_a_full_disk_names_its_own_disk(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = band.attempt("touch made")
    band.workspace.rmdir()

    def mkdir(self: Path, **kwargs: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    outcome = await band.musician.play(attempt)
    assert outcome.ended is Ended.NEVER_RAN
    assert band.log.full[0][0] == band.folder


async def test_other_errors_are_the_sheets_still(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_spawn(monkeypatch, _raising(_system(errno.E2BIG)))
    outcome = await band.musician.play(band.attempt("true"))
    assert (outcome.ended, outcome.code, outcome.retriable) == (Ended.FAILED, "E602", False)
    monkeypatch.setattr(musician_module, "take_baseline", _raising(_system(errno.EIO)))
    outcome = await band.musician.play(band.attempt("true"))
    assert (outcome.ended, outcome.code) == (Ended.FAILED, "E603")
    assert (band.log.full, band.log.short) == ([], [])


async def test_a_shim_that_cannot_write_its_pid_never_ran(band: Band) -> None:
    """The file was made, its first bytes find no room: the shim leaves before the instrument."""
    attempt = band.attempt("touch made")
    _file(attempt, "st").symlink_to("/dev/full")
    outcome = await band.musician.play(attempt)
    assert outcome.ended is Ended.NEVER_RAN
    assert not (band.workspace / "made").exists()
    ((folder, reason),) = band.log.full
    assert folder == band.run_dir
    assert str(band.run_dir) in reason


# --- skip commands ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
async def test_a_skip_command_that_finds_no_room_does_not_make_the_sheet_run(
    band: Band, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    folder = tempfile.gettempdir()
    monkeypatch.setattr(command, "_unlinked_file", _raising(_system(number)))
    outcome = await band.musician.play(band.attempt("touch made", _SKIPS))
    assert outcome.ended is Ended.NEVER_RAN
    assert not (band.workspace / "made").exists()
    if number == errno.ENOSPC:
        assert band.log.full[0][0] == Path(folder)
    else:
        assert len(band.log.short) == 1


async def test_a_skip_command_runs_after_the_intent(band: Band) -> None:
    """A conductor that is killed meanwhile leaves a process; recovery must know its token."""
    attempt = band.attempt("touch made", _SKIPS)
    seen: list[bool] = []

    async def intend(attempt: Any) -> None:
        attempt.intended = True
        seen.append((band.workspace / "asked").exists())

    band.log.intend = intend  # type: ignore[method-assign]
    text = (
        'sheet: {size: 1, total_items: 1, skip_when_command: {1: {command: "touch asked; false"}}}'
    )
    attempt = band.attempt("touch made", text)
    assert (await band.musician.play(attempt)).ended is Ended.OK
    assert seen == [False]  # once, and before
    assert (band.workspace / "asked").exists()


# --- what ran is not thrown away -------------------------------------------------------------------


async def test_an_exit_line_that_found_no_room_is_told_by_the_shim_itself(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shim leaves with the instrument's status all the same."""
    attempt = band.attempt("touch made; exit 0", _RULE)
    real = conclusion.read_end

    def without_exit_line(files: Any, token: str, waited: int | None) -> Any:
        status = Path(files.name("st"))
        status.write_text(status.read_text().split("\n")[0] + "\n=")  # half a line
        return real(files, token, waited)

    monkeypatch.setattr(conclusion, "read_end", without_exit_line)
    outcome = await band.musician.play(attempt)
    assert (outcome.ended, outcome.exit_code, outcome.pass_rate) == (Ended.OK, 0, 100.0)


_AGENT = """
name: agent
display_name: agent
kind: cli
raw_prompt: true
cli:
  command: {executable: bash, prompt_flag: "-c", prompt_via_stdin: false}
  output: {format: json, result_path: answer}
"""


@pytest.fixture
async def speaking(tmp_path: Path) -> AsyncIterator[Band]:
    """A band whose instrument `agent` answers in JSON."""
    (tmp_path / "instruments").mkdir()
    (tmp_path / "instruments" / "agent.yaml").write_text(_AGENT)
    band = Band(tmp_path)
    yield band
    await band.close()


async def test_an_answer_is_stored(speaking: Band) -> None:
    attempt = speaking.attempt("""echo '{"answer": "forty-two"}'""", instrument="agent")
    assert (await speaking.musician.play(attempt)).ended is Ended.OK
    assert _file(attempt, "txt").read_text() == "forty-two"


async def test_an_answer_without_room_is_a_warning(
    speaking: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = speaking.attempt("""echo '{"answer": "forty-two"}'""", instrument="agent")

    async def write(path: str, text: str) -> None:
        _file(attempt, "txt").write_text(text[:3])
        raise _system(errno.ENOSPC, path)

    monkeypatch.setattr(conclusion, "_write", write)
    assert (await speaking.musician.play(attempt)).ended is Ended.OK
    (warning,) = speaking.log.events("sheet.warning")
    assert "No space left" in warning["reason"]
    assert not _file(attempt, "txt").exists()  # half an answer is none
    assert [folder for folder, _ in speaking.log.full] == [speaking.run_dir]


async def test_a_failure_on_a_full_disk_is_lost_and_holds_what_comes_next(
    band: Band, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conclusion, "has_room", lambda folder: False)
    outcome = await band.musician.play(band.attempt("exit 7"))
    assert (outcome.ended, outcome.code, outcome.exit_code) == (Ended.LOST, "E403", 7)
    assert f"the disk of {band.run_dir} is full" in outcome.reason
    assert "exit status 7" in outcome.reason
    assert [folder for folder, _ in band.log.full] == [band.run_dir]


@pytest.mark.parametrize(
    "error", [_system(errno.EMFILE), _system(errno.ENOMEM), RuntimeError("can't start new thread")]
)
@pytest.mark.parametrize("part", ["read_end", "group_has_members", "read"])
async def test_a_result_is_read_when_the_system_can(
    band: Band, monkeypatch: pytest.MonkeyPatch, error: Exception, part: str
) -> None:
    attempt = band.attempt("touch made", _RULE)
    module: Any = conclusion
    if part == "group_has_members":
        from marianne_core.run import strays as module
    elif part == "read":
        from marianne_core.run.instrument.result import ResultReader as module
    real = getattr(module, part)
    seen: list[str] = []

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        seen.append(attempt.doing)
        if len(seen) <= 3:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(module, part, sometimes)
    outcome = await band.musician.play(attempt)
    assert (outcome.ended, outcome.pass_rate) == (Ended.OK, 100.0)
    assert len(seen) == 4
    assert "its result cannot be read" in seen[3]


@pytest.mark.parametrize("error", [_system(errno.EMFILE), RuntimeError("can't start new thread")])
async def test_a_shim_that_cannot_be_waited_for_is_left_alone(
    band: Band, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    attempt = band.attempt("until [ -e go ]; do sleep 0.01; done; touch made", _RULE)
    real, calls = Waiter.exited, []

    def exited(self: Waiter, *args: Any, **kwargs: Any) -> Any:
        calls.append(attempt.doing)
        if len(calls) <= 2:
            raise error
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Waiter, "exited", exited)
    playing = asyncio.create_task(band.musician.play(attempt))
    await until(lambda: len(calls) == 3)
    assert "its end cannot be waited for" in calls[2]
    (band.workspace / "go").touch()
    assert (await playing).ended is Ended.OK
    assert attempt.doing == "validating"


# --- who cannot look does not know -----------------------------------------------------------------


@pytest.mark.parametrize("env", ["", "MARIANNE_NO_PROC"])
def test_a_process_that_cannot_be_looked_at_is_not_gone(
    monkeypatch: pytest.MonkeyPatch, env: str
) -> None:
    """With no descriptor left, `no such process` would end the waiting for a living tree."""
    monkeypatch.delenv("MARIANNE_NO_PROC", raising=False)
    me = read_proc(os.getpid())
    assert me is not None
    if env:
        monkeypatch.setenv(env, "1")
        monkeypatch.setattr(processes.psutil, "Process", _raising(_system(errno.EMFILE)))
    else:
        monkeypatch.setattr(processes, "_read_file", _raising(_system(errno.EMFILE)))
    for look in (read_proc, environ_token):
        with pytest.raises(OSError, match="open files"):
            look(os.getpid())
    with pytest.raises(OSError, match="open files"):
        still_there(me)


async def test_a_helper_command_is_ended_when_the_system_can_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from marianne_core.run.tree import Tree

    real, calls = Tree.probe, []

    async def probe(self: Tree) -> Any:
        calls.append(1)
        if len(calls) <= 3:
            raise _system(errno.EMFILE)
        return await real(self)

    monkeypatch.setattr(Tree, "probe", probe)
    ran = await command.run_command(
        "echo $$ > pid; sleep 95", cwd=tmp_path, env=dict(os.environ), token="t", timeout=0.2
    )
    assert ran.timed_out
    assert read_proc(int((tmp_path / "pid").read_text())) is None


async def test_a_cancelled_helper_is_killed_without_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from marianne_core.run.tree import Tree

    async def probe(self: Tree) -> NoReturn:
        raise _system(errno.EMFILE)

    monkeypatch.setattr(Tree, "probe", probe)
    running = asyncio.create_task(
        command.run_command(
            "echo $$ > pid; exec sleep 95", cwd=tmp_path, env=dict(os.environ), token="t"
        )
    )
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    pid = int((tmp_path / "pid").read_text())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert read_proc(pid) is None  # reaped, too
