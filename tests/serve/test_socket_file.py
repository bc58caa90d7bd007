"""The socket's file: who can reach it, and what it refuses to stand on."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from marianne_core.model.errors import StateError
from marianne_core.serve.server import SocketServer
from marianne_core.serve.socket_file import SocketFile, peer_uid
from tests.contract.fake_service import FakeService

ROOT = os.geteuid() == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "mzt.sock"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_reaches_it_whatever_the_umask(path: Path, umask: int) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    before = os.umask(umask)
    try:
        file = SocketFile(path)
        with file.listen():
            assert os.umask(umask) == umask
            assert mode(path) & 0o077 == 0
            assert mode(path.parent) == 0o700
    finally:
        os.umask(before)


def test_the_mode_is_right_from_the_first_moment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    listen = socket.socket.listen

    def look(self: socket.socket, backlog: int) -> None:
        modes.append(mode(path))
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", look)
    monkeypatch.setattr(Path, "chmod", lambda *_: pytest.fail("a chmod leaves a gap"))
    path.parent.mkdir(mode=0o700)
    with SocketFile(path).listen():
        assert modes == [0o700]


def test_a_stale_socket_is_replaced(path: Path) -> None:
    SocketFile(path).listen().close()
    assert path.exists()
    with SocketFile(path).listen(), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_symbolic_link_is_refused_and_stays(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError) as refusal:
        SocketFile(path).listen()
    assert str(path) in str(refusal.value)
    assert path.is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path.parent.symlink_to(tmp_path / "real")
    with pytest.raises(StateError):
        SocketFile(path).listen()
    assert list((tmp_path / "real").iterdir()) == []


def test_a_file_in_its_place_is_not_removed(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(StateError, match="not a socket"):
        SocketFile(path).listen()
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="MARIANNE_HOME"):
        SocketFile(tmp_path / ("x" * 120) / "mzt.sock").listen()


def test_only_our_own_socket_is_removed(path: Path) -> None:
    first, second = SocketFile(path), SocketFile(path)
    with first.listen(), second.listen():
        first.remove()
        assert path.exists()
        second.remove()
        assert not path.exists()
    second.remove()


def test_the_peer_is_known() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_uid(ours) == os.geteuid()


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
except PermissionError:
    print("permission denied")
else:
    s.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.health"}\\n')
    answer = b""
    try:
        while chunk := s.recv(65536):
            answer += chunk
    except ConnectionResetError:
        pass
    print(answer.decode())
"""


def open_to_all(path: Path) -> None:
    path.chmod(0o777)
    for folder in path.parents:
        if folder.stat().st_uid == os.geteuid() and folder.parent != folder:
            folder.chmod(folder.stat().st_mode | 0o011)


async def as_stranger(path: Path) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-c", STRANGER, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd="/",
    )
    return done.stdout


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
async def test_another_user_cannot_even_connect(path: Path) -> None:
    async with SocketServer(path, FakeService()):
        assert await as_stranger(path) == "permission denied\n"


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
async def test_another_user_who_gets_in_is_refused(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SocketServer(path, FakeService()):
        # As if permissions had been opened by hand: the peer's uid is looked at all the same.
        open_to_all(path)
        answer = await as_stranger(path)
    assert "another user" in answer
    assert '"result"' not in answer
    assert "server.stranger_refused" in caplog.text
