"""What an instrument's output says: its answer, its error, its tokens, its kind of failure."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import regex

from marianne_core.config.instrument import CliErrorConfig, CliProfile
from marianne_core.model.errors import InputError
from marianne_core.run.instrument.extract import Extract, Extractor
from marianne_core.run.instrument.json_text import JsonLines, parse_output
from marianne_core.run.instrument.patterns import (
    PatternError,
    PatternTimeoutError,
    compile_pattern,
    search,
)
from marianne_core.run.instrument.tails import last_line, one_line, tail_of

JSON_LIMIT = 32 * 1024 * 1024
"""Largest stdout, in bytes, that is parsed as one JSON document; more is taken as plain text."""
_CHUNK = 1024 * 1024
_INLINE = 64 * 1024
"""Output up to this size is read in the event loop: it takes less time than asking a thread."""
_INLINE_FAILURE = 8 * 1024
"""The same after a failure, when words for a person are looked for in it."""
_PATTERN_SECONDS = 1.0


class ErrorType(StrEnum):
    """Kinds of failure that a profile's patterns tell apart."""

    RATE_LIMIT = "rate_limit"
    AUTH = "auth"
    CRASH = "crash"
    STALE = "stale"
    TIMEOUT = "timeout"
    CAPACITY = "capacity"


@dataclass(frozen=True, slots=True)
class InstrumentResult:
    """What one attempt's output says, together with its exit status."""

    success: bool
    """The exit status is one of the profile's `success_exit_codes`."""
    text: str | None = None
    """The answer, taken out of structured output; None: stdout itself is the answer."""
    error: str = ""
    """What the instrument itself says went wrong (`error_path`), as it stands in the output."""
    error_type: ErrorType | None = None
    """Set when the attempt failed and a pattern of the profile matched."""
    matched: str = ""
    """The line that the pattern matched, made printable."""
    last_line: str = ""
    """Of a failed attempt: the last line of stderr, else of stdout, made printable."""
    last_line_of: str = ""
    """"stderr" or "stdout": where `last_line` comes from."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    warnings: tuple[str, ...] = ()
    """What could not be read as the profile says, one line each."""


class ResultReader:
    """Reads the output of one instrument's attempts (field reference, section 3.5).

    One reader serves all attempts of a profile. Reading is bounded: of a huge stdout only the tail
    is searched for messages, an event stream is read piece by piece, and a JSON document above
    `JSON_LIMIT` is left as text.
    """

    def __init__(self, cli: CliProfile) -> None:
        """Raises InputError for a path or pattern of the profile that cannot be used."""
        self._format = cli.output.format
        self._success = frozenset(cli.errors.success_exit_codes)
        self._extractor = Extractor(cli.output, cli.errors)
        self._patterns = _compiled(cli.errors)

    async def read(
        self, exit_status: int, stdout: Path | str, stderr: Path | str
    ) -> InstrumentResult:
        """As `read_now`; large output is read in a thread."""
        if exit_status in self._success:
            if self._format == "text":
                return InstrumentResult(True)
            inline = _size(stdout) <= _INLINE
        else:
            # The shortest text can keep a bad pattern busy.
            inline = not self._patterns and _size(stdout) + _size(stderr) <= _INLINE_FAILURE
        if inline:
            return self.read_now(exit_status, stdout, stderr)
        return await asyncio.to_thread(self.read_now, exit_status, stdout, stderr)

    def read_now(
        self, exit_status: int, stdout: Path | str, stderr: Path | str
    ) -> InstrumentResult:
        """The result of an attempt that ended with `exit_status`, from its output files.

        Output that is not in the profile's format is no failure: `text` is None then, and a warning
        says why. A missing file counts as empty. Raises OSError when a file cannot be read.
        """
        warnings: list[str] = []
        found = self._extract(stdout, warnings)
        if exit_status in self._success:
            return InstrumentResult(
                True,
                text=found.text,
                input_tokens=found.input_tokens,
                output_tokens=found.output_tokens,
                warnings=tuple(warnings),
            )
        errors, output = tail_of(stderr), tail_of(stdout)
        error = found.error or found.text or ""
        error_type: ErrorType | None = ErrorType.RATE_LIMIT
        matched = one_line(found.limited)
        if not matched:
            error_type, matched = self._classify((error, errors, output), warnings)
        shown, shown_of = last_line(errors), "stderr"
        if not shown:
            shown, shown_of = last_line(output), "stdout"
        return InstrumentResult(
            False,
            text=found.text,
            error=error,
            error_type=error_type,
            matched=matched,
            last_line=shown,
            last_line_of=shown_of if shown else "",
            input_tokens=found.input_tokens,
            output_tokens=found.output_tokens,
            warnings=tuple(warnings),
        )

    def _extract(self, stdout: Path | str, warnings: list[str]) -> Extract:
        if self._format == "text":
            return Extract()
        try:
            with open(stdout, "rb", buffering=0) as file:
                if self._format == "jsonl":
                    lines = JsonLines()
                    events = self._extractor.events()
                    while chunk := file.read(_CHUNK):
                        for value in lines.feed(chunk):
                            events.take(value)
                    for value in lines.finish():
                        events.take(value)
                    if lines.skipped:
                        warnings.append(f"{lines.skipped} lines of stdout are not JSON")
                    return events.found()
                data = file.read(JSON_LIMIT + 1) or b""
        except FileNotFoundError:
            return Extract()
        if len(data) > JSON_LIMIT:
            warnings.append(f"stdout is larger than {JSON_LIMIT} bytes and was not parsed as JSON")
            return Extract()
        if not data.strip():
            return Extract()
        try:
            return self._extractor.document(parse_output(data.decode("utf-8", errors="replace")))
        except ValueError as error:
            warnings.append(f"stdout is not JSON: {one_line(str(error))}")
            return Extract()

    def _classify(
        self, texts: tuple[str, ...], warnings: list[str]
    ) -> tuple[ErrorType | None, str]:
        for error_type, patterns in self._patterns:
            for pattern in patterns:
                for text in texts:
                    try:
                        match = search(pattern, text, seconds=_PATTERN_SECONDS)
                    except PatternTimeoutError:
                        warnings.append(
                            f"pattern {pattern.pattern!r} took too long and was passed over"
                        )
                        break
                    if match:
                        return error_type, _line_around(text, match)
        return None, ""


def _compiled(
    errors: CliErrorConfig,
) -> tuple[tuple[ErrorType, tuple[regex.Pattern[str], ...]], ...]:
    """The patterns in the order in which they are asked: a limit first, then section 3.5."""
    by_type = {
        ErrorType.RATE_LIMIT: errors.rate_limit_patterns,
        ErrorType.AUTH: errors.auth_error_patterns,
        ErrorType.CRASH: errors.crash_patterns,
        ErrorType.STALE: errors.stale_patterns,
        ErrorType.TIMEOUT: errors.timeout_patterns,
        ErrorType.CAPACITY: errors.capacity_patterns,
    }
    flags = regex.IGNORECASE | regex.MULTILINE
    try:
        return tuple(
            (error_type, tuple(compile_pattern(pattern, flags) for pattern in patterns))
            for error_type, patterns in by_type.items()
            if patterns
        )
    except PatternError as error:
        raise InputError(f"a pattern of the profile does not compile: {error}") from error


def _line_around(text: str, match: regex.Match[str]) -> str:
    """The line in which a match begins; of a very long line the part around it."""
    start = max(text.rfind("\n", 0, match.start()) + 1, match.start() - 80)
    end = text.find("\n", match.start())
    return one_line(text[start : end if end >= 0 else len(text)][:2000])


def _size(path: Path | str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
