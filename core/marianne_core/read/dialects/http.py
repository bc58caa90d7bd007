"""A model behind HTTP, as the program `marianne_core.ask` tells of it."""

from __future__ import annotations

from typing import Any

from marianne_core.read.dialects.stream import EventFormatter
from marianne_core.read.dialects.values import (
    count_of,
    dict_of,
    number_of,
    short,
    text_of,
    usage_words,
)

_AT_ITS_LONGEST = ("max_tokens", "length", "model_context_window_exceeded")
"""Why an answer ended that is as long as it may be, in the services' words."""


class Http(EventFormatter):
    """Words as they come, and a result that repeats them."""

    _speaks = ""
    """What the last piece was of: the answer (`text`) or thoughts."""
    _said = False
    """Some of the answer was shown."""

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = text_of(event.get("type"))
        if kind in ("text", "thinking"):
            self._speak(kind, text_of(event.get("text")))
        elif kind == "start":
            model, url = short(event.get("model"), 60), short(event.get("url"))
            self.page.line(f"({model or 'unknown model'}, {url or 'unknown address'})")
        elif kind == "result":
            self._result(event)
        elif kind != "usage":
            self.unknown(event, kind)

    def _speak(self, kind: str, words: str) -> None:
        if kind != self._speaks:
            self.page.end_speech()
            if kind == "thinking":
                self.page.speak("(thinks) ")
        self._speaks = kind
        self._said = self._said or kind == "text"
        self.page.speak(words)

    def _result(self, event: dict[str, Any]) -> None:
        failed = event.get("is_error") is True
        if failed:
            limited = event.get("http_status") == 429
            self.failure(event.get("error"), kind="limit" if limited else "error")
        elif not self._said:
            self.page.text(text_of(event.get("result")))
        usage = dict_of(event.get("usage"))
        told = usage_words(
            count_of(usage.get("input_tokens")),
            count_of(usage.get("output_tokens")),
            number_of(event.get("cost_usd")),
        )
        cut = event.get("stop_reason") in _AT_ITS_LONGEST
        more = "; the answer is cut at its longest" if cut else ""
        words = ": ".join(filter(None, ["failed" if failed else "done", told]))
        self.page.line(f"{words}{more}")
