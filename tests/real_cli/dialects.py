"""The protocols that the programs speak to their services: Anthropic, OpenAI (two), Gemini.

A dialect turns a turn into the events of a streamed answer, or into one document where the program
did not ask for a stream. Only what the programs need is there.
"""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tests.real_cli.tools import Call
from tests.real_cli.turns import CACHED, READ, WRITTEN, Refuse

Json = dict[str, Any]


class Used(NamedTuple):
    """Tokens that an answer reports."""

    read: int = READ
    cached: int = CACHED
    """Those among `read` that came from a cache."""
    written: int = WRITTEN


NOTHING = Used(0, 0, 0)


class Dialect(ABC):
    """One protocol."""

    path: str
    """Part of the path of a call."""

    def wants_stream(self, path: str, request: Json) -> bool:
        """Whether the program asked for a stream of events."""
        return bool(request.get("stream"))

    @abstractmethod
    def stream(
        self, request: Json, answer: Iterable[str] | Call, used: Used
    ) -> Iterator[tuple[str | None, Json | str]]:
        """The events of an answer: name, if the protocol names them, and data."""

    @abstractmethod
    def document(self, request: Json, answer: str | Call, used: Used) -> Json:
        """The whole answer."""

    def refusal(self, turn: Refuse) -> Json:
        """Body of an HTTP error."""
        return {"error": {"type": turn.kind, "code": turn.kind, "message": turn.message}}


class Anthropic(Dialect):
    """Messages."""

    path = "/v1/messages"

    def stream(
        self, request: Json, answer: Iterable[str] | Call, used: Used
    ) -> Iterator[tuple[str | None, Json | str]]:
        def event(kind: str, **fields: Any) -> tuple[str, Json]:
            return kind, {"type": kind, **fields}

        head = {**self._message(request, used), "content": [], "stop_reason": None}
        yield event("message_start", message=head)
        call = isinstance(answer, Call)
        block = {**self._block(answer), "input": {}} if isinstance(answer, Call) else _EMPTY_TEXT
        yield event("content_block_start", index=0, content_block=block)
        if isinstance(answer, Call):
            arguments = json.dumps(answer.arguments)
            deltas: Iterable[Json] = ({"type": "input_json_delta", "partial_json": arguments},)
        else:
            deltas = ({"type": "text_delta", "text": piece} for piece in answer)
        for delta in deltas:
            yield event("content_block_delta", index=0, delta=delta)
        yield event("content_block_stop", index=0)
        why = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        yield event("message_delta", delta=why, usage={"output_tokens": used.written})
        yield event("message_stop")

    def document(self, request: Json, answer: str | Call, used: Used) -> Json:
        why = "tool_use" if isinstance(answer, Call) else "end_turn"
        message = self._message(request, used)
        return {**message, "content": [self._block(answer)], "stop_reason": why}

    def refusal(self, turn: Refuse) -> Json:
        return {"type": "error", "error": {"type": turn.kind, "message": turn.message}}

    @staticmethod
    def _message(request: Json, used: Used) -> Json:
        usage = {
            "input_tokens": used.read - used.cached,
            "cache_read_input_tokens": used.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": used.written,
        }
        kind = {"type": "message", "role": "assistant", "model": request.get("model")}
        return {"id": _name("msg"), **kind, "stop_sequence": None, "usage": usage}

    @staticmethod
    def _block(answer: str | Call) -> Json:
        if isinstance(answer, Call):
            name, arguments = answer
            return {"type": "tool_use", "id": _name("toolu"), "name": name, "input": arguments}
        return {"type": "text", "text": answer}


_EMPTY_TEXT: Json = {"type": "text", "text": ""}


