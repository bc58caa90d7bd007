"""Answers with many items: encoded piece by piece, and sent in parts to a client that asks for it.

A job of 100,000 sheets has a status of 25 MB: more than one message carries, and encoded at once
it would hold the loop for a tenth of a second. So a client may send `parts: true`; it then gets
notifications `answer.part` with some items each, and at last the answer without them. Others get
the whole answer in one message, as far as the message limit allows. (The partial results of the
Language Server Protocol are the same idea.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from marianne_core.serve.protocol import RequestId, RpcError, encode, encode_value
from marianne_core.serve.wire import MAX_MESSAGE, PART_METHOD, Code

_PORTION = 64 * 1024
"""Bytes encoded without letting others have the loop; about a millisecond of work."""


@dataclass(frozen=True, slots=True)
class LongResult:
    """The result of a method that may have very many items."""

    items: Iterable[tuple[str, object]]
    """Names and values, made while they are encoded; in a list the names do not matter."""
    member: str = ""
    """Which member of the result holds the items, as an object; empty: the result is their list."""
    rest: dict[str, Any] | None = None
    """The other members of the result."""

    @property
    def empty(self) -> object:
        """The result without any item."""
        return {**(self.rest or {}), self.member: {}} if self.member else []

    def portions(self) -> Iterator[bytes]:
        """The items as JSON, some at a time, with commas between them and no brackets."""
        texts: list[bytes] = []
        size = 0
        for name, value in self.items:
            text = encode_value(value)
            texts.append(encode_value(name) + b":" + text if self.member else text)
            size += len(texts[-1]) + 1
            if size >= _PORTION:
                yield b",".join(texts)
                texts, size = [], 0
        if texts:
            yield b",".join(texts)


async def answer_in_parts(request_id: RequestId, long: LongResult) -> AsyncIterator[bytes]:
    """The messages that make the answer, in order. Raises RpcError for an item beyond the limit."""
    opening, closing = (b"{", b"}") if long.member else (b"[", b"]")
    about = encode_value({"id": request_id, "member": long.member})[:-1]
    head = f'{{"jsonrpc":"2.0","method":"{PART_METHOD}","params":'.encode() + about + b',"items":'
    for portion in long.portions():
        line = b"".join((head, opening, portion, closing, b"}}\n"))
        if len(line) > MAX_MESSAGE:
            raise _too_long(request_id)
        yield line
        await asyncio.sleep(0)
    yield encode({"jsonrpc": "2.0", "id": request_id, "result": long.empty})


async def whole_answer(request_id: RequestId, long: LongResult) -> bytes:
    """The answer as one message. Raises RpcError when it is beyond the limit."""
    frame = encode({"jsonrpc": "2.0", "id": request_id, "result": long.empty})
    # What closes the frame: the empty object or list, the result, the message and the newline.
    at = len(frame) - (len(b"}}}\n") if long.member else len(b"]}\n"))
    pieces, size = [frame[:at]], len(frame)
    for portion in long.portions():
        if len(pieces) > 1:
            pieces.append(b",")
        pieces.append(portion)
        size += len(portion) + 1
        if size > MAX_MESSAGE:
            raise _too_long(request_id)
        await asyncio.sleep(0)
    return b"".join((*pieces, frame[at:]))


def _too_long(request_id: RequestId) -> RpcError:
    what = f"the answer is longer than {MAX_MESSAGE // 2**20} MiB"
    hint = "a client that sends `parts: true` gets it in parts"
    return RpcError(Code.EXHAUSTED, what, data={"what": what, "hint": hint}, request_id=request_id)
