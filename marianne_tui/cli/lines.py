"""An event as one line for a person: what `mzt run` prints into a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marianne_core.model.events import Event
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import clock_time, colour_of, glyph, paint

_DETAILS = ("instrument", "attempt", "mode", "error_code", "pass_rate")


def event_line(
    event: Event, titles: Mapping[int, str], *, colour: bool = False, plain: bool = False
) -> str:
    """`12:03:04 ✗ sheet 2 failed (Break) · attempt 1 · E009 · exit status 3; ...`.

    `titles` are the sheets' descriptions. `plain` uses ASCII glyphs.
    """
    state = str(event.data.get("status") or "")
    mark = glyph(state, ascii_only=plain) if state else " "
    subject, _, happening = event.event.rpartition(".")
    happening = happening.replace("_", " ")
    if event.sheet_num:
        what = f"sheet {event.sheet_num} {happening}"
        title = titles.get(event.sheet_num)
        if title:
            what += f" ({one_line(title, 48)})"
    elif subject == "sheets":
        what = f"{_sheets_words(event.data)} {happening}"
    else:
        subject = subject.removeprefix("baton.").replace(".", " ").replace("_", " ")
        what = f"{subject or 'event'} {happening}"
    separator = " - " if plain else " · "
    parts = [one_line(what), *_detail_words(event.data)]
    reason = event.data.get("reason")
    if reason:
        parts.append(one_line(reason))
    line = separator.join(parts)
    return f"{clock_time(event.timestamp)} {paint(mark, colour_of(state), colour)} {line}"


def _sheets_words(data: Mapping[str, Any]) -> str:
    """`99996 sheets (5-100000)`: what an event about many sheets at once is about."""
    blocks = data.get("blocks") or []
    shown = [f"{first}-{last}" if first != last else f"{first}" for first, last in blocks[:3]]
    if len(blocks) > len(shown):
        shown.append("...")
    return f"{data.get('count', 'many')} sheets" + (f" ({', '.join(shown)})" if shown else "")


def _detail_words(data: Mapping[str, Any]) -> list[str]:
    words = []
    for key in _DETAILS:
        value = data.get(key)
        if value is None or (key == "attempt" and not value):
            continue
        if key == "attempt":
            words.append(f"attempt {one_line(value)}")
        elif key == "mode":
            words.append(f"{one_line(value)} mode")
        elif key == "pass_rate":
            if isinstance(value, int | float) and value < 100:
                words.append(f"{value:.0f} % of its validations passed")
        else:
            words.append(one_line(value))
    return words
