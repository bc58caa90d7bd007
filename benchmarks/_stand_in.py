"""A stand-in for an agent: `_stand_in.py LINES RATE [GO]` prints Claude's events, RATE of them a second.

It writes ten times a second, so that fifty of them leave a machine of two cores to those measured.
RATE 0: all at once. It begins when the file GO is there: fifty interpreters that start are another load.
"""

from __future__ import annotations

import json
import os
import sys
import time

_WORDS = "it reads the tests first and looks at what they say about the order of lines "
_BATCHES = 10
"""Writes a second."""


def _line(event: dict[str, object]) -> bytes:
    told = {**event, "session_id": "00000000-0000-4000-8000-000000000000"}
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def _message(number: int, block: dict[str, object]) -> bytes:
    usage = {"input_tokens": 1200, "cache_read_input_tokens": 900, "output_tokens": 40}
    message = {"id": f"msg_{number}", "role": "assistant", "model": "m", "content": [block]}
    return _line({"type": "assistant", "message": {**message, "usage": usage}})


def _events() -> list[bytes]:
    """Ten lines of about 500 bytes: words, a call of a tool, and what it answered."""
    lines = []
    for number in range(5):
        if number % 2:
            block = {"type": "text", "text": _WORDS * 3}
        else:
            call = {"file_path": f"src/part{number}.py", "content": _WORDS * 2}
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": "Write", "input": call}
        answer = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": _WORDS * 4}
        lines.append(_message(number, block))
        lines.append(_line({"type": "user", "message": {"role": "user", "content": [answer]}}))
    return lines


BEGIN = _line({"type": "system", "subtype": "init", "model": "m", "permissionMode": "default"})
END = _line(
    {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "num_turns": 5,
        "result": "done",
        "total_cost_usd": 0.5,
        "modelUsage": {"m": {"inputTokens": 1200, "outputTokens": 40}},
    }
)


def main() -> None:
    lines, rate = int(sys.argv[1]), int(sys.argv[2])
    events = _events()
    os.write(1, BEGIN)
    while len(sys.argv) > 3 and not os.path.exists(sys.argv[3]):
        time.sleep(0.1)
    block = b"".join(events[number % len(events)] for number in range(rate // _BATCHES or lines))
    size = rate // _BATCHES or lines
    start = time.monotonic()
    for number in range(lines // size):
        if rate:
            time.sleep(max(0.0, start + (number + 1) / _BATCHES - time.monotonic()))
        left = memoryview(block)
        while left:
            left = left[os.write(1, left) :]
    os.write(1, END)


if __name__ == "__main__":
    main()
