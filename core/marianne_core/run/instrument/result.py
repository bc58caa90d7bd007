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
from marianne_core.run.instrument.extract import (
    NOTHING_USED,
    Extract,
    Extractor,
    says_success,
    usage_in_text,
)
from marianne_core.run.instrument.json_text import parse_output
from marianne_core.run.instrument.patterns import (
    PatternError,
    PatternTimeoutError,
    compile_pattern,
    search,
)
from marianne_core.run.instrument.progress import Progress
from marianne_core.run.instrument.reset_time import Reset, read_reset
from marianne_core.run.instrument.tails import last_line, one_line, tail_of

JSON_LIMIT = 32 * 1024 * 1024
"""Largest stdout, in bytes, that is parsed as one JSON document; more is taken as plain text."""
_TEXT_LIMIT = 1024 * 1024
"""How much of the end of plain text is searched for a success and for what was used, in bytes."""
_INLINE = 64 * 1024
"""Output up to this size is read in the event loop: it takes less time than asking a thread."""
_INLINE_FAILURE = 8 * 1024
"""The same after a failure, when words for a person are looked for in it."""
_PATTERN_SECONDS = 1.0
_RESET_LIMIT = 16 * 1024
"""Characters of the end of a text in which the end of a limit is looked for."""


class ErrorType(StrEnum):
    """Kinds of failure that a profile's patterns tell apart."""

    RATE_LIMIT = "rate_limit"
    AUTH = "auth"
    CRASH = "crash"
    STALE = "stale"
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    CAPACITY = "capacity"
    ANSWER = "answer"


_BY_HTTP_STATUS = {
    401: ErrorType.AUTH,
    403: ErrorType.AUTH,
    408: ErrorType.TIMEOUT,
    429: ErrorType.RATE_LIMIT,
    503: ErrorType.CAPACITY,
    504: ErrorType.TIMEOUT,
    529: ErrorType.CAPACITY,
}
"""What the status of a refused call means; 529 is what some services say when they are overloaded."""


