"""What is shown of the recorded outputs, and of what no program should print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.config.profiles import load_profiles
from marianne_core.read.dialects import counts_on, formatter_of
from marianne_core.read.dialects.stream import LINE_LIMIT
from marianne_core.read.printable import clean
from marianne_core.read.redact import MARK

HERE = Path(__file__).resolve().parent
RECORDINGS = HERE.parent / "recordings"
GOLDEN = HERE / "golden"
PROFILES = load_profiles()
CASES = sorted(
    path.relative_to(RECORDINGS)
    for path in RECORDINGS.glob("*/*")
    if path.suffix in (".out", ".err")
)
DIALECTS = ["claude", "cline", "codex", "gemini", "http", "opencode", "text"]
KEY = "sk-ant-api03-" + "Ab9_-" * 8


def dialect_of(instrument: str) -> str:
    """What the built-in profile says; a folder may be named after a version too."""
    profile = PROFILES.get(instrument.removesuffix("-2.1.197"))
    assert profile is not None
    assert profile.cli is not None
    return profile.cli.output.dialect


def formatted(dialect: str | None, data: bytes, piece: int | None = None) -> str:
    formatter = formatter_of(dialect)
    step = piece or len(data) or 1
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    return "".join(map(formatter.feed, pieces)) + formatter.finish()


def lines_of(dialect: str, *events: Any) -> list[str]:
    return formatted(dialect, "\n".join(map(json.dumps, events)).encode()).splitlines()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recording_reads_like_this(case: Path) -> None:
    """`MARIANNE_GOLDEN=1` writes the files anew; look at what changed."""
    golden = GOLDEN / f"{case.parent}.{case.name}.txt"
    shown = formatted(dialect_of(case.parent.name), (RECORDINGS / case).read_bytes())
    if os.environ.get("MARIANNE_GOLDEN"):
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{c.parent}.{c.name}.txt" for c in CASES}


@pytest.mark.parametrize("piece", [1, 7, 64])
@pytest.mark.parametrize("case", [case for case in CASES if case.suffix == ".out"], ids=str)
def test_where_the_bytes_are_cut_makes_no_difference(case: Path, piece: int) -> None:
    data, dialect = (RECORDINGS / case).read_bytes(), dialect_of(case.parent.name)
    assert formatted(dialect, data, piece) == formatted(dialect, data)


def test_an_unknown_dialect_is_plain_text() -> None:
    for dialect in (None, "text", "klingon"):
        assert formatted(dialect, b'{"type":"x"}\n\x1b[1mhi') == '{"type":"x"}\nhi'
        assert not counts_on(dialect)


def printable(text: str) -> bool:
    return clean(text) == text


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just("\x1b]0;x\x07\udc80"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
EVENTS = [
    json.loads(line)
    for case in CASES
    if case.suffix == ".out" and case.parent.name != "aider"
    for line in (RECORDINGS / case).read_bytes().splitlines()
]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    if isinstance(value, dict):
        inner = list(value.items())
    else:
        inner = list(enumerate(value)) if isinstance(value, list) else []
    return found + [place for key, each in inner for place in places(each, (*at, key))]


@settings(deadline=None, max_examples=400)
@given(st.data(), st.sampled_from(EVENTS), VALUES, st.sampled_from(DIALECTS))
def test_no_event_makes_it_fail(data: st.DataObject, event: Any, value: Any, dialect: str) -> None:
    """Any part of a recorded event may be anything else."""
    changed = json.loads(json.dumps(event))
    *way, last = data.draw(st.sampled_from(places(changed)))
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = value
    assert printable(formatted(dialect, json.dumps(changed).encode()))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.sampled_from(DIALECTS))
def test_no_bytes_make_it_fail(data: bytes, dialect: str) -> None:
    formatted(dialect, data, 3)
    formatted(dialect, b'{"type":"' + data + b'"}\n{\n' + data + b"\n}\n")


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"result","total_cost_usd":' + b"9" * 5000 + b"}",
        b'{"type":"assistant","message":{"content":[{"type":"text","text":"\\ud83d"}]}}',
        b'{"type":"rate_limit_event","rate_limit_info":{"resetsAt":1e300}}',
        b'{"type": "\xff\xfe"}',
        b"not JSON {",
    ],
    ids=str,
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_odd_lines_are_shown_somehow(line: bytes, dialect: str) -> None:
    shown = formatted(dialect, line + b"\n")
    assert printable(shown)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_huge_line_takes_no_memory(dialect: str) -> None:
    formatter = formatter_of(dialect)
    piece = b"y" * (1 << 16)
    tracemalloc.start()
    try:
        formatter.feed(b'{"type":"text","text":"')
        for _ in range(512):
            formatter.feed(piece)
        shown = formatter.feed(b'"}\n{"type":"error","message":"after"}\n')
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * LINE_LIMIT
    assert "after" in shown or dialect in ("claude", "opencode")
    if dialect != "text":
        assert "(a line of 33,554,457 bytes is too long to be shown)" in shown


def test_a_document_for_people_ends_with_its_bracket() -> None:
    document = b'{\n  "session_id": "0",\n  "response": "hi",\n  "stats": {}\n}\nmore\n'
    assert formatted("gemini", document) == "hi\ndone\nmore\n"
    assert formatted("gemini", b"{\nno\n}\n{\nopen").split() == ["{", "no", "}", "{", "open"]


SAID = {
    "claude": {"type": "assistant", "message": {"content": [{"type": "text", "text": KEY}]}},
    "codex": {"type": "item.completed", "item": {"type": "agent_message", "text": KEY}},
    "opencode": {"type": "text", "part": {"text": KEY}},
    "gemini": {"type": "message", "role": "assistant", "content": KEY},
    "cline": {
        "type": "agent_event",
        "event": {"type": "content_end", "contentType": "text", "text": KEY},
    },
}


@pytest.mark.parametrize("dialect", SAID)
def test_credentials_are_blacked_out(dialect: str) -> None:
    assert lines_of(dialect, SAID[dialect]) == [MARK]


def test_a_credential_in_two_messages_is_blacked_out() -> None:
    pieces = ("the key is ", KEY[:20], KEY[20:], " and ", "more")
    messages = [
        {"type": "message", "role": "assistant", "content": piece, "delta": True}
        for piece in pieces
    ]
    assert lines_of("gemini", *messages) == [f"the key is {MARK} and more"]


def test_a_credential_at_the_cut_of_a_long_command_leaves_nothing() -> None:
    for blanks in range(560, 680):
        command = "x" * 10 + " " * blanks + KEY + "y" * 500
        shown = lines_of(
            "opencode", {"type": "tool_use", "part": {"tool": "bash", "state": {"input": command}}}
        )
        assert "sk-" not in shown[0]


def test_pieces_of_a_message_are_shown_as_they_come() -> None:
    formatter = formatter_of("gemini")
    message = {"type": "message", "role": "assistant", "delta": True}
    first = formatter.feed(json.dumps({**message, "content": "one, "}).encode() + b"\n")
    second = formatter.feed(json.dumps({**message, "content": "two"}).encode() + b"\n")
    assert (first, second) == ("one, ", "two")
    assert formatter.feed(b'{"type":"tool_use","tool_name":"ls"}\n') == "\n[ls]\n"


def test_cline_s_pieces_are_said_once() -> None:
    def content(kind: str, text: str) -> dict[str, Any]:
        event = {"type": f"content_{kind}", "contentType": "text", "text": text}
        return {"type": "agent_event", "event": event}

    shown = lines_of("cline", content("start", "one "), content("start", "two"))
    assert shown == ["one two"]
    shown = lines_of("cline", content("start", "one "), content("end", "one two"))
    assert shown == ["one two"]


def test_claude_s_tokens_are_counted_once_a_message() -> None:
    def said(message: str, wrote: int) -> dict[str, Any]:
        usage = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": wrote}
        return {"type": "assistant", "message": {"id": message, "usage": usage}}

    result = {"type": "user", "message": {"content": []}}
    shown = lines_of("claude", said("a", 1), said("a", 4), result, said("b", 2), result)
    assert shown == ["so far: 15 tokens in, 4 out", "so far: 30 tokens in, 6 out"]


def test_tools_are_shown_with_file_or_command() -> None:
    calls = {
        "[Bash] ls -l": {"command": "ls -l", "description": "look"},
        "[Grep] TODO in src": {"pattern": "TODO", "path": "src"},
        "[Task] find it": {"prompt": "find it"},
        '[odd] {"colour": "red"}': {"colour": "red"},
    }
    for words, given_input in calls.items():
        block = {"type": "tool_use", "name": words[1 : words.index("]")], "input": given_input}
        assert lines_of("claude", {"type": "assistant", "message": {"content": [block]}}) == [words]


def test_a_tool_that_failed_says_so() -> None:
    block = {
        "type": "tool_result",
        "is_error": True,
        "content": [{"type": "text", "text": "no\nfile"}],
    }
    assert lines_of("claude", {"type": "user", "message": {"content": [block]}}) == [
        "  -> failed: no file"
    ]
    item = {"type": "command_execution", "command": "x", "aggregated_output": "", "exit_code": 2}
    assert lines_of("codex", {"type": "item.completed", "item": item}) == [
        "[run] x",
        "  -> failed: exit status 2",
    ]


def test_an_unknown_event_is_named() -> None:
    for dialect in DIALECTS[:-1]:
        assert lines_of(dialect, {"type": "brand.new", "message": "hi"}) == ["(brand.new) hi"]


def test_it_needs_nothing_heavy() -> None:
    code = (
        "import sys, marianne_core.read.dialects\n"
        "print(*{'asyncio', 'pydantic', 'pydantic_core', 'rich', 'structlog', 'regex', 'yaml'}"
        " & set(sys.modules))"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_an_answer_over_http_is_read_as_it_comes() -> None:
    def piece(text: str, kind: str = "text") -> dict[str, Any]:
        return {"type": kind, "text": text}

    start = {"type": "start", "model": "m", "url": "http://x"}
    usage = {"input_tokens": 9, "output_tokens": 2}
    done = {"type": "result", "is_error": False, "result": "La la.", "usage": usage}
    told = [piece("Hm", "thinking"), piece("m.", "thinking"), piece("La "), piece("la.")]
    head, end = "(m, http://x)", "done: 9 tokens in, 2 out"
    used = {"type": "usage", "usage": usage}
    assert lines_of("http", start, *told, used, done) == [head, "(thinks) Hmm.", "La la.", end]
    assert lines_of("http", start, done) == [head, "La la.", end]
    failed = {"type": "result", "is_error": True, "http_status": 429, "error": "HTTP 429: Slow."}
    assert lines_of("http", failed) == ["limit: HTTP 429: Slow.", "failed"]
    refused = {**failed, "http_status": 401, "error": "HTTP 401: Who?"}
    assert lines_of("http", refused) == ["error: HTTP 401: Who?", "failed"]
    cut = {**failed, "http_status": None, "error": "the answer was cut"}
    assert lines_of("http", piece("La "), cut) == ["La ", "error: the answer was cut", "failed"]
