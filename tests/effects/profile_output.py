"""How an instrument's output is read: every key of `cli.output` and `cli.errors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.effects.probe import Probe, See, effect
from tests.effects.seams import judgement, launch
from tests.effects.world import ABSENT

DOCUMENT = json.dumps(
    {
        "answer": "la",
        "note": "si",
        "fault": "no strings",
        "usage": {"in": 5, "out": 7, "cached": {"in": 2}},
    }
)
EVENTS = "\n".join(
    map(
        json.dumps,
        (
            {"type": "thought", "text": "hm", "last": True},
            {"type": "done", "text": "la", "last": True},
            {"type": "done", "text": "si", "last": False},
        ),
    )
)
LIMIT = json.dumps({"type": "limit", "state": "reached"})

INPUT: See = judgement(lambda seen: seen.outcome.input_tokens, out=DOCUMENT)
OUTPUT: See = judgement(lambda seen: seen.outcome.output_tokens, out=DOCUMENT)


def _heard(out: str) -> See:
    """What a sheet is told about the one before it, whose program printed `out`."""
    return launch(lambda shown: shown.prompt, num=2, after={1: out})


LISTENING: Mapping[str, Any] = {
    "sheet": {"total_items": 2},
    "prompt": {"template": "{{ previous_outputs.get(1) }}"},
    "cross_sheet": {"auto_capture_stdout": True},
}


def _output(
    key: str,
    *worlds: tuple[Any, Any],
    see: See,
    score: Mapping[str, Any] | None = None,
    **output: Any,
) -> Probe:
    return effect(
        f"profile:cli.output.{key}",
        *worlds,
        see=see,
        score=score,
        profile={"raw_prompt": True, "cli": {"output": {"format": "json", **output}}},
    )


RESULTS = [
    _output(
        "format",
        ("text", None),
        ("json", 5),
        ("jsonl", 5),
        see=INPUT,
        input_tokens_path="usage.in",
    ),
    _output("result_path", ("answer", "la"), ("note", "si"), see=_heard(DOCUMENT), score=LISTENING),
    _output(
        "error_path",
        (ABSENT, False),
        ("fault", True),
        see=judgement(
            lambda seen: seen.outcome.reason == "exit status 1: no strings", status=1, out=DOCUMENT
        ),
    ),
    _output(
        "completion_event_type",
        ("thought", "hm"),
        ("done", "si"),
        see=_heard(EVENTS),
        score=LISTENING,
        format="jsonl",
        result_path="text",
    ),
    _output(
        "completion_event_filter",
        (ABSENT, "si"),
        ({"last": True}, "la"),
        see=_heard(EVENTS),
        score=LISTENING,
        format="jsonl",
        result_path="text",
        completion_event_type="done",
    ),
    _output("input_tokens_path", (ABSENT, None), ("usage.in", 5), see=INPUT),
    _output("output_tokens_path", (ABSENT, None), ("usage.out", 7), see=OUTPUT),
    _output("aggregate_tokens", (False, 5), (True, 12), see=INPUT, input_tokens_path="usage.*"),
]


def _code(status: int = 1, out: str = "the strings broke") -> See:
    """The error code of an attempt that ended like this; None for a success."""
    return judgement(lambda seen: seen.outcome.code, status=status, out=out)


def _errors(key: str, *worlds: tuple[Any, Any], see: See, **errors: Any) -> Probe:
    output = {"format": "jsonl"} if key.startswith("rate_limit_event") else {}
    return effect(
        f"profile:cli.errors.{key}",
        *worlds,
        see=see,
        profile={"cli": {"output": output, "errors": errors}},
    )


PATTERNS = {
    "rate_limit_patterns": "E102",
    "auth_error_patterns": "E502",
    "capacity_patterns": "E103",
    "timeout_patterns": "E504",
    "crash_patterns": "E003",
    "stale_patterns": "E006",
}

FAILURES = [
    _errors("success_exit_codes", ([0], "E009"), ([0, 3], None), see=_code(status=3)),
    *(
        _errors(key, (["flute"], "E009"), (["strings? broke"], code), see=_code())
        for key, code in PATTERNS.items()
    ),
    _errors("rate_limit_event_type", (ABSENT, "E009"), ("limit", "E102"), see=_code(out=LIMIT)),
    _errors(
        "rate_limit_event_filter",
        ({"state": "near"}, "E009"),
        ({"state": "reached"}, "E102"),
        see=_code(out=LIMIT),
        rate_limit_event_type="limit",
    ),
]

PROBES = [*RESULTS, *FAILURES]
