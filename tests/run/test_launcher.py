"""Starting attempts: what the instrument gets, what its files say afterwards, and bad input."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.run.attempt_files import (
    AttemptEnd,
    AttemptFiles,
    StatusFile,
    look_at_status,
    new_token,
    parse_status,
    read_end,
    read_status,
)
from marianne_core.run.launcher import (
    Launcher,
    LaunchError,
    LaunchSpec,
    Shim,
    locks_are_inherited,
    missing_interpreter,
    resolve_program,
)
from marianne_core.run.shim import token_owners
from marianne_core.run.spawn import Spawner

SH = "/bin/sh"

_STANDARD_SIGNALS = 0x7FFFFFFF
"""Signals 1 to 31; two of the rest belong to the C library and nobody can change them."""


class Bench:
    """A run directory and a launcher; ends what a failing test left."""

    def __init__(self, run_dir: Path, how: str = "in threads") -> None:
        self.run_dir = run_dir
        self.how = how
        self.launcher = Launcher(Spawner(threads=0) if how == "in the loop" else None)
        self.pids: list[int] = []
        self.count = 0

    def launch(
        self,
        *argv: str,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> Shim:
        self.count += 1
        spec = LaunchSpec(
            token=new_token(),
            argv=argv,
            cwd=cwd or self.run_dir,
            env={"PATH": os.environ["PATH"]} if env is None else env,
            stdin=stdin,
            files=AttemptFiles(self.run_dir, self.count, 1),
        )
        if self.how == "without a loop":
            shim = self.launcher.launch(spec)
        else:
            shim = asyncio.run(self._start(spec))
        self.pids.append(shim.pid)
        return shim

    async def _start(self, spec: LaunchSpec) -> Shim:
        try:
            return await self.launcher.start(spec)
        finally:
            self.launcher.close()

    def wait(self, shim: Shim) -> AttemptEnd:
        self.pids.remove(shim.pid)
        waited = os.waitstatus_to_exitcode(os.waitpid(shim.pid, 0)[1])
        return read_end(shim.files, shim.token, waited)

    def run(self, *argv: str, **more: Any) -> tuple[AttemptEnd, bytes, bytes]:
        shim = self.launch(*argv, **more)
        end = self.wait(shim)
        return end, shim.files.stdout.read_bytes(), shim.files.stderr.read_bytes()

    def close(self) -> None:
        for pid in self.pids:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(params=["without a loop", "in the loop", "in threads"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(tmp_path, request.param)
    yield bench
    bench.close()


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        (b"#!/no/such/interpreter\necho", "/no/such/interpreter"),
        (b"#! \t/no/such/env bash\n", "/no/such/env"),
        (b"#!/bin/sh\r\necho", "/bin/sh\r"),
        (b"#!/bin/sh -e\necho", ""),
        (b"#!\n", ""),
        (b"echo #!/no/such", ""),
        (b"\x7fELF", ""),
    ],
)
def test_the_interpreter_that_a_script_lacks(tmp_path: Path, content: bytes, missing: str) -> None:
    (tmp_path / "script").write_bytes(content)
    assert missing_interpreter(str(tmp_path / "script")) == missing
    assert missing_interpreter(str(tmp_path / "nothing")) == ""


def test_the_files_say_how_it_went(bench: Bench) -> None:
    shim = bench.launch(SH, "-c", "echo out; echo err >&2; exit 3")
    assert bench.wait(shim) == AttemptEnd(3)
    assert shim.files.stdout.read_bytes() == b"out\n"
    assert shim.files.stderr.read_bytes() == b"err\n"
    assert shim.files.status.read_text() == f"{shim.pid}\n=3\n"
    assert shim.files.status.name == "1.1.st"
    assert shim.files.status.stat().st_mode & 0o777 == 0o600
    assert not shim.files.stdin.exists()


def test_every_argument_arrives_as_it_is(bench: Bench) -> None:
    words = ["a b", "'", '"', "$HOME", "`id`", "*", "", "new\nline", "müßig ♫", "-n", "\\", "~"]
    end, out, _ = bench.run("/usr/bin/env", "printf", "%s|", *words)
    assert end == AttemptEnd(0)
    assert out.decode() == "".join(f"{word}|" for word in words)


@pytest.mark.parametrize("name", ["with space", 'it\'s "quoted"', "new\nline", "çedilla ♫", "-x"])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    program = folder / "prog ram"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o755)
    bench = Bench(folder)
    end, out, _ = bench.run(str(program), cwd=folder)
    assert end == AttemptEnd(0)
    assert out.decode() == f"{folder}\n"


def test_the_environment_is_the_given_one_and_the_token(bench: Bench) -> None:
    shim = bench.launch("/usr/bin/env", env={"A": "1", "MARIANNE_ATTEMPT": "other"})
    bench.wait(shim)
    lines = set(shim.files.stdout.read_text().splitlines())
    assert {"A=1", f"MARIANNE_ATTEMPT={shim.token}"} <= lines
    assert not {line.split("=")[0] for line in lines} - {
        "A",
        "MARIANNE_ATTEMPT",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    }


def test_a_prompt_of_600_kb(bench: Bench) -> None:
    prompt = os.urandom(600_000)
    end, out, _ = bench.run("/bin/cat", stdin=prompt)
    assert end == AttemptEnd(0)
    assert out == prompt


@pytest.fixture(params=["memory", "file"])
def short_input(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a short input lies: in memory, or in a file on systems that cannot do that."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EACCES, "not here")

    if request.param == "file":
        monkeypatch.setattr(os, "memfd_create", refuse)
    return str(request.param)


def test_a_short_prompt(bench: Bench, short_input: str) -> None:
    end, out, _ = bench.run("/bin/cat", stdin="Größe\n".encode())
    assert (end, out) == (AttemptEnd(0), "Größe\n".encode())
    assert (bench.run_dir / "1.1.in").exists() == (short_input == "file")


def test_input_is_a_file_that_can_be_read_twice(bench: Bench, short_input: str) -> None:
    text = "cat; cat /dev/stdin; test -f /dev/stdin && echo file; test -s /dev/stdin && echo size"
    _, out, _ = bench.run(SH, "-c", text, stdin=b"once\n")
    assert out == b"once\nonce\nfile\nsize\n"


def test_a_short_prompt_lasts_when_nobody_has_read_it_yet(bench: Bench, short_input: str) -> None:
    os.mkfifo(bench.run_dir / "fifo")
    shim = bench.launch(SH, "-c", "read go < fifo; cat", stdin=b"x" * 60_000)
    (bench.run_dir / "fifo").write_text("go\n")
    assert bench.wait(shim) == AttemptEnd(0)
    assert shim.files.stdout.read_bytes() == b"x" * 60_000


def test_input_leaves_no_descriptor_behind(bench: Bench, short_input: str) -> None:
    before = os.listdir("/dev/fd")
    for stdin in (None, b"", b"short", b"x" * 100_000):
        bench.run("/bin/true", stdin=stdin)
    with pytest.raises(LaunchError):
        bench.run("/bin/true", "x" * 5_000_000, stdin=b"short")
    assert len(os.listdir("/dev/fd")) == len(before)


def test_a_child_that_never_reads_its_prompt(bench: Bench) -> None:
    assert bench.run("/bin/true", stdin=b"x" * 600_000)[0] == AttemptEnd(0)


def test_without_a_prompt_there_is_nothing_to_read(bench: Bench) -> None:
    assert bench.run("/bin/cat")[:2] == (AttemptEnd(0), b"")


def test_200_mb_of_output_block_nobody(bench: Bench) -> None:
    shim = bench.launch(SH, "-c", "head -c 200000000 /dev/zero")
    assert bench.wait(shim) == AttemptEnd(0)
    assert shim.files.stdout.stat().st_size == 200_000_000
    shim.files.stdout.unlink()


def test_output_is_appended_so_that_reopening_it_leaves_no_hole(bench: Bench) -> None:
    _, out, _ = bench.run(SH, "-c", "echo one; echo two > /dev/stdout; echo three")
    assert out == b"two\nthree\n"


def test_a_signal_shows_in_the_exit_status(bench: Bench) -> None:
    assert bench.run(SH, "-c", "kill -9 $$")[0] == AttemptEnd(137, signal.SIGKILL)
    assert bench.run(SH, "-c", "exit 255")[0] == AttemptEnd(255, None)


def test_terminating_the_session_leaves_the_exit_line(bench: Bench) -> None:
    shim = bench.launch("/bin/sleep", "60")
    until(lambda: read_status(shim.files.status).pid is not None)

    def terminate() -> bool:
        # The shim forks its child a moment after the pid line; until then only the shim is hit.
        os.killpg(shim.pid, signal.SIGTERM)
        return not look_at_status(shim.files.status).held

    until(terminate)
    assert bench.wait(shim) == AttemptEnd(143, signal.SIGTERM)


def test_a_child_that_forks_and_exits(bench: Bench) -> None:
    shim = bench.launch(SH, "-c", "sleep 60 & exit 4")
    pids = bench.pids[:]
    assert bench.wait(shim) == AttemptEnd(4)
    os.killpg(pids[0], signal.SIGKILL)


def test_programs_named_like_builtins_are_programs(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "true"
    program.write_text("#!/bin/sh\nexit 42\n")
    program.chmod(0o755)
    assert bench.run(str(program))[0] == AttemptEnd(42)


def test_only_the_shim_holds_the_lock(bench: Bench) -> None:
    shim = bench.launch(SH, "-c", "ls -l /proc/self/fd; echo ready; exec sleep 60")
    until(lambda: b"ready" in shim.files.stdout.read_bytes())
    assert look_at_status(shim.files.status).held
    os.kill(shim.pid, signal.SIGKILL)
    group = shim.pid
    end = bench.wait(shim)
    assert end == AttemptEnd(None)
    assert not look_at_status(shim.files.status).held
    os.killpg(group, signal.SIGKILL)
    assert ".st" not in shim.files.stdout.read_text()


def test_an_attempt_that_lives_is_not_started_again(bench: Bench) -> None:
    shim = bench.launch("/bin/sleep", "60")
    bench.count -= 1
    with pytest.raises(LaunchError, match="alive"):
        bench.launch("/bin/true")
    assert look_at_status(shim.files.status).held


def test_the_files_of_an_attempt_that_never_ran_are_used_again(bench: Bench) -> None:
    files = AttemptFiles(bench.run_dir, 1, 1)
    files.status.write_text("123\n=0\n")
    files.stdout.write_text("old")
    shim = bench.launch("/bin/false")
    assert bench.wait(shim) == AttemptEnd(1)
    assert shim.files.status.read_text() == f"{shim.pid}\n=1\n"
    assert shim.files.stdout.read_bytes() == b""


def test_signals_are_default_and_nothing_leaks(tmp_path: Path) -> None:
    """In a host that ignores and blocks signals and has inheritable descriptors."""
    host = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        for s in signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE:
            signal.signal(s, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
        leak = os.dup(os.open("/dev/zero", os.O_RDONLY)); os.set_inheritable(leak, True)
        from marianne_core.run.launcher import *
        from marianne_core.run.attempt_files import AttemptFiles
        files = AttemptFiles(Path({str(tmp_path)!r}), 1, 1)
        argv = ["/bin/sh", "-c", "cat /proc/self/status; ls -l /proc/self/fd"]
        shim = Launcher().launch(LaunchSpec("t", argv, files.run_dir, os.environ, None, files))
        os.waitpid(shim.pid, 0)
        """
    )
    subprocess.run([sys.executable, "-c", host], check=True, env=_host_env(), timeout=30)
    text = (tmp_path / "1.1.out").read_text()
    if "SigIgn" not in text:
        pytest.skip("no /proc here")
    masks = dict(line.split(":\t") for line in text.splitlines() if line.startswith("Sig"))
    assert int(masks["SigBlk"], 16) == 0
    assert int(masks["SigIgn"], 16) & _STANDARD_SIGNALS == 0
    assert "/dev/zero" not in text


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)])
def test_a_host_with_closed_standard_descriptors(tmp_path: Path, closed: tuple[int, ...]) -> None:
    host = textwrap.dedent(
        f"""
        import os
        for fd in {closed!r}: os.close(fd)
        from pathlib import Path
        from marianne_core.run.launcher import *
        from marianne_core.run.attempt_files import AttemptFiles
        files = AttemptFiles(Path({str(tmp_path)!r}), 1, 1)
        launcher = Launcher()
        assert all(os.fstat(fd) for fd in range(3))
        argv = ["/bin/sh", "-c", "cat; echo err >&2; exit 7"]
        shim = launcher.launch(LaunchSpec("t", argv, files.run_dir, {{}}, b"prompt", files))
        os.waitpid(shim.pid, 0)
        """
    )
    subprocess.run([sys.executable, "-c", host], check=True, env=_host_env(), timeout=30)
    files = AttemptFiles(tmp_path, 1, 1)
    assert read_status(files.status).exit_status == 7
    assert files.stdout.read_text() == "prompt"
    assert files.stderr.read_text() == "err\n"


