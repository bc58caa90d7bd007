"""A shim that is started ahead: what it plays, it plays as the ordinary one; unused, it was never there."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from marianne_core.run import spawn as spawn_module
from marianne_core.run import warm as warm_module
from marianne_core.run.attempt_files import (
    AttemptEnd,
    AttemptFiles,
    StatusFile,
    look_at_status,
    new_token,
    read_end,
)
from marianne_core.run.launcher import Launcher, LaunchError, LaunchSpec
from marianne_core.run.processes import boot_id, find_tokens, has_pidfd, send_signal
from marianne_core.run.recovery import AttemptRecord, NeverRan, examine
from marianne_core.run.waiter import Waiter
from marianne_core.run.warm import Warm

pytestmark = pytest.mark.skipif(
    not has_pidfd() or not hasattr(os, "memfd_create"), reason="nothing is started ahead here"
)

SH = "/bin/sh"
EVERY_BYTE = os.fsdecode(bytes(range(1, 256)))
"""All that an argument can hold; much of it is not UTF-8."""

WORDS = ["", " a  b ", "'", "''", '"', "it's", "$HOME`id`*", "\n", "a\nb\n", "\\", "\\'", "~", "-n"]
WORDS += ["#", ";exit 3", "\r", "\x01\x7f\x81\x88", "müßig ♫", "\udcff\udcc3'", EVERY_BYTE]

PATIENCE = 20.0


def _await_death(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


class Stand:
    """A run directory, a warm place and the ordinary launcher."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.launcher = Launcher()
        self.waiter = Waiter()
        self.warm = Warm(self.waiter, self.launcher.spawner)
        self.env: Mapping[str, str] = {"PATH": os.environ["PATH"], "A": "1"}
        self.tokens: list[str] = []

    def spec(self, *argv: str, cwd: Path | None = None, stdin: bytes | None = None) -> LaunchSpec:
        self.tokens.append(new_token())
        files = AttemptFiles(self.run_dir, len(self.tokens), 1)
        return LaunchSpec(self.tokens[-1], argv, cwd or self.run_dir, self.env, stdin, files)

    async def start(self, spec: LaunchSpec) -> None:
        self.warm.start(spec.token, spec.files, spec.env)
        assert self.warm.token == spec.token
        await self.warm.ready()
        assert self.warm.token == spec.token

    async def play(self, spec: LaunchSpec, *, warm: bool) -> AttemptEnd:
        """Start it and wait for its end; fails unless it was started in the way that is meant."""
        await self.warm.make_way(spec)
        shim = self.warm.launch(spec)
        assert (shim is not None) == warm
        if shim is None:
            shim = self.launcher.launch(spec)
        gone = shim.gone or self.waiter.exited(shim.pid, shim.files.status)
        async with asyncio.timeout(PATIENCE):
            waited = await gone
        status = look_at_status(shim.files.status)
        assert not status.held
        assert status.status.pid in (shim.pid, None)
        return read_end(shim.files, shim.token, waited)

    async def both(
        self, *argv: str, cwd: Path | None = None, stdin: bytes | None = None
    ) -> tuple[AttemptEnd, bytes, bytes]:
        """The same program started both ways; what they agree on."""
        results = []
        for ahead in (False, True):
            spec = self.spec(*argv, cwd=cwd, stdin=stdin)
            if ahead:
                await self.start(spec)
            end = await self.play(spec, warm=ahead)
            out, err = (
                file.read_bytes().replace(spec.token.encode(), b"TOKEN")
                for file in (spec.files.stdout, spec.files.stderr)
            )
            results.append((end, out, err))
        assert results[0] == results[1]
        return results[0]

    def held(self, spec: LaunchSpec) -> bool:
        return look_at_status(spec.files.status).held

    def left(self) -> list[str]:
        return list(find_tokens(self.tokens))


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    stand = Stand(tmp_path)
    before = len(os.listdir("/dev/fd"))
    yield stand
    await stand.warm.close()
    left = find_tokens(stand.tokens)
    for procs in left.values():
        for proc in procs:
            send_signal(proc, signal.SIGKILL)
    assert not left
    assert not Waiter.awaited()
    stand.waiter.close()
    assert len(os.listdir("/dev/fd")) == before


@pytest.fixture(params=["/bin/sh", "/bin/bash"])
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Any POSIX shell can be the shim's."""
    if not os.path.exists(request.param):
        pytest.skip(f"no {request.param} here")
    monkeypatch.setattr(warm_module, "SHELL", request.param)
    return str(request.param)


