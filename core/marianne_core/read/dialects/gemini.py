"""`gemini -o stream-json` (or json)."""

from __future__ import annotations

from typing import Any

from marianne_core.read.dialects.stream import EventFormatter
from marianne_core.read.dialects.values import (
    call_words,
    count_of,
    dict_of,
    result_words,
    short,
    text_of,
    usage_words,
)


class Gemini(EventFormatter):
    """Messages that come in pieces, tools, a result; or one document with all."""

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event.get("type")
        if kind == "message":
            self._message(event)
        elif kind == "tool_use":
            self.page.line(call_words(event.get("tool_name"), event.get("parameters")))
        elif kind == "tool_result":
            error = dict_of(event.get("error")).get("message")
            failed = event.get("status") == "error"
            self.page.line(result_words(error or event.get("output"), failed=failed))
        elif kind == "init":
            self.page.line(f"({short(event.get('model'), 60) or 'unknown model'})")
        elif kind == "error":
            warns = event.get("severity") == "warning"
            self.failure(event.get("message"), kind="warning" if warns else "error")
        elif kind == "result":
            self._result(event, failed=event.get("status") == "error")
        elif "response" in event or "error" in event:
            self.page.text(text_of(event.get("response")))
            self._result(event, failed="error" in event)
        else:
            self.unknown(event, text_of(kind))

    def _message(self, event: dict[str, Any]) -> None:
        if event.get("role") != "assistant":
            return  # the prompt
        words = text_of(event.get("content"))
        if event.get("delta") is True:
            self.page.speak(words)
        else:
            self.page.text(words)

    def _result(self, event: dict[str, Any], *, failed: bool) -> None:
        if failed:
            self.failure(dict_of(event.get("error")).get("message"))
        stats = dict_of(event.get("stats"))
        used = count_of(stats.get("input_tokens")), count_of(stats.get("output_tokens"))
        if not any(used):
            models = dict_of(stats.get("models")).values()
            tokens = [dict_of(dict_of(model).get("tokens")) for model in models]
            used = (
                sum(count_of(each.get("prompt")) for each in tokens),
                sum(count_of(each.get("candidates")) for each in tokens),
            )
        words = ["failed" if failed else "done", usage_words(*used)]
        self.page.line(": ".join(filter(None, words)))
