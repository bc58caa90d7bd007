"""Looking at files that anybody may have made: missing, strange, unreadable, endless."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TextIO

from marianne_core.model.outcome import FailureCategory
from marianne_core.run.validate.baseline import Baseline
from marianne_core.run.validate.verdict import Fault, Verdict

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def look_at(path: Path) -> os.stat_result | Fault:
    """The state of a regular file (links are followed), or why there is none. Never raises."""
    try:
        state = os.stat(path)
    except (OSError, ValueError) as error:
        return _fault(path, error)
    return _not_regular(path, state) or state


def open_text(path: Path) -> TextIO | Fault:
    """A regular file opened for reading as UTF-8, or why that is not possible. Never blocks.

    Bytes that are not UTF-8 become U+FFFD, a byte order mark is left out, and every kind of line
    end is read as a newline.
    """
    try:
        # Opening a pipe would wait for its writer without O_NONBLOCK; what was opened is checked
        # again, because it may have been replaced since anybody looked.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return _fault(path, error)
    strange = _not_regular(path, os.fstat(fd))
    if strange:
        os.close(fd)
        return strange
    return open(fd, encoding="utf-8-sig", errors="replace", newline=None)


def file_exists(path: Path) -> Verdict:
    """The rule `file_exists`: a regular file, of any size."""
    expected = f"a file {path}"
    seen = look_at(path)
    if isinstance(seen, Fault):
        return seen.verdict(expected)
    return Verdict(True, expected, f"a file of {seen.st_size} bytes")


def file_modified(path: Path, baseline: Baseline) -> Verdict:
    """The rule `file_modified`: a regular file that is new, or not as it was before the attempt."""
    expected = f"{path} made or changed by this attempt"
    seen = look_at(path)
    if isinstance(seen, Fault):
        return seen.verdict(expected)
    change = baseline.change(path, seen)
    if change:
        return Verdict(True, expected, change)
    return Verdict(
        False,
        expected,
        f"unchanged, {seen.st_size} bytes",
        f"{path.name} is as it was before the attempt",
        FailureCategory.STALE,
        f"Change {path} as the task asks, and save it.",
    )


def read_fault(path: Path, error: OSError | ValueError) -> Fault:
    """Why reading a file that was there went wrong."""
    return _fault(path, error)


def _not_regular(path: Path, state: os.stat_result) -> Fault | None:
    if stat.S_ISREG(state.st_mode):
        return None
    kind = _KINDS.get(stat.S_IFMT(state.st_mode), "something that is not a file")
    return Fault(
        kind,
        f"{path} is {kind}, not a file",
        FailureCategory.MISSING,
        # An agent does what it is told here: nothing that destroys what somebody made.
        f"Leave {path} as it is. The rule looks for a regular file there: its path in the score "
        "must be corrected, or the thing that is there made under another name.",
    )


def _fault(path: Path, error: OSError | ValueError) -> Fault:
    if not isinstance(error, OSError):
        # A path with a NUL, or one that the file system's encoding cannot express.
        words = str(error)
        return Fault(
            "not a path",
            f"{str(path)!r} is not a path: {words}",
            FailureCategory.ERROR,
            "Correct the rule's path in the score.",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return _missing(path)
    words = os.strerror(error.errno) if error.errno else str(error)
    return Fault(
        f"cannot be looked at: {words}",
        f"{path} cannot be looked at: {words}",
        FailureCategory.ERROR,
        f"See to it that {path} is a file that the conductor may read.",
    )


def _missing(path: Path) -> Fault:
    """A file that is not there; the nearest thing that is wrong is named."""
    fix = f"Write {path}."
    try:
        target = os.readlink(path)
    except OSError:
        target = ""
    if target:
        reason = f"{path} is a link to {target}, which is not there"
        return Fault("a dangling link", reason, FailureCategory.MISSING, fix)
    folder = path.parent
    if os.path.isdir(folder):
        return Fault("missing", f"{path} does not exist", FailureCategory.MISSING, fix)
    while not os.path.lexists(folder):
        folder = folder.parent
    if os.path.isdir(folder):
        reason = f"{path} does not exist, and neither does its folder"
    else:
        reason = f"{folder}, on the way to {path.name}, is not a folder"
    return Fault("missing", reason, FailureCategory.MISSING, fix)
