"""`codex exec --json`."""

from __future__ import annotations

from typing import Any

from marianne_core.read.dialects.stream import EventFormatter
from marianne_core.read.dialects.values import (
    argument_words,
    call_words,
    count_of,
    dict_of,
    list_of,
    result_words,
    short,
    text_of,
    usage_words,
)


class Codex(EventFormatter):
    """Items that are started and completed, in turns."""

    _started: object = None
    """The item whose call was shown last; a result names it only where it is another one."""

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event.get("type")
        item = dict_of(event.get("item"))
        if kind == "item.started":
            self._begin(item)
        elif kind == "item.completed":
            self._complete(item)
        elif kind == "turn.completed":
            usage = dict_of(event.get("usage"))
            told = usage_words(
                count_of(usage.get("input_tokens")), count_of(usage.get("output_tokens"))
            )
            self.page.line(f"done: {told}" if told else "done")
        elif kind == "turn.failed":
            self.failure(dict_of(event.get("error")).get("message"))
            self.page.line("failed")
        elif kind == "error":
            self.failure(event.get("message"))
        elif kind not in ("thread.started", "turn.started", "item.updated"):
            self.unknown(event, text_of(kind))

    def _begin(self, item: dict[str, Any]) -> None:
        call = _call(item)
        if call:
            self._started = item.get("id")
            self.page.line(call)

    def _complete(self, item: dict[str, Any]) -> None:
        kind = item.get("type")
        if kind == "agent_message":
            self.page.text(text_of(item.get("text")))
        elif kind == "reasoning":
            thought = short(item.get("text"))
            self.page.line(f"(thinks) {thought}" if thought else "")
        elif kind == "error":
            # The turn goes on: it is what others call a warning.
            self.page.line(f"warning: {short(item.get('message'), 400)}")
        elif kind == "todo_list":
            todo = [dict_of(each) for each in list_of(item.get("items"))]
            done = sum(each.get("completed") is True for each in todo)
            self.page.line(f"(plan) {done} of {len(todo)} done")
        elif call := _call(item):
            if item.get("id") != self._started or self._started is None:
                self.page.line(call)
            self._result(item)
        else:
            self.unknown(item, text_of(kind))

    def _result(self, item: dict[str, Any]) -> None:
        failed = item.get("status") == "failed"
        if item.get("type") == "command_execution":
            status, said = item.get("exit_code"), short(item.get("aggregated_output"))
            if isinstance(status, int) and status:
                said = f"exit status {status}{f': {said}' if said else ''}"
                failed = True
            self.page.line(result_words(said, failed=failed))
        elif item.get("type") == "mcp_tool_call":
            error = dict_of(item.get("error")).get("message")
            parts = list_of(dict_of(item.get("result")).get("content"))
            said = " ".join(text_of(dict_of(part).get("text")) for part in parts[:20])
            self.page.line(result_words(error or said, failed=failed or error is not None))
        elif failed:
            self.page.line(result_words("", failed=True))


def _call(item: dict[str, Any]) -> str:
    """An item that is the call of a tool; "" for any other."""
    kind = item.get("type")
    if kind == "command_execution":
        return call_words("run", {"command": item.get("command")})
    if kind == "file_change":
        changes = [dict_of(change) for change in list_of(item.get("changes"))[:20]]
        files = [f"{short(each.get('kind'), 20)} {short(each.get('path'))}" for each in changes]
        return call_words("files", {"path": "; ".join(files)})
    if kind == "mcp_tool_call":
        name = f"{short(item.get('server'), 20)}.{short(item.get('tool'), 20)}"
        return call_words(name, item.get("arguments"))
    if kind == "web_search":
        return f"[search] {argument_words({'query': item.get('query')})}"
    return ""