def test_where_posix_spawn_makes_no_session_the_interpreter_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.posix_spawn

    def without_setsid(*args: Any, setsid: bool = False, **more: Any) -> int:
        if setsid:
            raise NotImplementedError("setsid")
        return real(*args, **more)

    monkeypatch.setattr(os, "posix_spawn", without_setsid)
    shim = bench.launch(SH, "-c", "cat; exit 5", stdin=b"hi\n")
    until(lambda: read_status(shim.files.status).pid is not None)
    assert os.getsid(shim.pid) == shim.pid  # not reaped yet, so it is there even if it is done
    assert bench.wait(shim) == AttemptEnd(5)
    assert shim.files.stdout.read_text() == "hi\n"
    assert read_status(shim.files.status).pid == shim.pid
    end, out, _ = bench.run(SH, "-c", "kill -PIPE $$; echo ignored")
    assert (end.signal, out) == (signal.SIGPIPE, b"")


# --- what cannot be started -----------------------------------------------------------------------


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no program 'nope-such' found") as caught:
        resolve_program("nope-such", str(tmp_path))
    assert caught.value.code == "E505"
    assert not caught.value.retriable
    with pytest.raises(LaunchError, match="does not exist"):
        resolve_program("./nope", None, tmp_path)
    with pytest.raises(LaunchError, match="no name"):
        resolve_program("", None)


