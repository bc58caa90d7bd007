"""The live view of a run on a terminal: one picture of the newest status, repainted in place."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from marianne_core.model.events import Event
from marianne_tui.cli.picture import (
    Sheet,
    Status,
    chosen,
    counts_words,
    elapsed,
    is_running,
    moment,
    note,
    progress_words,
    run_name,
    what_next,
)
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import ascii_only, colour_of, duration, glyph, word

_FRAME_LINES = 5
"""Lines around the sheets: head, bar, counts, the message, and one for the prompt."""
_TITLE_CELLS = 32


def picture(
    status: Status,
    *,
    titles: Mapping[int, str],
    now: float,
    started: float,
    height: int,
    width: int,
    plain: bool = False,
) -> RenderableType:
    """The whole view of one status. `now` and `started` are wall-clock seconds.

    It never has more lines than `height`: what does not fit is told by the counts.
    """
    state = str(status["status"])
    separator = " - " if plain else " · "
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(glyph(state, ascii_only=plain) + " ", style=colour_of(state))
    head.append(run_name(status), style="bold")
    facts = [word(state), progress_words(status), duration(now - started)]
    head.append(separator + separator.join(facts))
    reason = one_line(status.get("reason") or "")
    if reason:
        head.append(separator + reason, style=colour_of(state))
    sheets: list[Sheet] = list(status["sheets"])
    share = _ended(sheets, status) / max(1, int(status["sheets_total"]))
    bar = _bar(share, min(60, max(10, width - 8)), colour_of(state), plain)
    shown = chosen(sheets, max(1, height - _FRAME_LINES))
    parts: list[RenderableType] = [head, bar]
    if shown:
        parts.append(_table(shown, titles, now, plain, width))
    if len(shown) < len(sheets):
        rest = Text(f"  {counts_words(sheets)}", style="dim", no_wrap=True, overflow="ellipsis")
        parts.append(rest)
    return Group(*parts)


def _bar(share: float, cells: int, colour: str, plain: bool) -> Text:
    done = round(share * cells)
    full, empty = ("#", "-") if plain else ("━", "─")
    return Text.assemble((full * done, colour), (empty * (cells - done), "dim"), f" {share:4.0%}")


def _ended(sheets: list[Sheet], status: Status) -> int:
    ended = ("completed", "failed", "skipped", "cancelled")
    if not sheets:
        return int(status["sheets_completed"])
    return sum(sheet["status"] in ended for sheet in sheets)


def _table(
    sheets: list[Sheet], titles: Mapping[int, str], now: float, plain: bool, width: int
) -> Table:
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(no_wrap=True, width=1)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=_TITLE_CELLS)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    if width >= 90:
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for sheet in sheets:
        state = str(sheet["status"])
        colour = colour_of(state)
        attempts = int(sheet.get("attempts") or 0)
        title = one_line(titles.get(int(sheet["num"])) or f"movement {sheet.get('movement')}")
        row = [
            Text(glyph(state, ascii_only=plain), style=colour),
            Text(str(sheet["num"])),
            Text(title),
            Text(word(state), style=colour),
            Text(duration(elapsed(sheet, now)), style="" if is_running(sheet) else "dim"),
            Text(f"try {attempts}" if attempts > 1 else "", style="magenta"),
        ]
        if width >= 90:
            row.append(Text(one_line(sheet.get("instrument") or ""), style="dim"))
        row.append(Text(note(sheet), style=colour if state == "failed" else "dim"))
        table.add_row(*row)
    return table


class LiveView:
    """Paints every new status in place, and leaves the last picture on the screen."""

    refresh_seconds = 0.2
    """How often a changed status is worth fetching."""

    def __init__(self, console: Console | None = None) -> None:
        self._titles: Mapping[int, str] = {}
        self._console = console or Console(highlight=False)
        self._plain = ascii_only(self._console.file)  # type: ignore[arg-type]
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._started = time.time()
        self._open = False

    def say(self, text: str) -> None:
        """One line above the picture."""
        self._console.print(Text(one_line(text), style="dim"))

    def name_sheets(self, titles: Mapping[int, str]) -> None:
        """What people call the sheets, by number."""
        self._titles = titles

    def begin(self, status: dict[str, Any]) -> None:
        """The first status, after the run was accepted."""
        self._started = _first_moment(status) or self._started
        self._live.start()
        self._open = True
        self.show(status)

    def event(self, event: Event) -> None:
        """Nothing to paint: the next status shows what happened."""

    def show(self, status: dict[str, Any]) -> None:
        """Repaint."""
        if self._open:
            self._live.update(self._picture(status), refresh=True)

    def end(self, status: dict[str, Any] | None) -> None:
        """Leave the final picture behind, and a line about what can be done next."""
        if not self._open:
            return
        self._open = False
        if status is not None:
            self._live.update(self._picture(status), refresh=True)
        self._live.stop()
        if status is not None and (advice := what_next(status)):
            self.say(advice)

    def _picture(self, status: dict[str, Any]) -> RenderableType:
        return picture(
            status,
            titles=self._titles,
            now=time.time(),
            started=self._started,
            height=self._console.size.height,
            width=self._console.size.width,
            plain=self._plain,
        )


def _first_moment(status: Status) -> float | None:
    """When the run's first sheet started: a view that joins later shows the true time."""
    moments = [
        m for sheet in status["sheets"] if (m := moment(sheet.get("started_at"))) is not None
    ]
    return min(moments, default=None)
