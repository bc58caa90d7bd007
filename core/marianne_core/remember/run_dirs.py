"""Removing the directories of runs that are no longer remembered.

Rows go first and are committed, then the files. A crash between the two leaves directories that no
run has: the next conductor sets them aside before it accepts a run, and removes them meanwhile.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from marianne_core.model.errors import StateError
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader

_PORTION = 200
"""Files removed at a time. Mass deletes slow some file systems down for minutes afterwards."""

_ASIDE = ".gone"
"""Ends the names of directories that were set aside: no run can have such a one."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


def set_strays_aside(home: Home) -> list[Path]:
    """Rename the directories of runs that no row knows; returns all that were ever set aside.

    For the holder of the state lock, before it accepts runs: afterwards what is returned can be
    removed at leisure, since not even a run of a store that was made anew could own it. Anything
    whose name is not a run id is left alone. Raises StateError for a store that cannot be read,
    and OSError.
    """
    # The directories before the rows: one is made only after its row was committed.
    folders = _folders(home.runs)
    with open_reader(home) as reader:
        known = {str(run_id) for run_id in reader.run_ids()}
    aside = [folder for folder in folders if folder.name.endswith(_ASIDE)]
    for folder in folders:
        if not (folder.name.isascii() and folder.name.isdecimal()) or folder.name in known:
            continue
        try:
            aside.append(folder.rename(folder.with_name(folder.name + _ASIDE)))
        except OSError as error:
            # Another of this name is being removed, or it is not ours to move: the next start
            # finds it again.
            _log.warning("run_dirs.not_set_aside", extra={"path": str(folder), "why": str(error)})
    return sorted(set(aside))


def removing(folders: Iterable[Path], portion: int = _PORTION) -> Iterator[int]:
    """Remove directories with all that is in them; yields after each portion the files removed so far.

    Whoever iterates decides what happens in between (a pause, other work). Symbolic links are
    removed, not followed; what is gone already does not matter. Raises OSError.
    """
    removed = 0
    for folder in folders:
        if not os.path.islink(folder):
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


def not_removed(error: OSError) -> StateError:
    """The error for runs that are forgotten while some of their files could not be removed."""
    return StateError(
        f"the runs are forgotten, but not all of their files could be removed: {error.strerror}",
        where=str(error.filename),
        hint="correct its permissions; the next conductor tries again",
    )


def _folders(runs: Path) -> list[Path]:
    try:
        with os.scandir(runs) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


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
