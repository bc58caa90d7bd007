"""What a sheet is told about the sheets before it: their output, and files of the workspace.

Field reference, section 2.4. Outputs come from the whole stored file of the last attempt, so they
are there after a restart too, and `max_output_chars` means what it says. Everything is looked up
when a template asks for it and not before: a prompt that shows one output of ten thousand costs one
look and one short read, and of a large file no more is read than is shown. What was looked up once
stays the same for the whole prompt. Credentials are blacked out.
"""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path

from marianne_core.config.score.surroundings import CrossSheetConfig
from marianne_core.model.states import SheetStatus
from marianne_core.plan.lazy import Numbers, Texts
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import TemplateProblem, cached_template
from marianne_core.plan.variables import template_variables
from marianne_core.read.redact import LONGEST, redact

SKIPPED = "[SKIPPED]"
"""Stands for the output of a sheet that was skipped."""
MAX_FILES = 1000
"""Files that `capture_files` may bring into one prompt."""


@dataclass(slots=True)
class CrossSheet:
    """Context from other sheets, for one prompt."""

    previous_outputs: Mapping[int, str] = field(default_factory=dict)
    """Output by sheet number; only sheets that completed or were skipped are in it."""
    previous_files: Mapping[str, str] = field(default_factory=dict)
    """Text by absolute path."""
    skipped_upstream: Sequence[int] = field(default_factory=list)
    """Sheets that were skipped, of those looked back at and those this one depends on."""
    warnings: list[str] = field(default_factory=list)
    """What went wrong while reading; complete once the texts were read."""


def window_of(settings: CrossSheetConfig, num: int) -> range:
    """The sheets that sheet `num` looks back at."""
    lookback = settings.lookback_sheets
    return range(max(1, num - lookback) if lookback else 1, num)


def collect(
    plan: Plan,
    num: int,
    stdout_of: Callable[[int], Path | None],
    status_of: Callable[[int], SheetStatus],
) -> CrossSheet:
    """Context for sheet `num`; nothing is looked at before a template asks.

    `stdout_of` gives the file with the whole output of a sheet's last attempt (its result text,
    for instruments that wrap it), or None; `status_of` where a sheet stands now. Both are called
    from the thread that renders.
    """
    cross = CrossSheet()
    settings = plan.config.cross_sheet
    if settings is None:
        return cross
    window = window_of(settings, num)
    status = cache(status_of)

    def find_skipped() -> Sequence[int]:
        near = chain(window, *plan.sheet(num).deps)
        return sorted({n for n in near if status(n) is SheetStatus.SKIPPED})

    cross.skipped_upstream = Numbers(find_skipped)
    if settings.auto_capture_stdout:
        cross.previous_outputs = _outputs(window, stdout_of, status, settings, cross.warnings)
    if settings.capture_files:
        cross.previous_files = _files(plan, num, settings, cross)
    return cross


def _outputs(
    window: range,
    stdout_of: Callable[[int], Path | None],
    status: Callable[[int], SheetStatus],
    settings: CrossSheetConfig,
    warnings: list[str],
) -> Texts[int]:
    file_of = cache(stdout_of)

    def has(num: int) -> bool:
        stands = status(num)
        if stands is SheetStatus.COMPLETED:
            return file_of(num) is not None
        return stands is SheetStatus.SKIPPED

    def read(num: int) -> str:
        file = file_of(num) if status(num) is SheetStatus.COMPLETED else None
        return SKIPPED if file is None else _output(file, settings.max_output_chars, num, warnings)

    return Texts(lambda: window, has, read)


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


def _files(plan: Plan, num: int, settings: CrossSheetConfig, cross: CrossSheet) -> Texts[str]:
    @cache
    def text_of(path: str) -> str | None:
        """The beginning of a file; None when it is no text or cannot be read."""
        try:
            return read_head(Path(path), settings.max_output_chars, errors="strict")
        except UnicodeDecodeError:
            return None
        except OSError as error:
            cross.warnings.append(f"capture_files: {path} cannot be read: {error.strerror}")
            return None

    return Texts(
        lambda: _captured(plan, num, settings.capture_files, cross),
        lambda path: text_of(path) is not None,
        lambda path: text_of(path) or "",
    )


def _captured(plan: Plan, num: int, patterns: list[str], cross: CrossSheet) -> dict[str, None]:
    """Absolute paths of the files that the patterns name, in order, each once."""
    found: dict[str, None] = {}
    for pattern in patterns:
        for path in _matches(plan, num, pattern, cross):
            if path in found or not os.path.isfile(path):
                continue
            if len(found) >= MAX_FILES:
                cross.warnings.append(f"capture_files: only the first {MAX_FILES} files are taken")
                return found
            found[path] = None
    return found


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
