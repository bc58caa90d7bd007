"""Standard output of commands that must end properly even when nobody reads them any more."""

from __future__ import annotations

import json
import sys
from typing import Any


class Output:
    """Lines on stdout; after the reader has gone away they are dropped.

    `mzt run score.yaml | head` must not end the sheets of a run in the middle, so a broken pipe
    stops the printing and nothing else.
    """

    def __init__(self) -> None:
        self.open = True
        """False once the reader has gone."""

    def line(self, text: str) -> None:
        """Print one line at once; the caller has cleaned it."""
        if not self.open:
            return
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self.open = False

    def json_line(self, value: Any) -> None:
        """Print one value as a line of JSON (NDJSON)."""
        self.line(to_json(value))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON for programs: ASCII, so that it is valid in every encoding and holds no raw escapes."""
    return json.dumps(value, indent=indent, default=str)


def print_json(value: Any) -> None:
    """Print one JSON document, indented."""
    print(to_json(value, indent=2))
