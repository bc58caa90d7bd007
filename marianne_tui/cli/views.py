"""How a command shows a run it follows: lines, JSON, or nothing but the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from marianne_core.model.events import Event
from marianne_tui.cli.guard import complain
from marianne_tui.cli.lines import event_line
from marianne_tui.cli.output import Output
from marianne_tui.cli.picture import counts_words, progress_words, run_name, what_next
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import ascii_only, colour_of, glyph, paint, wants_colour, word


class View(Protocol):
    """What `following.follow` calls: begin, then event and show, at last end."""

    refresh_seconds: float
    """How often the status is worth fetching while the run goes on."""

    def say(self, text: str) -> None:
        """Something the host or the command has to tell."""
        ...

    def name_sheets(self, titles: Mapping[int, str]) -> None:
        """What people call the sheets, by number."""
        ...

    def begin(self, status: dict[str, Any]) -> None:
        """The run was accepted and stands like this."""
        ...

    def event(self, event: Event) -> None:
        """Something happened in the run."""
        ...

    def show(self, status: dict[str, Any]) -> None:
        """A newer status."""
        ...

    def end(self, status: dict[str, Any] | None) -> None:
        """The last status, or None when the conductor left before one could be had."""
        ...


class LineView:
    """One line per event on stdout: for pipes, files and logs of other programs."""

    refresh_seconds = 30.0

    def __init__(self) -> None:
        self._titles: Mapping[int, str] = {}
        self._out = Output()
        self._colour = wants_colour(sys.stdout)
        self._plain = ascii_only(sys.stdout)

    def say(self, text: str) -> None:
        self._out.line(one_line(text))

    def name_sheets(self, titles: Mapping[int, str]) -> None:
        self._titles = titles

    def begin(self, status: dict[str, Any]) -> None:
        self._out.line(f"{run_name(status)}: {progress_words(status)}")

    def event(self, event: Event) -> None:
        self._out.line(event_line(event, self._titles, colour=self._colour, plain=self._plain))

    def show(self, status: dict[str, Any]) -> None:
        """Nothing: the events tell it."""

    def end(self, status: dict[str, Any] | None) -> None:
        if status is not None:
            self._out.line(final_line(status, colour=self._colour, plain=self._plain))
            if advice := what_next(status):
                self._out.line(f"  {advice}")


class JsonView:
    """Events as NDJSON on stdout; the last line is the status. What is said goes to stderr, unless
    silence was asked for."""

    refresh_seconds = 30.0

    def __init__(self, *, silent: bool = False) -> None:
        self._out = Output()
        self._silent = silent

    def say(self, text: str) -> None:
        if not self._silent:
            complain(text)

    def name_sheets(self, titles: Mapping[int, str]) -> None:
        """Not shown: events carry numbers."""

    def begin(self, status: dict[str, Any]) -> None:
        """Nothing: the first event tells it."""

    def event(self, event: Event) -> None:
        self._out.json_line(event.to_dict())

    def show(self, status: dict[str, Any]) -> None:
        """Nothing: the events tell it."""

    def end(self, status: dict[str, Any] | None) -> None:
        if status is not None:
            self._out.json_line(status)


class QuietView:
    """Nothing while all goes well; one line on stderr when the run did not complete."""

    refresh_seconds = 30.0

    def say(self, text: str) -> None:
        """Dropped: -q asked for silence."""

    def name_sheets(self, titles: Mapping[int, str]) -> None:
        """Not shown."""

    def begin(self, status: dict[str, Any]) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""

    def show(self, status: dict[str, Any]) -> None:
        """Nothing."""

    def end(self, status: dict[str, Any] | None) -> None:
        if status is not None and status["status"] != "completed":
            complain(final_line(status, plain=ascii_only(sys.stderr)))


def final_line(status: Mapping[str, Any], *, colour: bool = False, plain: bool = False) -> str:
    """`✗ hello#1 failed: sheet 2 failed (4 completed, 1 failed)`."""
    state = str(status["status"])
    mark = paint(glyph(state, ascii_only=plain), colour_of(state), colour)
    detail = counts_words(status["sheets"]) or progress_words(status)
    reason = one_line(status.get("reason") or "")
    ending = f": {reason} ({detail})" if reason else f": {detail}"
    return f"{mark} {run_name(status)} {word(state)}{ending}"


def make_view(*, as_json: bool = False, quiet: bool = False) -> View:
    """The view that fits the options and what stdout is."""
    if as_json:
        return JsonView(silent=quiet)
    if quiet:
        return QuietView()
    if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        # Rich is imported only where there is a terminal to paint on.
        from marianne_tui.cli.live import LiveView

        return LiveView()
    return LineView()
