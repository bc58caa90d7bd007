"""conductor.yaml: limits over all jobs, patience, defaults, and the conductor's log."""

from __future__ import annotations

from pathlib import Path

from tests.effects.drama import FOREVER, OK, perform
from tests.effects.probe import effect
from tests.effects.seams import hosted, launch
from tests.effects.world import ABSENT, World

THREE_FREE = {
    "sheet": {"total_items": 4, "dependencies": {4: [1, 2, 3]}},
    "parallel": {"enabled": True},
}
STUBBORN = """
mkfifo clock; exec 3<>clock
trap 'asked=1' TERM
until [ "$asked" ]; do read -t 0.02 -u 3; done
for tick in {1..15}; do read -t 0.02 -u 3; done
echo bye > farewell
"""
"""Goes some 0.3 s after it was asked to, and says so."""


async def _farewell(world: World) -> list[str]:
    """What a sheet could still write after it was asked to end."""
    world.program(STUBBORN)
    status = await world.run()
    assert status["sheets"][0]["status"] == "failed", status
    return world.lines("farewell")


def _ended_at(world: World) -> float:
    """When a sheet that never ends is ended with its job."""
    return perform(world, lambda num, attempt: (FOREVER, OK)).kills[0].time


def _logged(world: World) -> list[str]:
    """Log files in which a run left a word."""
    said = hosted(world, "run", "--fresh", "song.yaml")
    assert "song#1 completed" in said, said
    logs: list[Path] = [world.home.log, world.conductor_path.parent / "my.log"]
    return [path.name for path in logs if path.exists() and "command.fresh" in path.read_text()]


PROBES = [
    effect(
        "conductor.yaml:max_concurrent_jobs",
        (1, 1),
        (2, 2),
        see=lambda world: perform(world, runs=(1, 2)).at_once,
    ),
    effect(
        "conductor.yaml:max_concurrent_sheets",
        (1, 1),
        (2, 2),
        see=lambda world: perform(world).at_once,
        score=THREE_FREE,
    ),
    effect("conductor.yaml:job_timeout_seconds", (60, 60.0), (90, 90.0), see=_ended_at),
    effect(
        "conductor.yaml:grace_seconds",
        (0, []),
        (20, ["bye"]),
        see=_farewell,
        score={"instrument_config": {"timeout_seconds": 0.2}},
        profile={"cli": {"command": {"executable": "./program"}}},
    ),
    effect(
        "conductor.yaml:default_thinking_method",
        (ABSENT, "think:"),
        ("slowly", "think: slowly"),
        see=launch(lambda shown: shown.prompt.strip()),
        score={"prompt": {"template": "think: {{ thinking_method }}"}},
        profile={"raw_prompt": True},
    ),
    effect("conductor.yaml:log_level", ("info", ["conductor.log"]), ("error", []), see=_logged),
    effect(
        "conductor.yaml:log_file", (ABSENT, ["conductor.log"]), ("my.log", ["my.log"]), see=_logged
    ),
]