def test_a_program_that_is_not_executable(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(LaunchError, match="tool is not executable"):
        resolve_program("tool", str(tmp_path))
    with pytest.raises(LaunchError, match="is a directory"):
        resolve_program(str(tmp_path / "folder"), None)


def test_programs_are_found_by_path_name_and_relative_path(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert resolve_program("tool", f"/nowhere:{program.parent}") == program
    assert resolve_program("tool", "bin", tmp_path) == program
    assert resolve_program("bin/tool", None, tmp_path) == program
    assert resolve_program(str(program), "") == program
    assert resolve_program("sh", None).is_absolute()


def test_a_working_directory_that_is_gone(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="does not exist") as caught:
        bench.launch("/bin/true", cwd=tmp_path / "gone")
    assert caught.value.code == "E603"
    (tmp_path / "file").write_text("")
    with pytest.raises(LaunchError, match="not a directory"):
        bench.launch("/bin/true", cwd=tmp_path / "file")


def test_too_large_an_argument(bench: Bench) -> None:
    with pytest.raises(LaunchError, match="larger than the system allows") as caught:
        bench.launch("/bin/true", "x" * 5_000_000)
    assert caught.value.code == "E602"
    assert not caught.value.retriable
    assert not look_at_status(AttemptFiles(bench.run_dir, 1, 1).status).held


def test_a_nul_byte_in_an_argument(bench: Bench) -> None:
    with pytest.raises(LaunchError, match="null byte"):
        bench.launch("/bin/true", "a\0b")


def test_a_run_directory_that_is_gone(bench: Bench, tmp_path: Path) -> None:
    shutil.rmtree(bench.run_dir)
    with pytest.raises(LaunchError, match="No such file") as caught:
        bench.launch("/bin/true", cwd=Path("/"))
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("name", ["plain", "new\nline"])
def test_a_program_that_goes_away_before_it_is_executed(
    bench: Bench, tmp_path: Path, name: str
) -> None:
    end, _, _ = bench.run(str(tmp_path / name))
    assert end.exit_status == 127
    assert "not found" in end.launch_failure or "No such file" in end.launch_failure
    assert "mzt-" not in end.launch_failure
    refused = tmp_path / f"{name}-refused"
    refused.write_text("")
    end, _, _ = bench.run(str(refused))
    assert end.exit_status == 126
    assert "denied" in end.launch_failure


def test_an_instruments_own_126_and_127_are_its_own(bench: Bench) -> None:
    assert bench.run(SH, "-c", "nope-such-program")[0] == AttemptEnd(127)
    assert bench.run(SH, "-c", "echo mzt-fake: 1: x >&2; exit 126")[0] == AttemptEnd(126)


def test_a_directory_that_goes_away_between_check_and_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("marianne_core.run.launcher.check_directory", lambda cwd: None)
    end, _, _ = bench.run("/bin/true", cwd=tmp_path / "gone")
    assert end.exit_status == 124
    assert "cd" in end.launch_failure
    assert bench.run(SH, "-c", "exit 124")[0] == AttemptEnd(124)


# --- the status file ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", StatusFile()),
        (b"12", StatusFile()),
        (b"12\n", StatusFile(12)),
        (b"12\n=1", StatusFile(12)),
        (b"12\n=\n", StatusFile(12)),
        (b"12\n=-1\n", StatusFile(12)),
        (b"12\n=137\n", StatusFile(12, 137)),
        (b"=3\n", StatusFile(None, 3)),
        (b"rubbish\n\xff\n", StatusFile()),
    ],
)
def test_only_whole_lines_count(tmp_path: Path, content: bytes, status: StatusFile) -> None:
    assert parse_status(content) == status
    (tmp_path / "st").write_bytes(content)
    assert read_status(tmp_path / "st") == status


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4_194_304), st.integers(0, 255), st.data())
def test_a_status_file_cut_anywhere_says_nothing_wrong(pid: int, code: int, data: Any) -> None:
    content = f"{pid}\n={code}\n".encode()
    status = parse_status(content[: data.draw(st.integers(0, len(content) - 1))])
    assert status.exit_status is None
    assert status.pid in {None, pid}
    assert parse_status(content) == StatusFile(pid, code)


