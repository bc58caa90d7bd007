"""What a sheet is told about the sheets before it: their output, and files of the workspace.

Field reference, section 2.4. Outputs come from the whole stored file of the last attempt, so they
are there after a restart too, and `max_output_chars` means what it says. Both mappings read when
a template asks, so a sheet whose prompt uses neither costs nothing; of a large file no more is
read than is shown. Credentials are blacked out in both.
"""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from marianne_core.model.states import SheetStatus
from marianne_core.plan.redact import LONGEST, redact
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import TemplateProblem, cached_template
from marianne_core.plan.variables import template_variables

SKIPPED = "[SKIPPED]"
"""Stands for the output of a sheet that was skipped."""
MAX_FILES = 1000
"""Files that `capture_files` may bring into one prompt."""

K = TypeVar("K")


class Texts(Mapping[K, str]):
    """Texts by key; each is read when it is first asked for."""

    def __init__(self, keys: Callable[[], list[K]], read: Callable[[K], str]) -> None:
        self._find = keys
        self._read = read
        self._keys: dict[K, None] | None = None
        self._texts: dict[K, str] = {}

    def _known(self) -> dict[K, None]:
        if self._keys is None:
            self._keys = dict.fromkeys(self._find())
        return self._keys

    def __getitem__(self, key: K) -> str:
        if key not in self._texts:
            if key not in self._known():
                raise KeyError(key)
            self._texts[key] = self._read(key)
        return self._texts[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(slots=True)
class CrossSheet:
    """Context from other sheets, for one prompt."""

    previous_outputs: Mapping[int, str] = field(default_factory=dict)
    """Output by sheet number; only sheets that completed or were skipped are in it."""
    previous_files: Mapping[str, str] = field(default_factory=dict)
    """Text by absolute path."""
    skipped_upstream: tuple[int, ...] = ()
    """Sheets that were skipped, of those looked back at and those this one depends on."""
    warnings: list[str] = field(default_factory=list)
    """What went wrong while reading; complete once the texts were read."""


def collect(
    plan: Plan,
    num: int,
    stdout_of: Callable[[int], Path | None],
    status_of: Callable[[int], SheetStatus],
) -> CrossSheet:
    """Context for sheet `num`.

    `stdout_of` gives the file with the whole output of a sheet's last attempt (its result text,
    for instruments that wrap it), or None; `status_of` where a sheet stands now.
    """
    cross = CrossSheet()
    settings = plan.config.cross_sheet
    if settings is None:
        return cross
    limit = settings.max_output_chars
    first = max(1, num - settings.lookback_sheets) if settings.lookback_sheets else 1
    window = range(first, num)
    skipped = {n for n in window if status_of(n) is SheetStatus.SKIPPED}
    skipped |= {n for r in plan.sheet(num).deps for n in r if status_of(n) is SheetStatus.SKIPPED}
    cross.skipped_upstream = tuple(sorted(skipped))
    if settings.auto_capture_stdout:
        done = {n: stdout_of(n) for n in window if status_of(n) is SheetStatus.COMPLETED}
        files = {n: path for n, path in done.items() if path is not None}
        numbers = [n for n in window if n in files or n in skipped]

        def read_output(n: int) -> str:
            return SKIPPED if n in skipped else _output(files[n], limit, n, cross.warnings)

        cross.previous_outputs = Texts(lambda: numbers, read_output)
    if settings.capture_files:
        captured: dict[str, str] = {}

        def find() -> list[str]:
            captured.update(_captured(plan, num, settings.capture_files, limit, cross))
            return list(captured)

        cross.previous_files = Texts(find, lambda path: captured[path])
    return cross


def _output(path: Path, limit: int, num: int, warnings: list[str]) -> str:
    try:
        return read_head(path, limit)
    except OSError as error:
        warnings.append(f"the output of sheet {num} cannot be read: {error.strerror}")
        return f"[the output of sheet {num} is not stored any more]"


def read_head(path: Path, limit: int, *, errors: str = "replace") -> str:
    """The first `limit` characters of a UTF-8 file, without credentials, and a mark if more follow.

    Raises OSError, and UnicodeDecodeError with `errors="strict"` when the part that is read is
    not UTF-8.
    """
    # A few characters more than are shown: a credential across the edge is recognised whole.
    wanted = (limit + LONGEST) * 4
    with path.open("rb") as file:
        data = file.read(wanted)
        size = os.fstat(file.fileno()).st_size
    whole = len(data) < wanted
    decoder = codecs.getincrementaldecoder("utf-8")(errors=errors)
    # No argument of a program can hold a NUL, and no person reads one.
    text = redact(decoder.decode(data, final=whole).replace("\0", "\ufffd"))
    if whole and len(text) <= limit:
        return text
    return f"{text[:limit]}\n[... cut after {limit} characters; the whole has {size} bytes]"


def _captured(
    plan: Plan, num: int, patterns: list[str], limit: int, cross: CrossSheet
) -> Iterator[tuple[str, str]]:
    """(absolute path, text) of every text file the patterns name, in order, each once."""
    seen: set[str] = set()
    for pattern in patterns:
        for path in _matches(plan, num, pattern, cross):
            if path in seen or not os.path.isfile(path):
                continue
            if len(seen) >= MAX_FILES:
                cross.warnings.append(f"capture_files: only the first {MAX_FILES} files are taken")
                return
            seen.add(path)
            try:
                yield path, read_head(Path(path), limit, errors="strict")
            except UnicodeDecodeError:
                continue
            except OSError as error:
                cross.warnings.append(f"capture_files: {path} cannot be read: {error.strerror}")


def _matches(plan: Plan, num: int, pattern: str, cross: CrossSheet) -> list[str]:
    variables = template_variables(
        plan,
        num,
        previous_outputs=cross.previous_outputs,
        skipped_upstream=cross.skipped_upstream,
    )
    try:
        rendered = cached_template(pattern).render(variables).strip()
    except TemplateProblem as error:
        cross.warnings.append(f"capture_files: {pattern!r}: {error.what}")
        return []
    if not rendered:
        return []
    # The workspace's own name is no pattern, even if it holds a star.
    below = os.path.join(glob.escape(str(plan.workspace)), rendered)
    own = str(plan.workspace)
    if rendered.startswith(own + os.sep):
        below = glob.escape(own) + rendered[len(own) :]
    return sorted(os.path.normpath(found) for found in glob.iglob(below, recursive=True))