# --- the same result ------------------------------------------------------------------------------


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.usefixtures("shell")
async def test_every_argument_arrives_as_it_is(stand: Stand, word: str) -> None:
    end, out, err = await stand.both("/usr/bin/printf", "%s|", word, "x", word, "")
    assert (end, err) == (AttemptEnd(0), b"")
    assert out == os.fsencode(f"{word}|x|{word}||")


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("name", ["with space", 'it\'s "quoted"', "new\nline", "ç ♫", "-x", "a;b"])
async def test_odd_paths(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    program = folder / "prog ram"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o755)
    stand = Stand(folder)
    end, out, _ = await stand.both(str(program), cwd=folder)
    stand.waiter.close()
    assert end == AttemptEnd(0)
    assert out.decode() == f"{folder}\n"


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("stdin", [None, b"", b"one\n\0\xff", b"x" * 65536])
async def test_input(stand: Stand, stdin: bytes | None) -> None:
    end, out, _ = await stand.both("/bin/cat", stdin=stdin)
    assert (end, out) == (AttemptEnd(0), stdin or b"")


async def test_input_can_be_read_twice_and_has_a_size(stand: Stand) -> None:
    text = "cat; cat /dev/stdin; test -f /dev/stdin && echo file; test -s /dev/stdin && echo size"
    _, out, _ = await stand.both(SH, "-c", text, stdin=b"once\n")
    assert out == b"once\nonce\nfile\nsize\n"


async def test_without_input_it_is_the_null_device(stand: Stand) -> None:
    _, out, _ = await stand.both("/bin/readlink", "/proc/self/fd/0")
    assert out == b"/dev/null\n"


@pytest.mark.usefixtures("shell")
async def test_the_instrument_gets_no_descriptor_of_ours(stand: Stand) -> None:
    for stdin in (None, b"text"):
        end, out, _ = await stand.both("/bin/ls", "/proc/self/fd", stdin=stdin)
        assert (end, out) == (AttemptEnd(0), b"0\n1\n2\n3\n")  # 3 is the folder it reads


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("exit 0", AttemptEnd(0)),
        ("echo no >&2; exit 3", AttemptEnd(3)),
        ("exit 124", AttemptEnd(124)),
        ("exit 126", AttemptEnd(126)),
        ("exit 255", AttemptEnd(255)),
        ("kill -9 $$", AttemptEnd(137, 9)),
        ("kill -TERM $$", AttemptEnd(143, 15)),
        ("kill -SEGV $$", AttemptEnd(139, 11)),
    ],
)
async def test_ends(stand: Stand, script: str, end: AttemptEnd) -> None:
    assert (await stand.both(SH, "-c", script))[0] == end


async def test_a_program_that_cannot_be_executed(stand: Stand, tmp_path: Path) -> None:
    program = tmp_path / "no program"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    end, _, _ = await stand.both(str(program))
    assert end.exit_status == 126
    assert end.launch_failure
    program.write_text("#!/nowhere/sh\n")
    end, _, _ = await stand.both(str(program))
    assert end.exit_status in (126, 127)
    assert end.launch_failure


async def test_the_environment_is_the_given_one_and_its_own_token(stand: Stand) -> None:
    stand.env = {"A": "1", "MARIANNE_ATTEMPT": "of another"}
    _, out, _ = await stand.both("/usr/bin/env")
    assert {b"A=1", b"MARIANNE_ATTEMPT=TOKEN"} <= set(out.splitlines())


async def test_it_leads_a_session_and_signals_are_default(stand: Stand) -> None:
    spec = stand.spec(SH, "-c", "ps -o sid= -p $$ || true; grep Sig /proc/self/status")
    await stand.start(spec)
    await stand.play(spec, warm=True)
    pid = look_at_status(spec.files.status).status.pid
    lines = spec.files.stdout.read_text().split("\n")
    masks = dict(line.split(":\t") for line in lines if line.startswith("Sig"))
    assert int(masks["SigBlk"], 16) == int(masks["SigIgn"], 16) & 0x7FFFFFFF == 0
    if lines[0].strip().isdigit():
        assert int(lines[0]) == pid


