"""The state directory: where it is found, how it is made, when it is refused."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import marianne_core
from marianne_core.model.errors import InputError, StateError
from marianne_core.remember.home import SOCKET_PATH_LIMIT, Home, private_folder

CORE = str(Path(marianne_core.__file__).parents[1])


@pytest.mark.parametrize(
    ("env", "root"),
    [
        ({"HOME": "/h"}, "/h/.local/state/marianne"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x"}, "/x/marianne"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, "/h/.local/state/marianne"),
        ({"HOME": "/h", "XDG_STATE_HOME": ""}, "/h/.local/state/marianne"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x", "MARIANNE_HOME": "/m/"}, "/m"),
        ({"HOME": "/h", "MARIANNE_HOME": "~/m"}, "/h/m"),
        ({"HOME": "/h", "MARIANNE_HOME": ""}, "/h/.local/state/marianne"),
    ],
)
def test_found_by_the_environment(env: dict[str, str], root: str) -> None:
    assert Home.find(env).root == Path(root)


def test_relative_root_counts_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.find({"MARIANNE_HOME": "state"}).root == tmp_path / "state"


def test_clone_is_inside_and_its_name_is_checked() -> None:
    home = Home(Path("/s"))
    assert home.clone("two").root == Path("/s/clones/two")
    for name in ("", "../x", "a/b", "-x", "a" * 65, "a\n"):
        with pytest.raises(InputError):
            home.clone(name)


def test_prepare_makes_private_folders_under_any_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        home = Home(tmp_path / "a" / "b")
        home.prepare()
    finally:
        os.umask(old)
    for folder in (home.root, home.runs, home.socket.parent):
        assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
    assert sorted(path.name for path in home.root.iterdir() if path.is_file()) == []
    home.prepare()


def test_prepare_closes_an_open_directory(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir(mode=0o755)
    root.chmod(0o777)
    Home(root).prepare()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StateError, match="symbolic link") as caught:
        Home(tmp_path / "link").prepare()
    assert str(tmp_path / "real") in caught.value.hint
    assert list((tmp_path / "real").iterdir()) == []


def test_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StateError, match="symbolic link"):
        Home(tmp_path / "link").prepare()
    assert not (tmp_path / "nowhere").exists()


def test_foreign_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "state"
    root.mkdir(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: root.stat().st_uid + 1)
    with pytest.raises(StateError, match="belongs to another user") as caught:
        private_folder(root)
    assert "MARIANNE_HOME" in caught.value.hint
    assert stat.S_IMODE(root.stat().st_mode) == 0o755


@pytest.mark.parametrize("where", ["state", "file/state", "file/deep/state"])
def test_file_in_the_way_is_named(tmp_path: Path, where: str) -> None:
    name = where.split("/")[0]
    (tmp_path / name).write_text("mine")
    with pytest.raises(StateError, match="is needed here") as caught:
        Home(tmp_path / where).prepare()
    assert str(tmp_path / name) in caught.value.where
    assert (tmp_path / name).read_text() == "mine"


def test_socket_is_in_the_directory_while_its_path_is_short() -> None:
    assert Home(Path("/s")).socket == Path("/s/run/mzt.sock")


def test_long_socket_path_becomes_a_short_private_one(tmp_path: Path) -> None:
    long = Home(Path("/" + "long" * 30))
    other = Home(Path("/" + "long" * 29 + "lonG"))
    assert len(os.fsencode(long.socket)) <= SOCKET_PATH_LIMIT
    assert long.socket == Home(long.root).socket
    assert long.socket != other.socket
    assert str(os.geteuid()) in long.socket.parent.name
    home = Home(tmp_path / ("x" * 100))
    home.prepare()
    assert stat.S_IMODE(home.socket.parent.lstat().st_mode) == 0o700


READ_ONLY = """
import sys
sys.path.insert(0, {core!r})
from pathlib import Path
from marianne_core.model.errors import StateError
from marianne_core.remember.home import Home
from marianne_core.remember.migrations import open_database
from marianne_core.remember.queries import open_reader
home = Home(Path({root!r}))
for refused in (home.prepare, Home(home.root / "new").prepare, lambda: open_database(home.database)):
    try:
        refused()
    except StateError as error:
        print("refused:", error.what)
        assert error.hint
print("runs:", [run.job_id for run in open_reader(home).list_runs()])
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1)")
async def test_read_only_mount_is_refused_but_can_be_read(store, submit) -> None:
    await submit()
    await store.journal.close()
    root = str(store.home.root)
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && echo mounted && exec "$@"'
    script = READ_ONLY.format(core=CORE, root=root)
    done = await asyncio.to_thread(
        subprocess.run,
        ["unshare", "-rm", "sh", "-c", mount, root, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "mounted" not in done.stdout:
        pytest.skip(f"no mounts here: {done.stderr.strip()[:80]}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[1:]
    assert lines == [
        "refused: the state directory is on a read-only file system",
        "refused: the state directory is on a read-only file system",
        "refused: the database cannot be written: it is read-only for you",
        "runs: ['hello']",
    ]
