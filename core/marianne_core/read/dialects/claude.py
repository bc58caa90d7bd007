"""`claude --output-format stream-json` (or json)."""

from __future__ import annotations

from typing import Any

from marianne_core.read.dialects.stream import LINE_LIMIT, EventFormatter
from marianne_core.read.dialects.tally import ClaudeTally, claude_usage
from marianne_core.read.dialects.values import (
    call_words,
    count_of,
    dict_of,
    list_of,
    number_of,
    result_words,
    short,
    text_of,
    time_words,
    usage_words,
)


class Claude(EventFormatter):
    """Messages of the model and of its tools; the result at the end repeats the last words."""

    _said = 0
    """Hash of the last words: a result that repeats them is not shown again."""

    def __init__(self, line_limit: int = LINE_LIMIT, *, whole: bool = True) -> None:
        super().__init__(line_limit, whole=whole)
        self._tally = ClaudeTally()

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        self._tally.take(event)
        kind = event.get("type")
        if kind == "assistant":
            self._assistant(event, dict_of(event.get("message")))
        elif kind == "user":
            self._tools(dict_of(event.get("message")))
        elif kind == "result":
            self._result(event)
        elif kind == "system":
            self._system(event)
        elif kind == "rate_limit_event":
            self._limit(dict_of(event.get("rate_limit_info")))
        elif kind not in ("stream_event", "control_request", "control_response", "keep_alive"):
            self.unknown(event, text_of(kind))

    def _system(self, event: dict[str, Any]) -> None:
        kind = event.get("subtype")
        if kind == "init":
            mode = short(event.get("permissionMode"), 40)
            self.page.line(f"({short(event.get('model'), 60)}, permissions: {mode or 'unknown'})")
        elif kind == "compact_boundary":
            self.page.line("(the conversation was made shorter)")

    def _assistant(self, event: dict[str, Any], message: dict[str, Any]) -> None:
        error = event.get("error")
        for block in map(dict_of, list_of(message.get("content"))):
            kind = block.get("type")
            if kind == "text" and error:
                limited = error == "rate_limit"
                self.failure(block.get("text"), kind="limit" if limited else "error")
            elif kind == "text":
                words = text_of(block.get("text"))
                self._said = hash(words)
                self.page.text(words)
            elif kind == "thinking":
                thought = short(block.get("thinking"))
                self.page.line(f"(thinks) {thought}" if thought else "")
            elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
                self.page.line(call_words(block.get("name"), block.get("input")))
            else:
                self._tool_result(block)

    def _tools(self, message: dict[str, Any]) -> None:
        for block in map(dict_of, list_of(message.get("content"))):
            self._tool_result(block)
        self.so_far(self._tally)

    def _tool_result(self, block: dict[str, Any]) -> None:
        if not text_of(block.get("type")).endswith("tool_result"):
            return
        content = block.get("content")
        parts = [text_of(dict_of(part).get("text")) for part in list_of(content)]
        said = "\n".join(filter(None, parts)) if isinstance(content, list) else content
        self.page.line(result_words(said, failed=block.get("is_error") is True))

    def _limit(self, info: dict[str, Any]) -> None:
        status = short(info.get("status"), 40)
        if status.startswith("allowed"):
            return
        until = time_words(info.get("resetsAt"))
        kind = short(info.get("rateLimitType"), 40)
        self.page.line(f"limit: {kind or 'usage'} {status}{f', until {until}' if until else ''}")

    def _result(self, event: dict[str, Any]) -> None:
        words = text_of(event.get("result"))
        failed = event.get("is_error") is True
        if failed:
            status = count_of(event.get("api_error_status"))
            errors = [text for text in map(text_of, list_of(event.get("errors"))) if text]
            self.failure("; ".join([words, *errors] if words else errors), kind=_kind(status))
        elif hash(words) != self._said:
            self.page.text(words)
        for denial in map(dict_of, list_of(event.get("permission_denials"))):
            self.page.line(
                f"not permitted: {call_words(denial.get('tool_name'), denial.get('tool_input'))}"
            )
        turns = count_of(event.get("num_turns"))
        told = [f"{turns} turn{'' if turns == 1 else 's'}"] if turns else []
        used = usage_words(*claude_usage(event), number_of(event.get("total_cost_usd")))
        told += [used] if used else []
        self.page.line(": ".join(filter(None, ["failed" if failed else "done", ", ".join(told)])))


def _kind(status: int) -> str:
    if status == 429:
        return "limit"
    return f"error (HTTP {status})" if status else "error"
