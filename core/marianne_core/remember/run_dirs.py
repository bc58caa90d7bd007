"""Removing the directories of runs that are no longer remembered.

Rows go first and are committed, then the files. A crash between the two leaves directories that no
run has; since a run id is never used again, they are found by their names and removed later.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from marianne_core.remember.home import Home

_PORTION = 200
"""Files removed at a time. Mass deletes slow some file systems down for minutes afterwards."""


def stray_run_dirs(home: Home, known: Collection[int]) -> list[Path]:
    """Directories of runs whose ids are not among the `known` ones.

    For the holder of the state lock, before it accepts runs. Anything whose name is not a run id is
    left alone. Raises OSError.
    """
    names = {str(run_id) for run_id in known}
    if not home.runs.exists():
        return []
    return sorted(
        folder
        for folder in home.runs.iterdir()
        if folder.name.isdecimal() and folder.name.isascii() and folder.name not in names
    )


def removing(folders: Iterable[Path], portion: int = _PORTION) -> Iterator[int]:
    """Remove directories with all that is in them; yields after each portion the files removed so far.

    Whoever iterates decides what happens in between (a pause, other work). Symbolic links are
    removed, not followed; what is gone already does not matter. Raises OSError.
    """
    removed = 0
    for folder in folders:
        for where, subfolders, files in os.walk(folder, topdown=False):
            for name in files:
                _unlink(os.path.join(where, name))
                removed += 1
                if removed % portion == 0:
                    yield removed
            for name in subfolders:
                _remove(os.path.join(where, name))
        _remove(folder)
    yield removed


def _unlink(path: str | Path) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _remove(folder: str | Path) -> None:
    if os.path.islink(folder):
        _unlink(folder)
        return
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return
