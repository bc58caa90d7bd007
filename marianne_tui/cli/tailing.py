"""Reading and following the files that attempts write to."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marianne_core.model.states import SheetStatus
from marianne_core.read.dialects import Formatter, counts_on, formatter_of
from marianne_core.read.output_file import PIECE, tail_offset
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import AttemptRow, RunRow, SheetRow
from marianne_tui.cli.output import to_json
from marianne_tui.cli.style import paint, wants_colour

_NAP = 0.1
"""Seconds between two looks at the files."""
_LOOK = 0.5
"""Seconds between two looks at the store for new attempts and ends."""


@dataclass(slots=True)
class Part:
    """One file of one attempt, and how far it was read."""

    sheet: int
    attempt: int
    stream: str
    """`stdout` or `stderr`."""
    path: Path
    dialect: str
    """How its lines are made readable; see `read.dialects`."""
    offset: int = 0
    """Bytes read so far."""
    formatter: Formatter = field(init=False)

    def __post_init__(self) -> None:
        self.formatter = formatter_of(self.dialect)

    @classmethod
    def of(cls, run_dir: Path, row: AttemptRow, stderr: bool, dialect: str) -> Part:
        """The file of an attempt in the directory of its run."""
        # The name is that of run.attempt_files; imported there, it would bring asyncio with it.
        suffix, stream = ("err", "stderr") if stderr else ("out", "stdout")
        path = run_dir / f"{row.num}.{row.attempt}.{suffix}"
        return cls(row.num, row.attempt, stream, path, dialect)

    def as_dict(self, lines: int | None) -> dict[str, Any]:
        """For `--json`, with the last `lines` lines; null when the file is not there."""
        text = self.text(lines) if self.path.exists() else None
        return {
            "sheet": self.sheet,
            "attempt": self.attempt,
            "stream": self.stream,
            "path": str(self.path),
            "text": text,
        }

    def text(self, lines: int | None) -> str:
        """All that is there now, or the last `lines` lines of it."""
        self.skip_to(lines)
        pieces = []
        while data := self.read_on():
            pieces.append(self.formatter.feed(data))
        text = "".join([*pieces, self.formatter.finish()])
        return text if lines is None else last_lines(text, lines)

    def skip_to(self, lines: int | None) -> None:
        """Go to where the last `lines` lines of the file begin, unless lines that are shown depend
        on those before them."""
        if lines is not None and not counts_on(self.dialect):
            with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
                self.offset = tail_offset(file.fileno(), lines)

    def catch_up(self, lines: int) -> str:
        """Read what is there now for the sake of what comes after it: its last `lines` lines."""
        kept = ""
        while data := self.read_on():
            kept = last_lines(kept + self.formatter.feed(data), lines)
        return kept

    def read_on(self) -> bytes:
        """What was appended since the last call, at most one piece; empty at the end."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(PIECE)
        except FileNotFoundError:
            return b""
        self.offset += len(data)
        return data