@dataclass(frozen=True, slots=True)
class InstrumentResult:
    """What one attempt's output says, together with its exit status."""

    success: bool
    """The exit status is one of the profile's `success_exit_codes`, and the output reports a success
    where the profile says how it does that."""
    text: str | None = None
    """The answer, taken out of structured output; None: stdout itself is the answer."""
    error: str = ""
    """What the instrument itself says went wrong (`error_path`), as it stands in the output."""
    error_type: ErrorType | None = None
    """Set when the attempt failed and its kind is known: by an event, a status or a pattern."""
    matched: str = ""
    """The words that told the kind of failure, made printable."""
    reset: Reset | None = None
    """When the rate limit ends that it failed for, if that is told."""
    own_exit_code: bool = False
    """The exit status is one the program sets by itself (`own_exit_codes`), no signal's."""
    silent: bool = False
    """The exit status means success, but the output does not report one."""
    last_line: str = ""
    """Of a failed attempt: the last line of stderr, else of stdout, made printable."""
    last_line_of: str = ""
    """"stderr" or "stdout": where `last_line` comes from."""
    input_tokens: int | None = None
    """Tokens read, those of caches included where the profile says where they stand."""
    output_tokens: int | None = None
    """Tokens written, those of reasoning included."""
    cost_usd: float | None = None
    """What the instrument itself says it costs, in US dollars."""
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
        output, errors = cli.output, cli.errors
        self._format = output.format
        self._dialect = output.dialect
        self._speaks_by_path = output.format != "text" and output.error_path is not None
        self._success = frozenset(errors.success_exit_codes)
        self._own = frozenset(errors.own_exit_codes)
        self._success_is_said = output.format != "text" and says_success(errors)
        self._extractor = Extractor(output, errors)
        self._patterns = _compiled(errors)
        self._success_pattern = _pattern(errors.success_pattern)
        self._usage_pattern = _pattern(output.usage_pattern)
        self._sum_of_usage = output.aggregate_tokens
        self._text_is_read = output.format == "text" and (
            self._success_pattern is not None or self._usage_pattern is not None
        )
        # An answer that is not in the event of the verdict is what the agent said, not its program.
        self._answer_is_a_report = errors.success_event_type in (None, output.completion_event_type)
        self._verdict_counts = self._success_is_said or self._success_pattern is not None

    def progress(self) -> Progress | None:
        """What reads a stream of events while it is written; None for other output."""
        return Progress(self._extractor, self._dialect) if self._format == "jsonl" else None

    async def read(
        self,
        exit_status: int,
        stdout: Path | str,
        stderr: Path | str,
        progress: Progress | None = None,
    ) -> InstrumentResult:
        """As `read_now`; large output is read in a thread, events in slices, from where `progress`
        ends."""
        if self._format == "jsonl":
            return await self._read_on(exit_status, stdout, stderr, progress)
        if exit_status in self._success:
            if self._format == "text" and not self._text_is_read:
                return InstrumentResult(True)
            if not self._text_is_read and _size(stdout) <= _INLINE:
                warnings: list[str] = []
                found = self._extract(stdout, warnings)
                if found.succeeded or not self._verdict_counts:
                    return _success(found, warnings)
        elif not self._patterns and _size(stdout) + _size(stderr) <= _INLINE_FAILURE:
            return self.read_now(exit_status, stdout, stderr)
        # The shortest text can keep a bad pattern busy.
        return await asyncio.to_thread(self.read_now, exit_status, stdout, stderr)

    async def _read_on(
        self,
        exit_status: int,
        stdout: Path | str,
        stderr: Path | str,
        progress: Progress | None,
    ) -> InstrumentResult:
        """In the loop and not in a thread: threads that parse make it wait longer than a slice."""
        read = progress or Progress(self._extractor, self._dialect)
        while read.read_on(stdout):  # noqa: ASYNC110 - nobody is waited for
            await asyncio.sleep(0)
        found, warnings = read.finish(), _skipped(read)
        if exit_status in self._success and (found.succeeded or not self._verdict_counts):
            return _success(found, warnings)
        if not self._patterns and _size(stdout) + _size(stderr) <= _INLINE_FAILURE:
            return self._judge(exit_status, found, warnings, stdout, stderr)
        return await asyncio.to_thread(self._judge, exit_status, found, warnings, stdout, stderr)

    def read_now(
        self, exit_status: int, stdout: Path | str, stderr: Path | str
    ) -> InstrumentResult:
        """The result of an attempt that ended with `exit_status`, from its output files.

        Output that is not in the profile's format is no failure: `text` is None then, and a warning
        says why. A missing file counts as empty. Raises OSError when a file cannot be read.
        """
        warnings: list[str] = []
        found = self._extract(stdout, warnings)
        return self._judge(exit_status, found, warnings, stdout, stderr)

    def _judge(
        self,
        exit_status: int,
        found: Extract,
        warnings: list[str],
        stdout: Path | str,
        stderr: Path | str,
    ) -> InstrumentResult:
        """The result, from what was taken out of stdout."""
        good = exit_status in self._success
        if good and (found.succeeded or not self._verdict_counts):
            return _success(found, warnings)
        errors, output = tail_of(stderr), tail_of(stdout)
        error = found.error or (found.text if self._answer_is_a_report else None) or ""
        searched = self._searched(output, parsed=not warnings)
        error_type, matched = self._kind(found, (error, errors, searched), warnings)
        reset = None
        if error_type is ErrorType.RATE_LIMIT:
            said_at = max(_modified(stdout), _modified(stderr))
            reset = _first_reset((found.limit_end, error, errors, searched), said_at)
        shown, shown_of = last_line(errors), "stderr"
        if not shown:
            shown, shown_of = last_line(output), "stdout"
        return InstrumentResult(
            False,
            text=found.text,
            error=error,
            error_type=error_type,
            matched=matched,
            reset=reset,
            own_exit_code=exit_status in self._own,
            silent=good,
            last_line=shown,
            last_line_of=shown_of if shown else "",
            input_tokens=found.usage.input_tokens,
            output_tokens=found.usage.output_tokens,
            cost_usd=found.usage.cost_usd,
            warnings=tuple(warnings),
        )

    def _kind(
        self, found: Extract, texts: tuple[str, ...], warnings: list[str]
    ) -> tuple[ErrorType | None, str]:
        """What kind of failure it is, and the words that tell: an event, a status, a pattern."""
        if found.limited:
            return ErrorType.RATE_LIMIT, one_line(texts[0] or found.limited)
        by_status = _BY_HTTP_STATUS.get(found.http_status or 0)
        if by_status is ErrorType.RATE_LIMIT and self._matches(
            ErrorType.CAPACITY, texts[:1], warnings
        ):
            # The same status refuses who asked too often, and anybody while the service is busy.
            by_status = ErrorType.CAPACITY
        if by_status is not None:
            return by_status, one_line(texts[0] or f"HTTP status {found.http_status}")
        return self._classify(texts, warnings)

    def _searched(self, output: str, *, parsed: bool) -> str:
        """The part of stdout in which patterns are looked for: not what an agent says in its events."""
        if not self._speaks_by_path:
            return output
        if self._format == "json":
            return "" if parsed else output
        # The first line may be the end of an event that began before the tail.
        lines = (line.strip() for line in output.split("\n"))
        return "\n".join(line for line in lines if line[:1] != "{" and line[-1:] != "}")

    def _extract(self, stdout: Path | str, warnings: list[str]) -> Extract:
        if self._format == "text":
            return self._extract_from_text(stdout, warnings) if self._text_is_read else Extract()
        if self._format == "jsonl":
            progress = Progress(self._extractor, self._dialect)
            while progress.read_on(stdout):
                pass
            found = progress.finish()
            warnings += _skipped(progress)
            return found
        try:
            with open(stdout, "rb", buffering=0) as file:
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

    def _extract_from_text(self, stdout: Path | str, warnings: list[str]) -> Extract:
        text = tail_of(stdout, _TEXT_LIMIT)
        succeeded, usage = False, NOTHING_USED
        try:
            if self._success_pattern is not None:
                match = search(self._success_pattern, text, seconds=_PATTERN_SECONDS)
                succeeded = match is not None
            if self._usage_pattern is not None:
                usage = usage_in_text(
                    self._usage_pattern,
                    text,
                    total=self._sum_of_usage,
                    seconds=_PATTERN_SECONDS,
                )
        except PatternTimeoutError as error:
            warnings.append(f"pattern {str(error)!r} took too long and was passed over")
        return Extract(succeeded=succeeded, usage=usage)

    def _classify(
        self, texts: tuple[str, ...], warnings: list[str]
    ) -> tuple[ErrorType | None, str]:
        for error_type, _ in self._patterns:
            if words := self._matches(error_type, texts, warnings):
                return error_type, words
        return None, ""

    def _matches(self, error_type: ErrorType, texts: tuple[str, ...], warnings: list[str]) -> str:
        """The words that a pattern of this kind is found in; "" when none is."""
        for pattern in dict(self._patterns).get(error_type, ()):
            for text in texts:
                try:
                    match = search(pattern, text, seconds=_PATTERN_SECONDS)
                except PatternTimeoutError:
                    warnings.append(
                        f"pattern {pattern.pattern!r} took too long and was passed over"
                    )
                    break
                if match:
                    # What the program says of itself is clearer than the place that gave it away.
                    told = texts[0] if text is not texts[0] else ""
                    return one_line(told) or _line_around(text, match) or pattern.pattern
        return ""


