"""Taking the answer, the error, the verdict and what was used out of output, by a profile's paths."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import regex

from marianne_core.config.instrument import CliErrorConfig, CliOutputConfig
from marianne_core.run.instrument.dot_path import (
    find_all,
    find_first,
    first_key,
    parse_path,
)
from marianne_core.run.instrument.patterns import search


@dataclass(frozen=True, slots=True)
class Usage:
    """What a turn used, as far as its output tells."""

    input_tokens: int | None = None
    """Tokens read, those of caches included where the profile says where they stand."""
    output_tokens: int | None = None
    """Tokens written, those of reasoning included."""
    cost_usd: float | None = None
    """What the program says it costs, in US dollars."""


NOTHING_USED = Usage()
"""The output tells nothing."""


@dataclass(frozen=True, slots=True)
class Extract:
    """What structured output says."""

    text: str | None = None
    """The answer (`result_path`)."""
    error: str | None = None
    """The message of a failure (`error_path`)."""
    usage: Usage = NOTHING_USED
    """Tokens and cost."""
    limited: str = ""
    """The event that reports a rate limit, as JSON."""
    limit_end: str = ""
    """What that event says of the limit's end, in words."""
    succeeded: bool = False
    """It reports a success as `success_event_type` and `success_event_filter` say."""
    http_status: int | None = None
    """HTTP status of the call that failed (`status_path`)."""


class Extractor:
    """What one profile says about structured output, ready for use."""

    def __init__(self, output: CliOutputConfig, errors: CliErrorConfig) -> None:
        """Raises InputError for a path that cannot be read."""
        self.output = output
        self.errors = errors
        for path in (
            output.result_path,
            output.error_path,
            output.passing_error_path,
            output.input_tokens_path,
            output.output_tokens_path,
            output.cost_path,
            *output.more_input_tokens_paths,
            *output.more_output_tokens_paths,
            *(output.completion_event_filter or ()),
            errors.status_path,
            errors.rate_limit_reset_path,
            *(errors.success_event_filter or ()),
            *(errors.rate_limit_event_filter or ()),
        ):
            if path:
                parse_path(path)
        paths = _paths(output, errors)
        keys = {first_key(path) for path in paths}
        if output.result_in_pieces and output.completion_event_type is None:
            keys.add(None)  # any event may be a piece, and one without a piece does not end the row
        if (
            errors.success_event_type is None
            and None in (errors.success_event_filter or {}).values()
        ):
            keys.add(None)  # what is not there is null too
        self._first_keys = None if None in keys else frozenset(keys)
        self._kinds = frozenset(_kinds(output, errors))

    def means_nothing(self, event: object) -> bool:
        """True where a look at its keys tells that nothing asked for is in it, as in most events."""
        return (
            self._first_keys is not None
            and isinstance(event, dict)
            and self._first_keys.isdisjoint(event)
            and isinstance(kind := event.get("type", ""), str)
            and kind not in self._kinds
        )

    def document(self, data: object) -> Extract:
        """What one JSON document says."""
        events = EventReader(self)
        events.count(data)
        events.see_error(data)
        events.see_verdict(data)
        events.see_answer(data)
        return events.found()

    def events(self) -> EventReader:
        """A reader for a stream of events."""
        return EventReader(self)


class EventReader:
    """Takes the events of one attempt as they come; `found` may be asked at any time.

    The answer is that of the *last* event that matches type and filter: agents announce what they
    are about to do in the same kind of event in which they give the answer; with `result_in_pieces`
    it is that of the last unbroken row of such events. Tokens and cost are the first that each path
    finds, or their sum with `aggregate_tokens`; with `usage_of_last_event` an event that tells them
    replaces what earlier ones told.
    """

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self._output = extractor.output
        self._errors = extractor.errors
        self._limited = ""
        self._limit_end = ""
        self._text: str | None = None
        self._pieces: list[str] = []
        self._error: str | None = None
        self._passing_error: str | None = None
        self._succeeded = False
        self._http_status: int | None = None
        output = self._output
        self._usage_paths = (
            (output.input_tokens_path, *output.more_input_tokens_paths),
            (output.output_tokens_path, *output.more_output_tokens_paths),
            (output.cost_path,),
        )
        self._used: list[dict[str, float]] = [{}, {}, {}]

    def take(self, event: object) -> None:
        """Look at one event."""
        if self._extractor.means_nothing(event):
            self._passing_error = None
            if self._pieces:
                self._end_of_row()
            return
        self.count(event)
        self.see_error(event)
        self.see_verdict(event)
        output, errors = self._output, self._errors
        if output.passing_error_path:
            # Any other event shows that the program got over it.
            self._passing_error = as_text(find_first(event, output.passing_error_path))
        if _is_event(event, output.completion_event_type, output.completion_event_filter):
            self.see_answer(event)
        elif self._pieces:
            self._end_of_row()
        if errors.rate_limit_event_type is not None and _is_event(
            event, errors.rate_limit_event_type, errors.rate_limit_event_filter
        ):
            self._limited = self._limit_end = as_text(event) or ""
            if errors.rate_limit_reset_path:
                end = as_text(find_first(event, errors.rate_limit_reset_path))
                self._limit_end = f"resets at {end}" if end else ""

    def found(self) -> Extract:
        """What the events so far say."""
        inputs, outputs, costs = self._used
        return Extract(
            text="".join(self._pieces) if self._pieces else self._text,
            error=self._error if self._passing_error is None else self._passing_error,
            usage=Usage(_tokens(inputs), _tokens(outputs), sum(costs.values()) if costs else None),
            limited=self._limited,
            limit_end=self._limit_end,
            succeeded=self._succeeded,
            http_status=self._http_status,
        )

    def count(self, data: object) -> None:
        """Add the tokens and the cost that `data` tells."""
        for used, paths in zip(self._used, self._usage_paths, strict=True):
            for path in paths:
                if path:
                    self._add(used, path, data)

    def see_answer(self, data: object) -> None:
        """Remember the answer in `data`, if there is one."""
        if not self._output.result_path:
            return
        text = as_text(find_first(data, self._output.result_path))
        if text is None:
            return
        if self._output.result_in_pieces:
            self._pieces.append(text)
        else:
            self._text = text

    def see_error(self, data: object) -> None:
        """Remember the error in `data`, if there is one."""
        if self._output.error_path:
            error = as_text(find_first(data, self._output.error_path))
            self._error = self._error if error is None else error

    def see_verdict(self, data: object) -> None:
        """Remember whether `data` reports a success, and the HTTP status of a failure."""
        errors = self._errors
        if says_success(errors) and _is_event(
            data, errors.success_event_type, errors.success_event_filter
        ):
            self._succeeded = True
        if errors.status_path:
            # A later null takes back what an earlier event said of a call that was tried again.
            for value in find_all(data, errors.status_path):
                self._http_status = _count(value)

    def _end_of_row(self) -> None:
        self._text = "".join(self._pieces)
        self._pieces.clear()

    def _add(self, used: dict[str, float], path: str, data: object) -> None:
        """Add what one path finds to what was found there before."""
        output = self._output
        known = path in used and not output.usage_of_last_event
        if known and not output.aggregate_tokens:
            return
        numbers = list(_numbers(find_all(data, path)))
        if numbers:
            found = sum(numbers) if output.aggregate_tokens else numbers[0]
            used[path] = found + (used[path] if known else 0)