class Printer:
    """Prints pieces of files on stdout, with a header where another file begins, or whole lines that
    each name their sheet."""

    def __init__(
        self, *, headers: bool, raw: bool, as_json: bool = False, prefix: int | None = None
    ) -> None:
        """`prefix`: name the sheet before each line, in so many digits at least, instead of headers."""
        self._headers = headers
        self._prefix = prefix
        self._colour = wants_colour(sys.stdout)
        self._raw = raw
        self._as_json = as_json
        self._current: tuple[int, int] | None = None
        self._at_line_start = True
        self._rest: dict[tuple[int, int], str] = {}

    def begin(self, part: Part, lines: int | None, *, over: bool) -> None:
        """Print what is there of a file, or its last lines. `over`: nothing is added to it."""
        if lines is not None and not self._raw and counts_on(part.dialect):
            text = part.text(lines) if over else part.catch_up(lines)
            self._write(part, b"", text)
        else:
            part.skip_to(lines)
            self.go_on(part)
        if over:
            self.finish(part)

    def go_on(self, part: Part) -> bool:
        """Print what was added to a file; False when that is nothing."""
        grown = False
        while content := part.read_on():
            grown = True
            self._write(part, content, "" if self._raw else part.formatter.feed(content))
        return grown

    def finish(self, part: Part) -> None:
        """Print what was held back of a file that has ended."""
        rest = "" if self._raw else part.formatter.finish()
        if rest:
            self._write(part, b"", rest)
        if self._as_json or self._prefix is not None:
            text = self._rest.pop((part.sheet, part.attempt), "")
            if text:
                self._line(part, text)
        elif self._headers and not self._at_line_start:
            sys.stdout.write("\n")
            self._at_line_start = True

    def _write(self, part: Part, content: bytes, text: str) -> None:
        if not content and not text:
            return
        if self._as_json or self._prefix is not None:
            key = (part.sheet, part.attempt)
            *whole, rest = (self._rest.get(key, "") + text).split("\n")
            self._rest[key] = rest
            for line in whole:
                self._line(part, line)
            return
        if self._headers and (text or self._raw):
            self._head(part)
        if self._raw:
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            self._at_line_start = content.endswith(b"\n")
        elif text:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._at_line_start = text.endswith("\n")

    def _head(self, part: Part) -> None:
        if self._current == (part.sheet, part.attempt):
            return
        self._current = (part.sheet, part.attempt)
        gap = "" if self._at_line_start else "\n"
        sys.stdout.write(
            f"{gap}==> sheet {part.sheet}, attempt {part.attempt}, {part.stream} <==\n"
        )
        self._at_line_start = True

    def _line(self, part: Part, line: str) -> None:
        if self._as_json:
            names = {"sheet": part.sheet, "attempt": part.attempt, "stream": part.stream}
            line = to_json({**names, "line": line})
        else:
            again = f".{part.attempt}" if part.attempt > 1 else ""
            name = f"sheet {part.sheet:>{self._prefix}}{again} |"
            line = f"{paint(name, 'dim', self._colour)} {line}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def last_lines(text: str, lines: int) -> str:
    """The last `lines` lines of a text."""
    if lines == 0:
        return ""
    at = len(text) - text.endswith("\n")
    for _ in range(lines):
        at = text.rfind("\n", 0, at)
        if at < 0:
            return text
    return text[at + 1 :]


def follow_parts(
    home: Home,
    run: RunRow,
    parts: list[Part],
    printer: Printer,
    *,
    part_of: Callable[[AttemptRow], Part],
    sheet: int | None,
    attempt: int | None,
    lines: int | None,
) -> None:
    """Print what attempts write, new attempts too, until the sheet or the whole run has ended.

    A run that does not move because no conductor is there, or because it is paused, is followed
    all the same until Ctrl-C: its sheets may still be running.
    """
    first = {part.sheet: part.attempt for part in parts}
    known: dict[tuple[int, int], Part] = {}
    for part in parts:
        printer.begin(part, lines, over=False)
        known[part.sheet, part.attempt] = part
    looked, ended, over = -_LOOK, False, set[tuple[int, int]]()
    while True:
        # The store is asked before the files are read: what it calls ended has written all.
        if time.monotonic() - looked >= _LOOK:
            looked = time.monotonic()
            with open_reader(home) as reader, reader.snapshot():
                newest = reader.run(run.run_id)
                rows = reader.attempts(run.run_id, sheet)
                sheets = reader.sheets(run.run_id)
            for row in rows:
                if attempt is None and row.attempt > first.get(row.num, 0):
                    known.setdefault((row.num, row.attempt), part_of(row))
            over |= {(row.num, row.attempt) for row in rows if row.ended is not None}
            ended = newest is None or _ended(newest, sheets, rows, sheet, attempt)
        quiet = True
        for key, part in sorted(known.items()):
            if printer.go_on(part):
                quiet = False
            if key in over:
                printer.finish(part)
                del known[key]
                first[part.sheet] = max(part.attempt, first.get(part.sheet, 0))
        if ended:
            return
        if quiet:
            time.sleep(_NAP)


def _ended(
    run: RunRow,
    sheets: list[SheetRow],
    rows: list[AttemptRow],
    sheet: int | None,
    attempt: int | None,
) -> bool:
    if attempt is not None:
        return all(row.ended is not None for row in rows if row.attempt == attempt)
    if run.status.terminal:
        return True
    return any(row.num == sheet and SheetStatus(row.status).terminal for row in sheets)