@pytest.mark.usefixtures("shell")
async def test_terminating_the_session_leaves_the_exit_line(stand: Stand) -> None:
    spec = stand.spec(SH, "-c", "echo up; exec sleep 60")
    await stand.start(spec)
    await stand.warm.make_way(spec)
    shim = stand.warm.launch(spec)
    assert shim is not None
    assert shim.gone is not None
    async with asyncio.timeout(PATIENCE):
        while not spec.files.stdout.read_bytes():  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(0.001)
        assert stand.held(spec)
        os.killpg(shim.pid, signal.SIGTERM)
        assert read_end(spec.files, spec.token, await shim.gone) == AttemptEnd(143, 15)


# --- what does not fit is started the ordinary way -----------------------------------------------


async def test_input_of_600_kb_comes_from_a_file(stand: Stand) -> None:
    spec = stand.spec("/bin/cat", stdin=os.urandom(600_000))
    await stand.start(spec)
    assert await stand.play(spec, warm=False) == AttemptEnd(0)
    assert spec.files.stdout.read_bytes() == spec.stdin


async def test_an_order_is_written_whole_or_not_at_all(stand: Stand) -> None:
    """So one that a pipe may take in two parts is not given through it."""
    for size, ahead in ((3_500, True), (4_100, False), (120_000, False)):
        spec = stand.spec("/usr/bin/printf", "%s", "x" * size)
        await stand.start(spec)
        assert await stand.play(spec, warm=ahead) == AttemptEnd(0)
        assert len(spec.files.stdout.read_bytes()) == size


async def test_another_environment(stand: Stand) -> None:
    spec = stand.spec("/usr/bin/env")
    stand.warm.start(spec.token, spec.files, {**spec.env, "A": "2"})
    assert await stand.play(spec, warm=False) == AttemptEnd(0)
    assert "A=1" in spec.files.stdout.read_text().splitlines()


async def test_another_attempt_leaves_the_one_that_waits_alone(stand: Stand) -> None:
    next_one, other = stand.spec("/bin/true"), stand.spec("/bin/false")
    await stand.start(next_one)
    assert await stand.play(other, warm=False) == AttemptEnd(1)
    assert stand.held(next_one)
    assert await stand.play(next_one, warm=True) == AttemptEnd(0)


async def test_a_nul_byte_is_refused_as_ever(stand: Stand) -> None:
    spec = stand.spec("/bin/echo", "a\0b")
    await stand.start(spec)
    with pytest.raises(LaunchError, match="null byte"):
        await stand.play(spec, warm=False)


async def test_a_working_directory_that_is_gone_is_refused_as_ever(stand: Stand) -> None:
    spec = stand.spec("/bin/true", cwd=stand.run_dir / "gone")
    await stand.start(spec)
    with pytest.raises(LaunchError, match="does not exist") as caught:
        await stand.play(spec, warm=True)
    assert caught.value.code == "E603"


async def test_one_that_was_killed_while_it_waited(stand: Stand) -> None:
    for noticed in (False, True):
        spec = stand.spec("/bin/echo", "played")
        await stand.start(spec)
        (proc,) = find_tokens([spec.token])[spec.token]
        os.kill(proc.pid, signal.SIGKILL)
        if noticed:
            async with asyncio.timeout(PATIENCE):
                while stand.warm.token is not None:  # noqa: ASYNC110 -- told by no event
                    await asyncio.sleep(0.001)
        else:
            _await_death(proc.pid)  # the loop must not notice
        assert await stand.play(spec, warm=False) == AttemptEnd(0)
        assert spec.files.stdout.read_bytes() == b"played\n"


# --- unused, it was never there -------------------------------------------------------------------


async def test_one_that_is_not_needed_leaves(stand: Stand) -> None:
    spec = stand.spec("/bin/true")
    await stand.start(spec)
    assert stand.held(spec)
    stand.warm.drop()
    assert stand.warm.token is None
    await stand.warm.close()
    assert not stand.held(spec)
    assert look_at_status(spec.files.status).status == StatusFile()
    assert examine(AttemptRecord(spec.token, spec.files, boot_id())) == NeverRan()


async def test_dropped_and_wanted_after_all(stand: Stand) -> None:
    spec = stand.spec("/bin/true")
    await stand.start(spec)
    stand.warm.drop()
    stand.warm.start(spec.token, spec.files, spec.env)
    assert stand.warm.token is None  # its lock is still held
    assert await stand.play(spec, warm=False) == AttemptEnd(0)


