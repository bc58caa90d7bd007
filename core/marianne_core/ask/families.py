"""The formats of requests and answers: Anthropic's, OpenAI's, Ollama's.

An answer comes as a stream of JSON objects, or as one object where the service does not stream. Its
values are anybody's: what is not as it should be is left aside, and an answer that has not said that
it is over is none.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from marianne_core.ask.report import Report
from marianne_core.ask.trouble import ANSWER, ANSWER_FAILED, STATUS, Trouble

_LONGEST_ANSWER = 16384
"""Tokens of an answer where the service wants a number and nobody gave one."""

_CONTEXT = 32_768
"""Tokens of context that Ollama is asked for: its own default cuts long prompts without a word."""

_THINKERS = re.compile(r"(?:^|/)(?:o\d|gpt-[5-9])")
"""Models of OpenAI that call the length of an answer by its newer name alone."""

_STATUS_OF = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
    "server_overloaded": 503,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "timeout_error": 504,
    "api_error": 500,
    "server_error": 500,
}
"""Errors in the middle of an answer, as the HTTP status they would have had before it."""


class Family(ABC):
    """One format; reads one answer."""

    accepts = "text/event-stream"

    def __init__(self, report: Report) -> None:
        self.report = report
        self.complete = False
        """The service has said that this is the whole answer."""

    def headers(self, key: str) -> dict[str, str]:
        """How the key is handed over; "" for none."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    @abstractmethod
    def body(self, prompt: str, settings: Mapping[str, str], *, official: bool) -> dict[str, Any]:
        """The request. `official`: it goes to the service that gave the family its name."""

    @abstractmethod
    def take(self, part: dict[str, Any]) -> None:
        """Take a part of the answer. Raises Trouble for an error in it."""

    def check_end(self) -> None:
        """Nothing more comes. Raises Trouble unless this is a whole answer."""
        report = self.report
        if not self.complete:
            got = f"after {len(report.text)} characters" if report.text else "before its first word"
            raise Trouble(f"{ANSWER}was cut: the connection ended {got}")
        if report.stop in ("refusal", "content_filter"):
            raise Trouble(f"{ANSWER}was refused by the service ({report.stop})")
        if not report.text.strip():
            raise Trouble(f"{ANSWER}has no text (it ended with: {report.stop or 'nothing said'})")


class Anthropic(Family):
    """Messages."""

    _input = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._read: dict[str, int] = {}

    def headers(self, key: str) -> dict[str, str]:
        """It has a header of its own for the key."""
        return {"anthropic-version": "2023-06-01", **({"x-api-key": key} if key else {})}

    def body(self, prompt: str, settings: Mapping[str, str], *, official: bool) -> dict[str, Any]:
        """The request; the length of the answer must be given."""
        longest = settings.get("max-tokens") or settings.get("max-output") or _LONGEST_ANSWER
        body: dict[str, Any] = {
            "model": settings["model"],
            "max_tokens": int(longest),
            "stream": True,
            "messages": [{"role": "user", "content": prompt}],
        }
        if "system" in settings:
            body["system"] = settings["system"]
        if "temperature" in settings:
            body["temperature"] = float(settings["temperature"])
        return body

    def take(self, part: dict[str, Any]) -> None:
        """Take an event, or the whole message."""
        kind = part.get("type")
        if kind == "content_block_delta":
            delta = _dict(part.get("delta"))
            self.report.say(delta.get("text"))
            self.report.think(delta.get("thinking"))
        elif kind == "content_block_start":
            self.report.say(_dict(part.get("content_block")).get("text"))
        elif kind == "message_start":
            self._message(_dict(part.get("message")))
        elif kind == "message_delta":
            self.report.stop = _text(_dict(part.get("delta")).get("stop_reason"))
            self._count(_dict(part.get("usage")))
        elif kind == "message_stop":
            self.complete = True
        elif kind == "message":
            self._message(part)
            for block in _list(part.get("content")):
                self.report.say(_dict(block).get("text"))
                self.report.think(_dict(block).get("thinking"))
            self.report.stop = _text(part.get("stop_reason"))
            self.complete = "content" in part
        elif "error" in part:
            raise error_of(part)

    def _message(self, message: dict[str, Any]) -> None:
        self.report.model = _text(message.get("model"))
        self.report.request_id = self.report.request_id or _text(message.get("id"))
        self._count(_dict(message.get("usage")))

    def _count(self, usage: dict[str, Any]) -> None:
        """What caches gave or took is told beside the rest; totals replace earlier ones."""
        used = self.report.used
        for name in self._input:
            value = usage.get(name)
            if isinstance(value, int):
                self._read[name] = value
        news = bool(self._read) and used.tell("input_tokens", sum(self._read.values()))
        news |= used.tell("cache_read_tokens", self._read.get(self._input[1]))
        news |= used.tell("cache_write_tokens", self._read.get(self._input[2]))
        news |= used.tell("output_tokens", usage.get("output_tokens"))
        if news:
            self.report.count()


