"""Taking the answer, the error and the tokens out of parsed output, by a profile's paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from marianne_core.config.instrument import CliErrorConfig, CliOutputConfig
from marianne_core.run.instrument.dot_path import find_all, find_first, parse_path


@dataclass(frozen=True, slots=True)
class Extract:
    """What structured output says."""

    text: str | None = None
    """The answer (`result_path`)."""
    error: str | None = None
    """The message of a failure (`error_path`)."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    limited: str = ""
    """The event that reports a rate limit, as JSON."""


class Extractor:
    """What one profile says about structured output, ready for use."""

    def __init__(self, output: CliOutputConfig, errors: CliErrorConfig) -> None:
        """Raises InputError for a path that cannot be read."""
        self.output = output
        self.errors = errors
        for path in (
            output.result_path,
            output.error_path,
            output.input_tokens_path,
            output.output_tokens_path,
            *(output.completion_event_filter or ()),
            *(errors.rate_limit_event_filter or ()),
        ):
            if path:
                parse_path(path)

    def document(self, data: object) -> Extract:
        """What one JSON document says."""
        events = EventReader(self)
        events.count(data)
        events.see_error(data)
        events.see_answer(data)
        return events.found()

    def events(self) -> EventReader:
        """A reader for a stream of events."""
        return EventReader(self)


class EventReader:
    """Takes the events of one attempt as they come; `found` may be asked at any time.

    The answer is that of the *last* event that matches type and filter: agents announce what they
    are about to do in the same kind of event in which they give the answer. Token counts are the
    first that each path finds, or their sum with `aggregate_tokens`.
    """

    def __init__(self, extractor: Extractor) -> None:
        self._output = extractor.output
        self._errors = extractor.errors
        self._limited = ""
        self._text: str | None = None
        self._error: str | None = None
        self._tokens: list[int | None] = [None, None]

    def take(self, event: object) -> None:
        """Look at one event."""
        self.count(event)
        self.see_error(event)
        output, errors = self._output, self._errors
        if _is_event(event, output.completion_event_type, output.completion_event_filter):
            self.see_answer(event)
        if errors.rate_limit_event_type is not None and _is_event(
            event, errors.rate_limit_event_type, errors.rate_limit_event_filter
        ):
            self._limited = as_text(event) or ""

    def found(self) -> Extract:
        """What the events so far say."""
        return Extract(self._text, self._error, self._tokens[0], self._tokens[1], self._limited)

    def count(self, data: object) -> None:
        """Add the tokens that `data` tells."""
        paths = (self._output.input_tokens_path, self._output.output_tokens_path)
        for at, path in enumerate(paths):
            have = self._tokens[at]
            if not path or (have is not None and not self._output.aggregate_tokens):
                continue
            numbers = [n for value in find_all(data, path) if (n := _count(value)) is not None]
            if numbers:
                total = sum(numbers) if self._output.aggregate_tokens else numbers[0]
                self._tokens[at] = total + (have or 0)

    def see_answer(self, data: object) -> None:
        """Remember the answer in `data`, if there is one."""
        if self._output.result_path:
            text = as_text(find_first(data, self._output.result_path))
            self._text = self._text if text is None else text

    def see_error(self, data: object) -> None:
        """Remember the error in `data`, if there is one."""
        if self._output.error_path:
            error = as_text(find_first(data, self._output.error_path))
            self._error = self._error if error is None else error


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


def _count(value: object) -> int | None:
    """A number of tokens, or None; JSON's true is none, and neither are infinity and NaN."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
        return int(value)
    return None