async def test_the_same_attempt_under_another_token(stand: Stand) -> None:
    """It never ran, and was given up and intended anew."""
    for leaving in (False, True):
        spec = stand.spec("/bin/true")
        await stand.start(spec)
        if leaving:
            stand.warm.drop()
        again = replace(spec, token=new_token())
        stand.tokens.append(again.token)
        assert await stand.play(again, warm=False) == AttemptEnd(0)


async def test_a_stopped_one_is_ended_too(stand: Stand) -> None:
    spec = stand.spec("/bin/true")
    await stand.start(spec)
    (proc,) = find_tokens([spec.token])[spec.token]
    os.kill(proc.pid, signal.SIGSTOP)
    async with asyncio.timeout(PATIENCE):
        await stand.warm.close()
    assert not stand.held(spec)


async def test_one_waits_at_a_time(stand: Stand) -> None:
    first, second = stand.spec("/bin/true"), stand.spec("/bin/true")
    await stand.start(first)
    stand.warm.start(second.token, second.files, second.env)
    assert stand.warm.token == first.token
    assert not second.files.status.exists()


async def test_a_run_directory_can_be_cleared_while_one_waits(stand: Stand, tmp_path: Path) -> None:
    spec = stand.spec("/bin/true")
    await stand.start(spec)
    shutil.rmtree(tmp_path)
    assert stand.warm.token == spec.token


async def test_dropped_while_it_is_being_started(stand: Stand) -> None:
    spec = stand.spec("/bin/true")
    stand.warm.start(spec.token, spec.files, spec.env)
    stand.warm.drop()
    await stand.warm.settle()
    assert stand.warm.token is None
    assert not stand.held(spec)
    assert not find_tokens([spec.token])
    assert await stand.play(spec, warm=False) == AttemptEnd(0)


async def test_wanted_while_it_is_being_started(stand: Stand) -> None:
    spec = stand.spec("/bin/true")
    stand.warm.start(spec.token, spec.files, spec.env)
    assert await stand.play(spec, warm=True) == AttemptEnd(0)


async def test_whatever_is_lacking_there_is_just_none(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EAGAIN, "no more")

    spec = stand.spec("/bin/true")
    for where, what in (
        (os, "pipe"),
        (os, "memfd_create"),
        (spawn_module, "_spawn"),
        (os, "pidfd_open"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, what, refuse)
            stand.warm.start(spec.token, spec.files, spec.env)
            await stand.warm.ready()
        assert stand.warm.token is None
        assert not stand.held(spec)
    missing = AttemptFiles(stand.run_dir / "gone", 1, 1)
    stand.warm.start(spec.token, missing, spec.env)
    await stand.warm.ready()
    assert stand.warm.token is None
    assert await stand.play(spec, warm=False) == AttemptEnd(0)


async def test_systems_without_pidfds_start_nothing_ahead(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARIANNE_NO_PIDFD", "1")
    spec = stand.spec("/bin/true")
    stand.warm.start(spec.token, spec.files, spec.env)
    assert stand.warm.token is None


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("settled", [True, False])
def test_a_killed_conductor_leaves_nothing(tmp_path: Path, settled: bool) -> None:
    token = new_token()
    host = textwrap.dedent(
        f"""
        import asyncio, os, signal, time
        from pathlib import Path
        from marianne_core.run import warm
        from marianne_core.run.attempt_files import AttemptFiles
        from marianne_core.run.spawn import Spawner
        from marianne_core.run.waiter import Waiter
        async def main():
            warm.SHELL = {warm_module.SHELL!r}
            place = warm.Warm(Waiter(), Spawner())
            place.start({token!r}, AttemptFiles(Path({str(tmp_path)!r}), 1, 1), dict(os.environ))
            assert place.token
            await place.ready()
            assert place.token
            if {settled}:
                time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
        """
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", host], env=env, timeout=PATIENCE, check=False)
    assert done.returncode == -signal.SIGKILL
    files = AttemptFiles(tmp_path, 1, 1)
    deadline = time.monotonic() + 1.0
    while find_tokens([token]) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not find_tokens([token])
    assert not look_at_status(files.status).held
    assert (files.stdout.read_bytes(), files.stderr.read_bytes()) == (b"", b"")
    assert examine(AttemptRecord(token, files, boot_id())) == NeverRan()


async def test_a_token_that_is_none_is_refused(stand: Stand) -> None:
    with pytest.raises(ValueError, match="token"):
        stand.warm.start("a b", AttemptFiles(stand.run_dir, 1, 1), {})