class OpenAI(Family):
    """Chat completions, as most services speak them."""

    _refuses = False
    """What it says is why it does not answer."""

    def body(self, prompt: str, settings: Mapping[str, str], *, official: bool) -> dict[str, Any]:
        """The request; tokens are told at the end of a stream only where that is asked for."""
        body: dict[str, Any] = {
            "model": settings["model"],
            "messages": _messages(prompt, settings),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if "max-tokens" in settings:
            newer = official or _THINKERS.search(settings["model"])
            name = "max_completion_tokens" if newer else "max_tokens"
            body[name] = int(settings["max-tokens"])
        if "temperature" in settings:
            body["temperature"] = float(settings["temperature"])
        return body

    def take(self, part: dict[str, Any]) -> None:
        """Take a chunk, or the whole completion."""
        if part.get("error"):
            raise error_of(part)
        report = self.report
        report.model = _text(part.get("model")) or report.model
        report.request_id = report.request_id or _text(part.get("id"))
        for choice in map(_dict, _list(part.get("choices"))[:1]):
            said = _dict(choice.get("delta")) or _dict(choice.get("message"))
            report.think(said.get("reasoning_content") or said.get("reasoning"))
            content = said.get("content")
            for piece in content if isinstance(content, list) else (content,):
                report.say(_dict(piece).get("text") if isinstance(piece, dict) else piece)
            self._refuses = self._refuses or bool(said.get("refusal"))
            report.say(said.get("refusal"))
            if why := _text(choice.get("finish_reason")):
                report.stop = "refusal" if self._refuses else why
                self.complete = True
        self._count(_dict(part.get("usage")))

    def _count(self, usage: dict[str, Any]) -> None:
        used = self.report.used
        read = _dict(usage.get("prompt_tokens_details"))
        wrote = _dict(usage.get("completion_tokens_details"))
        news = used.tell("input_tokens", usage.get("prompt_tokens"))
        news |= used.tell("output_tokens", usage.get("completion_tokens"))
        news |= used.tell("cache_read_tokens", read.get("cached_tokens"))
        news |= used.tell("reasoning_tokens", wrote.get("reasoning_tokens"))
        cost = usage.get("cost")
        if isinstance(cost, int | float) and not isinstance(cost, bool):
            used.cost = float(cost)
        if news:
            self.report.count()


class Ollama(Family):
    """Ollama's own chat: of its formats the only one that takes the size of the context."""

    accepts = "application/x-ndjson"

    def body(self, prompt: str, settings: Mapping[str, str], *, official: bool) -> dict[str, Any]:
        """The request."""
        options: dict[str, Any] = {"num_ctx": int(settings.get("num-ctx", _CONTEXT))}
        if "max-tokens" in settings:
            options["num_predict"] = int(settings["max-tokens"])
        if "temperature" in settings:
            options["temperature"] = float(settings["temperature"])
        body: dict[str, Any] = {
            "model": settings["model"],
            "messages": _messages(prompt, settings),
            "stream": True,
            "options": options,
        }
        if "keep-alive" in settings:
            # A number is seconds, or never and for ever (0, -1); as a text it would need a unit.
            kept = settings["keep-alive"]
            body["keep_alive"] = int(kept) if kept.lstrip("-").isdecimal() else kept
        return body

    def take(self, part: dict[str, Any]) -> None:
        """Take a line."""
        if part.get("error"):
            raise error_of(part)
        report = self.report
        report.model = _text(part.get("model")) or report.model
        message = _dict(part.get("message"))
        report.think(message.get("thinking"))
        report.say(message.get("content"))
        if part.get("done") is True:
            self.complete = True
            report.stop = _text(part.get("done_reason"))
            news = report.used.tell("input_tokens", part.get("prompt_eval_count"))
            news |= report.used.tell("output_tokens", part.get("eval_count"))
            if news:
                report.count()


FAMILIES: dict[str, type[Family]] = {"anthropic": Anthropic, "openai": OpenAI, "ollama": Ollama}


def error_of(part: dict[str, Any]) -> Trouble:
    """The trouble that an object with an `error` tells of."""
    words, kinds = words_of(part)
    known = [_STATUS_OF[kind] for kind in kinds if kind in _STATUS_OF]
    status = known[0] if known else _status_in(_dict(part.get("error")).get("code"))
    told = f" ({kinds[0]})" if kinds and kinds[0] not in words else ""
    means = f" ({STATUS}{status})" if status else ""
    return Trouble(f"{ANSWER_FAILED}{means}: {words}{told}", status=status)


def _status_in(code: object) -> int | None:
    """Gateways such as OpenRouter write a status where others have a word."""
    return code if type(code) is int and 400 <= code < 600 else None


def words_of(part: dict[str, Any]) -> tuple[str, list[str]]:
    """What an error says, and what kinds of error it names."""
    error = part.get("error")
    inner = _dict(error)
    says = (inner.get("message"), error, part.get("message"), part.get("detail"))
    words = next((each for each in says if isinstance(each, str) and each.strip()), "")
    kinds = (inner.get("type"), inner.get("code"), inner.get("status"))
    return words.strip() or "without a word", [each for each in kinds if isinstance(each, str)]


def _messages(prompt: str, settings: Mapping[str, str]) -> list[dict[str, str]]:
    system = [{"role": "system", "content": settings["system"]}] if "system" in settings else []
    return [*system, {"role": "user", "content": prompt}]


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
