"""`opencode run --format json`."""

from __future__ import annotations

from typing import Any

from marianne_core.read.dialects.stream import LINE_LIMIT, EventFormatter
from marianne_core.read.dialects.tally import OpencodeTally
from marianne_core.read.dialects.values import (
    call_words,
    count_of,
    dict_of,
    result_words,
    short,
    text_of,
)


class Opencode(EventFormatter):
    """Parts of messages, and steps that tell what each of them used."""

    def __init__(self, line_limit: int = LINE_LIMIT, *, whole: bool = True) -> None:
        super().__init__(line_limit, whole=whole)
        self._tally = OpencodeTally()

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event.get("type")
        part = dict_of(event.get("part"))
        if kind == "text":
            self.page.text(text_of(part.get("text")))
        elif kind == "reasoning":
            thought = short(part.get("text"))
            self.page.line(f"(thinks) {thought}" if thought else "")
        elif kind == "tool_use":
            self._tool(part)
        elif kind == "step_finish":
            self._tally.take(event)
            self.so_far(self._tally)
        elif kind == "error":
            error = dict_of(event.get("error"))
            data = dict_of(error.get("data"))
            status = count_of(data.get("statusCode"))
            words = "limit" if status == 429 else f"error (HTTP {status})" if status else "error"
            self.failure(data.get("message") or error.get("name"), kind=words)
        elif kind != "step_start":
            self.unknown(event, text_of(kind))

    def _tool(self, part: dict[str, Any]) -> None:
        state = dict_of(part.get("state"))
        self.page.line(call_words(part.get("tool"), state.get("input")))
        failed = state.get("status") == "error"
        if failed or state.get("status") == "completed":
            self.page.line(result_words(state.get("error" if failed else "output"), failed=failed))
