"""The folder a score works in: checked before a run, emptied or archived for a fresh one."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

from marianne_core.config.checks.files import may_be_written
from marianne_core.config.score.surroundings import WorkspaceLifecycleConfig
from marianne_core.model.errors import InputError
from marianne_core.run.system_errors import shortage_of

_ITERATION = ".iteration"


def check_workspace(workspace: Path) -> None:
    """Refuse a workspace of which it can be told that it cannot be made or written.

    Raises InputError naming the folder and the remedy. Nothing is made. Only a workspace directly
    under a folder that exists is accepted, so that a typing mistake does not grow a tree of folders.
    """
    # By os.path: a name that is too long is for Path an error of its own.
    if os.path.isdir(workspace):
        if not may_be_written(workspace):
            raise InputError(
                "the workspace cannot be written",
                where=str(workspace),
                hint="make it writable, or choose another with -w",
            )
        return
    if os.path.lexists(workspace) and not os.path.isdir(workspace):  # it may be made this moment
        raise InputError(
            "the workspace is not a folder", where=str(workspace), hint="choose another with -w"
        )
    parent = workspace.parent
    if parent == Path.home() / "workspaces":
        parent.mkdir(exist_ok=True)  # where scores without a workspace work
    if not os.path.isdir(parent):
        raise InputError(
            "the folder that should hold the workspace does not exist",
            where=str(parent),
            hint=f"mkdir -p {parent}",
        )
    if not may_be_written(parent):
        raise InputError(
            "the folder that should hold the workspace cannot be written",
            where=str(parent),
            hint="make it writable, or choose another workspace with -w",
        )


def make_workspace(workspace: Path) -> None:
    """Make the workspace, or see that files can be made in the one that is there.

    Raises InputError naming the folder and the remedy: whoever submits a score is told at once what
    every sheet would fail with. A disk that is full or a lack of means is no reason: sheets wait
    until that is over.
    """
    try:
        workspace.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=workspace):
            pass
    except OSError as error:
        if shortage_of(error) is not None:
            return
        raise InputError(
            f"the workspace cannot be {'written' if os.path.isdir(workspace) else 'made'}:"
            f" {error.strerror or error}",
            where=str(workspace),
            hint="choose another with -w",
        ) from error


def check_fresh(workspace: Path, lifecycle: WorkspaceLifecycleConfig, *, score: Path) -> None:
    """Refuse to empty a folder that is plainly not only a workspace.

    Raises InputError for one that holds the score itself, a git checkout, or the home folder, unless
    its content is archived.
    """
    if not os.path.isdir(workspace):
        return
    if not os.access(workspace, os.R_OK):
        raise InputError(
            "the workspace cannot be read, and --fresh would empty it",
            where=str(workspace),
            hint="make it readable, or choose another with -w",
        )
    if not lifecycle.archive_on_fresh and any(workspace.iterdir()):
        _refuse_precious(workspace, score)


def make_fresh(
    workspace: Path, lifecycle: WorkspaceLifecycleConfig, *, score: Path, now: float
) -> str:
    """Give a fresh run a clean workspace; returns one line that says what was done.

    With `archive_on_fresh` the content moves to a folder of the archive, named by iteration or by
    `now` (wall clock, seconds); without, it is removed. What `preserve_patterns` names stays.
    Raises InputError as `check_fresh`, OSError when it cannot be done.
    """
    check_fresh(workspace, lifecycle, score=score)
    if not workspace.is_dir() or not any(workspace.iterdir()):
        return "the workspace was empty already"
    keep = [*lifecycle.preserve_patterns, f"{lifecycle.archive_dir}/**"]
    moving = [entry for entry in sorted(workspace.iterdir()) if not _kept(entry.name, keep)]
    if not lifecycle.archive_on_fresh:
        for entry in moving:
            _remove(entry)
        return f"removed {len(moving)} entries of {workspace}"
    archive = workspace / lifecycle.archive_dir
    target = _archive_name(workspace, archive, lifecycle.archive_naming, now)
    target.mkdir(parents=True)
    for entry in moving:
        shutil.move(entry, target / entry.name)
    if lifecycle.max_archives:
        old = sorted((p for p in archive.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
        for path in old[: -lifecycle.max_archives]:
            shutil.rmtree(path)
    return f"archived {len(moving)} entries to {target}"


def _refuse_precious(workspace: Path, score: Path) -> None:
    workspace = workspace.resolve()
    reason = None
    if (workspace / ".git").exists():
        reason = "it is a git checkout"
    elif score.resolve().is_relative_to(workspace):
        reason = "it holds the score itself"
    elif workspace == Path.home() or Path.home().is_relative_to(workspace):
        reason = "it holds your home folder"
    if reason:
        raise InputError(
            f"--fresh would empty the workspace, but {reason}",
            where=str(workspace),
            hint="set workspace_lifecycle.archive_on_fresh: true, or choose another workspace with -w",
        )


def _kept(name: str, patterns: list[str]) -> bool:
    """`archive/**` keeps the folder `archive`; other patterns are matched against the entry's name."""
    return any(name == p.removesuffix("/**") or fnmatch(name, p) for p in patterns)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _archive_name(workspace: Path, archive: Path, naming: str, now: float) -> Path:
    if naming == "timestamp":
        stem = datetime.fromtimestamp(now).astimezone().strftime("%Y%m%d-%H%M%S")
        number, target = 1, archive / stem
    else:
        counter = workspace / _ITERATION
        text = counter.read_text(encoding="utf-8").strip() if counter.is_file() else ""
        number = int(text) + 1 if text.isdecimal() else 1
        stem = "iteration"
        target = archive / f"{stem}-{number}"
    while target.exists():
        number += 1
        target = archive / f"{stem}-{number}"
    if naming != "timestamp":
        counter.write_text(f"{number}\n", encoding="utf-8")
    return target
