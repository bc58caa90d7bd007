"""What a sheet must have made: every key of a validation rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.effects.probe import See, effect
from tests.effects.seams import judged, launch
from tests.effects.world import ABSENT, World


async def _passed(world: World) -> list[bool]:
    """Which rules pass, where `a.txt` says hello and `sub/here` is there."""
    world.put("a.txt", "hello\n")
    world.put("sub/here")
    return (await judged(world)).passed


async def _looks(world: World) -> int:
    """How often a rule that never passes is looked at."""
    await judged(world)
    return len(world.lines("looks"))


async def _naps(world: World) -> list[float]:
    return (await judged(world)).naps


def _rules(*rules: Mapping[str, Any]) -> dict[str, Any]:
    return {"validations": [{"retry_count": 0, **rule} for rule in rules]}


TOLD: See = launch(lambda shown: "the greeting" in shown.prompt)
CONTENT = _rules({"type": "content_contains", "path": "a.txt", "pattern": "hello"})
MISSING = {"type": "file_exists", "path": "b.txt"}

PROBES = [
    effect(
        "validations.0.type",
        ("file_exists", [True]),
        ("content_contains", [False]),
        see=_passed,
        score=_rules({"path": "a.txt", "pattern": "farewell"}),
    ),
    effect(
        "validations.0.path",
        ("a.txt", [True]),
        ("b.txt", [False]),
        see=_passed,
        score=CONTENT,
    ),
    effect(
        "validations.0.pattern",
        ("hello", [True]),
        ("farewell", [False]),
        see=_passed,
        score=CONTENT,
    ),
    effect(
        "validations.0.description",
        (ABSENT, False),
        ("the greeting", True),
        see=TOLD,
        score=CONTENT,
    ),
    effect(
        "validations.0.command",
        ("true", [True]),
        ("false", [False]),
        see=_passed,
        score=_rules({"type": "command_succeeds"}),
    ),
    effect(
        "validations.0.working_directory",
        (ABSENT, [False]),
        ("sub", [True]),
        see=_passed,
        score=_rules({"type": "command_succeeds", "command": "test -e here"}),
    ),
    effect(
        "validations.1.stage",
        (1, [False, True]),
        (2, [False, False]),
        see=_passed,
        score=_rules(MISSING, {"type": "file_exists", "path": "a.txt"}),
    ),
    effect(
        "validations.0.condition",
        ("sheet_num == 1", [False]),
        ("sheet_num == 2", []),
        see=_passed,
        score={"sheet": {"total_items": 2}, **_rules(MISSING)},
    ),
    effect(
        "validations.0.sheet",
        (1, [False]),
        (2, []),
        see=_passed,
        score={"sheet": {"total_items": 2}, **_rules(MISSING)},
    ),
    effect(
        "validations.0.retry_count",
        (0, 1),
        (2, 3),
        see=_looks,
        score=_rules({"type": "command_succeeds", "command": "echo look >> looks; false"}),
    ),
    effect(
        "validations.0.retry_delay_ms",
        (0, [0.0]),
        (700, [0.7]),
        see=_naps,
        score=_rules({**MISSING, "retry_count": 1}),
    ),
    effect(
        "validations.0.timeout_seconds",
        (0.05, [False]),
        (20, [True]),
        see=_passed,
        score=_rules({"type": "command_succeeds", "command": "sleep 0.3"}),
    ),
]
