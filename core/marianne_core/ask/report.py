"""What the program prints: one JSON event a line, each written when it happens."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from marianne_core.ask.trouble import Trouble

_SHORTEST_KEY = 8
"""Characters of a key from which on it is blacked out: a shorter one is no secret, and part of words."""


class Used:
    """Tokens of a turn, as far as they are told."""

    def __init__(self) -> None:
        self.tokens: dict[str, int] = {}
        self.cost: float | None = None
        """In US dollars, where the service says so."""

    def tell(self, name: str, value: object) -> bool:
        """Take a number of tokens; what is none is left aside. True when it says something new."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return False
        news = self.tokens.get(name) != value
        self.tokens[name] = value
        return news


class Report:
    """The events of one turn."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.key = ""
        """Never printed, whoever repeats it."""
        self.used = Used()
        self.model: str | None = None
        """The model that answers, as the service names it."""
        self.stop: str | None = None
        """Why the answer ended, in the service's word."""
        self.request_id: str | None = None
        """Name of the call at the service."""
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """The answer so far."""
        text = "".join(self._pieces)
        try:
            text.encode()
        except UnicodeEncodeError:
            # Characters that were cut in two between pieces become whole again.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text

    def start(self, model: str, url: str) -> None:
        """The service is about to be asked."""
        self.event("start", model=model, url=url)

    def say(self, piece: object) -> None:
        """A piece of the answer."""
        if isinstance(piece, str) and piece:
            self._pieces.append(piece)
            self.event("text", text=piece)

    def think(self, piece: object) -> None:
        """A piece of what the model thinks."""
        if isinstance(piece, str) and piece:
            self.event("thinking", text=piece)

    def count(self) -> None:
        """What was used so far: a turn that is ended from outside has no result."""
        self.event("usage", usage=self.used.tokens)

    def done(self, status: int) -> None:
        """The whole answer is there."""
        self._result(status, result=self.text)

    def failed(self, trouble: Trouble) -> None:
        """There is no answer, or not the whole of it."""
        wait = {} if trouble.retry_after is None else {"retry_after": trouble.retry_after}
        self._result(trouble.status, error=trouble.words, **wait)

    def event(self, kind: str, **values: Any) -> None:
        """Print an event."""
        line = json.dumps({"type": kind, **values}, ensure_ascii=False, separators=(",", ":"))
        if len(self.key) >= _SHORTEST_KEY:
            line = line.replace(self.key, "[REDACTED]")
        self._stream.write(line.encode("utf-8", "replace") + b"\n")
        self._stream.flush()

    def _result(self, status: int | None, **values: Any) -> None:
        told = {
            "model": self.model,
            "stop_reason": self.stop,
            "request_id": self.request_id,
            "cost_usd": self.used.cost,
        }
        self.event(
            "result",
            is_error="error" in values,
            http_status=status,
            **values,
            **{name: value for name, value in told.items() if value is not None},
            usage=self.used.tokens,
        )
