"""`cline --json`."""

from __future__ import annotations

from typing import Any

from marianne_core.read.dialects.stream import LINE_LIMIT, EventFormatter
from marianne_core.read.dialects.tally import ClineTally
from marianne_core.read.dialects.values import (
    call_words,
    count_of,
    dict_of,
    list_of,
    number_of,
    result_words,
    short,
    so_far,
    text_of,
    usage_words,
)


class Cline(EventFormatter):
    """Contents that start, go on and end; running totals; a result that repeats the last words."""

    _spoken = 0
    """Characters of the text that is being said."""
    _said = 0
    """Hash of the last text that was said."""

    def __init__(self, line_limit: int = LINE_LIMIT, *, whole: bool = True) -> None:
        super().__init__(line_limit, whole=whole)
        self._tally = ClineTally()

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event.get("type")
        if kind == "agent_event":
            self._tally.take(event)
            self._agent(dict_of(event.get("event")))
        elif kind == "run_result":
            self._result(event)
        elif kind == "run_aborted":
            self.page.line(f"aborted: {short(event.get('reason') or event.get('message'))}")
        elif kind == "error":
            self.failure(event.get("message"))
        elif kind == "say":
            self.page.text(text_of(event.get("text")))
        elif kind != "hook_event":
            self.unknown(event, text_of(kind))

    def _agent(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if text_of(kind).startswith("content_"):
            self._content(event)
        elif kind == "usage":
            tally = self._tally
            self.page.line(so_far(tally.tokens_in, tally.tokens_out, tally.cost))
        elif kind == "done":
            if event.get("reason") == "error":
                self.failure(event.get("text"))
        elif kind not in ("iteration_start", "iteration_end"):
            self.unknown(event, text_of(kind))

    def _content(self, event: dict[str, Any]) -> None:
        kind, over = event.get("contentType"), event.get("type") == "content_end"
        if kind == "text":
            self._speech(text_of(event.get("text")), over=over)
        elif kind == "tool":
            self._tool(event, over=over)
        elif over:
            thought = short(event.get(text_of(kind)) or event.get("text"))
            self.page.line(f"({short(kind, 40) or 'content'}) {thought}" if thought else "")

    def _speech(self, text: str, *, over: bool) -> None:
        """A piece of a text; at its end the whole of it, of which the rest is said."""
        if not over:
            self._spoken += len(text)
            self.page.speak(text)
            return
        self.page.speak(text[self._spoken :])
        self.page.end_speech()
        self._spoken, self._said = 0, hash(text)

    def _tool(self, event: dict[str, Any], *, over: bool) -> None:
        if event.get("type") == "content_start":
            self.page.line(call_words(event.get("toolName"), event.get("input")))
        elif over:
            error, output = event.get("error"), event.get("output")
            results = [dict_of(each) for each in list_of(output)]
            if results:
                output = " ".join(short(each.get("result")) for each in results[:20])
            failed = bool(error) or any(each.get("success") is False for each in results)
            self.page.line(result_words(error or output, failed=failed))

    def _result(self, event: dict[str, Any]) -> None:
        reason, words = short(event.get("finishReason"), 40), text_of(event.get("text"))
        done = reason == "completed"
        if not done and words:
            self.failure(words)
        elif hash(words) != self._said:
            self.page.text(words)
        usage = dict_of(event.get("aggregateUsage"))
        told = usage_words(
            count_of(usage.get("inputTokens")),
            count_of(usage.get("outputTokens")),
            number_of(usage.get("totalCost")),
        )
        head = "done" if done else "failed" if reason == "error" else reason or "ended"
        self.page.line(f"{head}: {told}" if told else head)