class Responses(Dialect):
    """OpenAI responses."""

    path = "/responses"

    def stream(
        self, request: Json, answer: Iterable[str] | Call, used: Used
    ) -> Iterator[tuple[str | None, Json | str]]:
        response = {"id": _name("resp"), "object": "response", "model": request.get("model")}
        number = 0

        def event(kind: str, **fields: Any) -> tuple[str, Json]:
            nonlocal number
            number += 1
            return kind, {"type": kind, "sequence_number": number, **fields}

        started: Json = {**response, "status": "in_progress", "output": []}
        yield event("response.created", response=started)
        if isinstance(answer, Call):
            item = self._item(answer)
            blank = {**item, "arguments": "", "status": "in_progress"}
            yield event("response.output_item.added", output_index=0, item=blank)
        else:
            item = self._item("")
            where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
            blank = {**item, "content": [], "status": "in_progress"}
            yield event("response.output_item.added", output_index=0, item=blank)
            yield event("response.content_part.added", **where, part=item["content"][0])
            text = ""
            for piece in answer:
                text += piece
                yield event("response.output_text.delta", **where, delta=piece)
            item["content"][0]["text"] = text
            yield event("response.output_text.done", **where, text=text)
            yield event("response.content_part.done", **where, part=item["content"][0])
        yield event("response.output_item.done", output_index=0, item=item)
        done = {**response, "status": "completed", "output": [item], "usage": self._usage(used)}
        yield event("response.completed", response=done)

    def document(self, request: Json, answer: str | Call, used: Used) -> Json:
        head = {"id": _name("resp"), "object": "response", "model": request.get("model")}
        output = [self._item(answer)]
        return {**head, "status": "completed", "output": output, "usage": self._usage(used)}

    @staticmethod
    def _item(answer: str | Call) -> Json:
        if isinstance(answer, Call):
            names = {"id": _name("fc"), "call_id": _name("call"), "name": answer.name}
            arguments = json.dumps(answer.arguments)
            return {"type": "function_call", **names, "arguments": arguments, "status": "completed"}
        part = {"type": "output_text", "text": answer, "annotations": []}
        head = {"type": "message", "id": _name("msg"), "role": "assistant"}
        return {**head, "status": "completed", "content": [part]}

    @staticmethod
    def _usage(used: Used) -> Json:
        return {
            "input_tokens": used.read,
            "input_tokens_details": {"cached_tokens": used.cached},
            "output_tokens": used.written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used.read + used.written,
        }


class ChatCompletions(Dialect):
    """OpenAI chat completions, as most other services speak them too."""

    path = "/chat/completions"

    def stream(
        self, request: Json, answer: Iterable[str] | Call, used: Used
    ) -> Iterator[tuple[str | None, Json | str]]:
        head = {"id": _name("chat"), "object": "chat.completion.chunk", "created": 1}
        head["model"] = request.get("model")

        def chunk(delta: Json, why: str | None = None) -> Json:
            return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": why}]}

        if isinstance(answer, Call):
            calls = [{"index": 0, **self._call(answer)}]
            yield None, chunk({"role": "assistant", "tool_calls": calls})
            yield None, chunk({}, "tool_calls")
        else:
            for piece in answer:
                yield None, chunk({"role": "assistant", "content": piece})
            yield None, chunk({}, "stop")
        yield None, {**head, "choices": [], "usage": self._usage(used)}
        yield None, "[DONE]"

    def document(self, request: Json, answer: str | Call, used: Used) -> Json:
        message: Json = {"role": "assistant", "content": None}
        if isinstance(answer, Call):
            message["tool_calls"], why = [self._call(answer)], "tool_calls"
        else:
            message["content"], why = answer, "stop"
        head = {"id": _name("chat"), "object": "chat.completion", "created": 1}
        choices = [{"index": 0, "message": message, "finish_reason": why}]
        model = request.get("model")
        return {**head, "model": model, "choices": choices, "usage": self._usage(used)}

    @staticmethod
    def _call(answer: Call) -> Json:
        function = {"name": answer.name, "arguments": json.dumps(answer.arguments)}
        return {"id": _name("call"), "type": "function", "function": function}

    @staticmethod
    def _usage(used: Used) -> Json:
        return {
            "prompt_tokens": used.read,
            "prompt_tokens_details": {"cached_tokens": used.cached},
            "completion_tokens": used.written,
            "total_tokens": used.read + used.written,
        }


class Gemini(Dialect):
    """Gemini's generateContent."""

    path = "enerateContent"  # generateContent and streamGenerateContent

    def wants_stream(self, path: str, request: Json) -> bool:
        return "stream" in path

    def stream(
        self, request: Json, answer: Iterable[str] | Call, used: Used
    ) -> Iterator[tuple[str | None, Json | str]]:
        for piece in (answer,) if isinstance(answer, Call) else answer:
            yield None, {"candidates": [self._candidate(piece)]}
        yield None, self.document(request, "", used)

    def document(self, request: Json, answer: str | Call, used: Used) -> Json:
        usage = {
            "promptTokenCount": used.read,
            "cachedContentTokenCount": used.cached,
            "candidatesTokenCount": used.written,
            "totalTokenCount": used.read + used.written,
        }
        candidate = {**self._candidate(answer), "finishReason": "STOP"}
        return {"candidates": [candidate], "usageMetadata": usage}

    def refusal(self, turn: Refuse) -> Json:
        status = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}.get(turn.status, "INTERNAL")
        return {"error": {"code": turn.status, "message": turn.message, "status": status}}

    @staticmethod
    def _candidate(answer: str | Call) -> Json:
        part: Json = {"text": answer}
        if isinstance(answer, Call):
            part = {"functionCall": {"name": answer.name, "args": answer.arguments}}
        return {"index": 0, "content": {"role": "model", "parts": [part]}}


DIALECTS: tuple[Dialect, ...] = (Anthropic(), Responses(), ChatCompletions(), Gemini())


def _name(kind: str) -> str:
    """A name that no other answer has."""
    return f"{kind}_{uuid.uuid4().hex[:20]}"
