"""How an instrument's output is read: every key of `cli.output` and `cli.errors`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from tests.effects.probe import Probe, See, effect
from tests.effects.seams import hosted, judgement, launch, mzt
from tests.effects.world import ABSENT, World

DOCUMENT = json.dumps(
    {
        "answer": "la",
        "note": "si",
        "fault": "no strings",
        "usage": {"in": 5, "out": 7, "cached": {"in": 2}},
        "cost": 0.5,
    }
)
EVENTS = "\n".join(
    map(
        json.dumps,
        (
            {"type": "thought", "text": "hm", "last": True},
            {"type": "done", "text": "la", "last": True, "used": 3},
            {"type": "done", "text": "si", "last": False, "used": 8},
        ),
    )
)
REFUSED = json.dumps({"type": "error", "call": {"status": 401}})
LIMIT = json.dumps({"type": "limit", "state": "reached"})
DAY = 86_400
NOW = int(time.time())
ENDS = json.dumps({"type": "limit", "end": NOW + DAY, "other": {"resetsAt": NOW + 2 * DAY}})

INPUT: See = judgement(lambda seen: seen.outcome.input_tokens, out=DOCUMENT)
OUTPUT: See = judgement(lambda seen: seen.outcome.output_tokens, out=DOCUMENT)
COST: See = judgement(lambda seen: seen.outcome.cost_usd, out=DOCUMENT)
PAID: See = judgement(lambda seen: seen.outcome.cost_usd, out="in all $0.75 paid")


SAID = json.dumps({"type": "item.completed", "item": {"type": "agent_message", "text": "la"}})


def _told(world: World) -> str:
    """What `mzt logs` says of a sheet whose program printed an event."""
    world.program(f"echo '{SAID}'")
    hosted(world, "run", "song.yaml", "-q")
    return mzt(world, "logs", "song", "--sheet", "1").strip()


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
        "passing_error_path",
        (ABSENT, "exit status 1; last line of stdout"),
        ("text", "exit status 1: si"),
        see=judgement(lambda seen: seen.outcome.reason[:34].rstrip(), status=1, out=EVENTS),
        format="jsonl",
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
    _output(
        "result_in_pieces",
        (False, "si"),
        (True, "lasi"),
        see=_heard(EVENTS),
        score=LISTENING,
        format="jsonl",
        result_path="text",
        completion_event_type="done",
    ),
    _output(
        "more_input_tokens_paths",
        ([], 5),
        (["usage.cached.in"], 7),
        see=INPUT,
        input_tokens_path="usage.in",
    ),
    _output(
        "more_output_tokens_paths",
        ([], 7),
        (["usage.cached.in"], 9),
        see=OUTPUT,
        output_tokens_path="usage.out",
    ),
    _output("cost_path", (ABSENT, None), ("cost", 0.5), see=COST),
    _output(
        "usage_of_last_event",
        (False, 3),
        (True, 8),
        see=judgement(lambda seen: seen.outcome.input_tokens, out=EVENTS),
        format="jsonl",
        input_tokens_path="used",
    ),
    effect(
        "profile:cli.output.dialect",
        ("text", SAID),
        ("codex", "la"),
        see=_told,
        profile={"raw_prompt": True, "cli": {"command": {"executable": "./program"}}},
    ),
    _output("usage_pattern", (ABSENT, None), (r"\$(?P<cost>\S+)", 0.75), see=PAID, format="text"),
]


def _code(status: int = 1, out: str = "the strings broke") -> See:
    """The error code of an attempt that ended like this; None for a success."""
    return judgement(lambda seen: seen.outcome.code, status=status, out=out)


READS_EVENTS = ("rate_limit_event", "rate_limit_reset", "success_event", "status_path")


def _errors(key: str, *worlds: tuple[Any, Any], see: See, **errors: Any) -> Probe:
    output = {"format": "jsonl"} if key.startswith(READS_EVENTS) else {}
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
    "connection_patterns": "E901",
    "timeout_patterns": "E504",
    "answer_patterns": "E503",
    "crash_patterns": "E003",
    "stale_patterns": "E006",
}

FAILURES = [
    _errors("success_exit_codes", ([0], "E009"), ([0, 3], None), see=_code(status=3)),
    *(
        _errors(key, (["flute"], "E009"), (["strings? broke"], code), see=_code())
        for key, code in PATTERNS.items()
    ),
    _errors("own_exit_codes", ([], "E002"), ([144], "E009"), see=_code(status=144)),
    _errors("success_event_type", ("limit", None), ("done", "E009"), see=_code(0, LIMIT)),
    _errors(
        "success_event_filter",
        ({"state": "reached"}, None),
        ({"state": "near"}, "E009"),
        see=_code(0, LIMIT),
    ),
    _errors("success_pattern", ("broke$", None), ("^all well", "E009"), see=_code(0)),
    _errors("status_path", (ABSENT, "E009"), ("call.status", "E502"), see=_code(out=REFUSED)),
    _errors("rate_limit_event_type", (ABSENT, "E009"), ("limit", "E102"), see=_code(out=LIMIT)),
    _errors(
        "rate_limit_event_filter",
        ({"state": "near"}, "E009"),
        ({"state": "reached"}, "E102"),
        see=_code(out=LIMIT),
        rate_limit_event_type="limit",
    ),
    _errors(
        "rate_limit_reset_path",
        (ABSENT, 2),
        ("end", 1),
        see=judgement(lambda seen: round(seen.outcome.limit.seconds / DAY), status=1, out=ENDS),
        rate_limit_event_type="limit",
    ),
]

PROBES = [*RESULTS, *FAILURES]