def test_a_status_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read_status(tmp_path / "st") == StatusFile()
    look = look_at_status(tmp_path / "st")
    assert (look.exists, look.held) == (False, False)
    assert not (tmp_path / "st").exists()


@pytest.mark.parametrize(
    ("content", "waited", "end"),
    [
        ("12\n", 3, AttemptEnd(3)),  # the exit line found no room on the disk
        ("12\n", -9, AttemptEnd(None)),  # the shim was killed: who knows
        ("12\n", None, AttemptEnd(None)),
        ("12\n=143\n", -9, AttemptEnd(143, signal.SIGTERM)),
        ("12\n=0\n", None, AttemptEnd(0)),
        ("12\n=200\n", None, AttemptEnd(200)),
        ("12\n", 0, AttemptEnd(0)),
        ("", 125, AttemptEnd(125, None, "the attempt's status file could not be written")),
    ],
)
def test_the_end_of_an_attempt(
    tmp_path: Path, content: str, waited: int | None, end: AttemptEnd
) -> None:
    files = AttemptFiles(tmp_path, 1, 1)
    files.status.write_text(content)
    assert read_end(files, "t", waited) == end


def test_a_full_status_file_still_yields_the_exit_status(bench: Bench, tmp_path: Path) -> None:
    """/dev/full refuses every write: the shim says 125 and starts nothing."""
    files = AttemptFiles(tmp_path, 1, 1)
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    files.status.symlink_to("/dev/full")
    end = bench.wait(bench.launch(SH, "-c", "touch ran"))
    assert end.exit_status == 125
    assert end.launch_failure
    assert not (tmp_path / "ran").exists()


def test_token_owners() -> None:
    assert token_owners("a/b/c") == ["a", "a/b", "a/b/c"]


@pytest.mark.parametrize("token", ["", "a b", "a\n", "a//b", "/a", "a;b"])
def test_tokens_are_plain(bench: Bench, token: str) -> None:
    spec = LaunchSpec(
        token, ["/bin/true"], bench.run_dir, {}, None, AttemptFiles(bench.run_dir, 1, 1)
    )
    with pytest.raises(ValueError, match="token"):
        bench.launcher.launch(spec)


# --- the probe of a state directory ---------------------------------------------------------------


def test_locks_are_inherited_here(tmp_path: Path) -> None:
    assert locks_are_inherited(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not locks_are_inherited(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_locks_that_a_child_does_not_hold_are_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that ties a lock to the process that took it."""
    monkeypatch.setattr(fcntl, "flock", lambda fd, kind: None)
    assert not locks_are_inherited(tmp_path)


def _host_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
