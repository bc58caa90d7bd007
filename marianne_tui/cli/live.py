"""The live view of a run on a terminal: one picture of the newest status, repainted in place."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from marianne_core.model.events import Event
from marianne_tui.cli.estimate import time_left
from marianne_tui.cli.picture import (
    Sheet,
    Status,
    chosen,
    counts,
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
_SHORTEST_TITLE = 8
_INSTRUMENT_CELLS = 16


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
    if (left := time_left(status, now)) is not None:
        seconds = max(1, round(left))
        facts.append(f"about {duration(seconds) if seconds >= 10 else f'{seconds} s'} left")
    head.append(separator + separator.join(facts))
    reason = one_line(status.get("reason") or "")
    if reason:
        head.append(separator + reason, style=colour_of(state))
    sheets: list[Sheet] = list(status["sheets"])
    bar = _bar(status, min(60, max(10, width - 8)), plain)
    shown = chosen(sheets, max(1, height - _FRAME_LINES))
    parts: list[RenderableType] = [head, bar]
    if shown:
        parts.extend(_rows(shown, titles, now, plain, width))
    if len(shown) < len(sheets):
        rest = Text(f"  {counts_words(sheets)}", style="dim", no_wrap=True, overflow="ellipsis")
        parts.append(rest)
    return Group(*parts)


def _bar(status: Status, cells: int, plain: bool) -> Text:
    """What is completed, and behind it what ended otherwise; the number is of the first alone."""
    total = max(1, int(status["sheets_total"]))
    done = int(status["sheets_completed"]) / total
    parts = counts(status["sheets"])
    full, other, empty = ("#", "x", "-") if plain else ("━", "╍", "─")
    end, bar = 0, Text()
    for ended, mark, colour in (
        (done, full, colour_of(str(status["status"]))),
        (parts["failed"] / total, other, colour_of("failed")),
        ((parts["skipped"] + parts["cancelled"]) / total, other, colour_of("skipped")),
    ):
        upto = min(cells, end + round(ended * cells))
        bar.append(mark * (upto - end), style=colour)
        end = upto
    bar.append(empty * (cells - end), style="dim")
    return bar.append(f" {done:4.0%}")


def _rows(
    sheets: list[Sheet], titles: Mapping[int, str], now: float, plain: bool, width: int
) -> list[Text]:
    """One line a sheet. Short columns are never squeezed: title and note share what is left."""
    cells = [_cells(sheet, titles, now, plain) for sheet in sheets]
    names = [cell_len(row.title) for row in cells]
    fixed = [max(cell_len(row.fixed[i][0]) for row in cells) for i in range(len(_RIGHT))]
    room = width - sum(fixed) - len(fixed) - 1
    title_room = min(max(names), _TITLE_CELLS, max(_SHORTEST_TITLE, room // 2))
    lines = []
    for row in cells:
        line = Text(no_wrap=True, overflow="ellipsis")
        for i, (text, style) in enumerate(row.fixed):
            if i == _TITLE_AT:
                line.append(set_cell_size(_cut(row.title, title_room), title_room) + " ")
            blanks = " " * (fixed[i] - cell_len(text))
            line.append(blanks + text if _RIGHT[i] else text + blanks, style=style)
            line.append(" ")
        line.append(row.note, style=row.note_style)
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


class _Cells(NamedTuple):
    fixed: tuple[tuple[str, str], ...]
    """Glyph, number, status, elapsed, tries, instrument: each with its style."""
    title: str
    note: str
    note_style: str


_RIGHT = (False, True, False, True, False, False)
"""Which of the fixed columns are aligned to the right."""
_TITLE_AT = 2
"""The title stands before this fixed column."""


def _cells(sheet: Sheet, titles: Mapping[int, str], now: float, plain: bool) -> _Cells:
    state = str(sheet["status"])
    colour = colour_of(state)
    attempts = int(sheet.get("attempts") or 0)
    fixed = (
        (glyph(state, ascii_only=plain), colour),
        (str(sheet["num"]), ""),
        (word(state), colour),
        (duration(elapsed(sheet, now)), "" if is_running(sheet) else "dim"),
        (f"try {attempts}" if attempts > 1 else "", "magenta"),
        (one_line(sheet.get("instrument") or "", _INSTRUMENT_CELLS), "dim"),
    )
    title = one_line(titles.get(int(sheet["num"])) or f"movement {sheet.get('movement')}")
    return _Cells(fixed, title, note(sheet), colour if state == "failed" else "dim")


def _cut(text: str, room: int) -> str:
    return text if cell_len(text) <= room else set_cell_size(text, room - 1) + "…"


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