def _skipped(progress: Progress) -> list[str]:
    return [f"{progress.skipped} lines of stdout are not JSON"] if progress.skipped else []


def _success(found: Extract, warnings: list[str]) -> InstrumentResult:
    return InstrumentResult(
        True,
        text=found.text,
        input_tokens=found.usage.input_tokens,
        output_tokens=found.usage.output_tokens,
        cost_usd=found.usage.cost_usd,
        warnings=tuple(warnings),
    )


def _compiled(
    errors: CliErrorConfig,
) -> tuple[tuple[ErrorType, tuple[regex.Pattern[str], ...]], ...]:
    """The patterns in the order in which they are asked: a limit first, then section 3.5.

    An unreachable service stands before an overloaded one: programs blame the service for both.
    """
    by_type = {
        ErrorType.RATE_LIMIT: errors.rate_limit_patterns,
        ErrorType.AUTH: errors.auth_error_patterns,
        ErrorType.CONNECTION: errors.connection_patterns,
        ErrorType.CRASH: errors.crash_patterns,
        ErrorType.STALE: errors.stale_patterns,
        ErrorType.TIMEOUT: errors.timeout_patterns,
        ErrorType.CAPACITY: errors.capacity_patterns,
        ErrorType.ANSWER: errors.answer_patterns,
    }
    return tuple(
        (error_type, tuple(_compile(pattern) for pattern in patterns))
        for error_type, patterns in by_type.items()
        if patterns
    )


def _pattern(text: str | None) -> regex.Pattern[str] | None:
    return None if text is None else _compile(text)


def _compile(pattern: str) -> regex.Pattern[str]:
    try:
        return compile_pattern(pattern, regex.IGNORECASE | regex.MULTILINE)
    except PatternError as error:
        raise InputError(f"a pattern of the profile does not compile: {error}") from error


def _line_around(text: str, match: regex.Match[str]) -> str:
    """The line in which a match begins; from the match on where it begins far inside."""
    start = text.rfind("\n", 0, match.start()) + 1
    if match.start() - start > 80:
        start = match.start()
    end = text.find("\n", match.start())
    return one_line(text[start : end if end >= 0 else len(text)][:2000])


def _first_reset(texts: tuple[str, ...], said_at: float) -> Reset | None:
    """The end of a limit that the first of the texts tells which tells one."""
    found = (read_reset(text[-_RESET_LIMIT:], said_at) for text in texts)
    return next((reset for reset in found if reset is not None), None)


def _modified(path: Path | str) -> float:
    """When a file was written last, seconds since the epoch; 0 where there is none."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path | str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