def _paths(output: CliOutputConfig, errors: CliErrorConfig) -> list[str]:
    """The paths that are looked up in any event, of whatever type."""
    paths = [
        output.error_path,
        output.passing_error_path,
        output.input_tokens_path,
        output.output_tokens_path,
        output.cost_path,
        *output.more_input_tokens_paths,
        *output.more_output_tokens_paths,
        errors.status_path,
    ]
    if output.completion_event_type is None:
        paths.append(output.result_path)
    if says_success(errors) and errors.success_event_type is None:
        paths += list(errors.success_event_filter or ())[:1]
    return [path for path in paths if path]


def _kinds(output: CliOutputConfig, errors: CliErrorConfig) -> list[str]:
    """The types of the events that are looked at beside that."""
    kinds = [
        output.completion_event_type,
        errors.success_event_type,
        errors.rate_limit_event_type,
    ]
    return [kind for kind in kinds if kind is not None]


def says_success(errors: CliErrorConfig) -> bool:
    """True when a profile wants a success to be reported by an event or document."""
    return errors.success_event_type is not None or errors.success_event_filter is not None


def _is_event(event: object, kind: str | None, values: Mapping[str, object] | None) -> bool:
    """True when an event has this `type` (None: any) and these values; keys are paths."""
    if not isinstance(event, dict) or (kind is not None and event.get("type") != kind):
        return False
    return all(find_first(event, path) == value for path, value in (values or {}).items())


def as_text(value: object) -> str | None:
    """A JSON value as text for people: text as it is, None as None, the rest as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def usage_in_text(pattern: regex.Pattern[str], text: str, *, total: bool, seconds: float) -> Usage:
    """What plain text tells by the groups `input`, `output` and `cost` of `usage_pattern`.

    `total`: add up the tokens of all matches. Raises PatternTimeoutError after a search of `seconds`.
    """
    inputs: list[float] = []
    outputs: list[float] = []
    costs: list[float] = []
    groups = (("input", inputs), ("output", outputs), ("cost", costs))
    at = 0
    while match := search(pattern, text, pos=at, seconds=seconds):
        for name, numbers in groups:
            said = match.group(name) if name in pattern.groupindex else None
            number = _written_number(said) if said else None
            if number is not None:
                numbers.append(number)
        at = max(match.end(), at + 1)
    return Usage(
        _tokens(inputs if total else inputs[:1]),
        _tokens(outputs if total else outputs[:1]),
        costs[-1] if costs else None,
    )


def _written_number(text: str) -> float | None:
    """`1,234`, `2.5k` or `1M` as a number; None for what is none."""
    digits = text.strip().replace(",", "").lower()
    factor = {"k": 1e3, "m": 1e6}.get(digits[-1:], 1.0)
    try:
        number = float(digits.rstrip("km")) * factor
    except ValueError:
        return None
    return number if _is_number(number) else None


def _tokens(numbers: Mapping[str, float] | Sequence[float]) -> int | None:
    """Their sum as a number of tokens; None for no numbers."""
    values = numbers.values() if isinstance(numbers, Mapping) else numbers
    return int(sum(values)) if numbers else None


def _numbers(values: Iterator[object]) -> Iterator[float]:
    return (value for value in values if _is_number(value))


def _is_number(value: object) -> TypeGuard[float]:
    """JSON's true is no number, and neither are infinity, NaN and what is below 0."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value < 1e15
    )


def _count(value: object) -> int | None:
    return int(value) if _is_number(value) else None
