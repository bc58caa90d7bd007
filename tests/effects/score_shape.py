"""How a score is cut into sheets, who plays them, and which are left out."""

from __future__ import annotations

from marianne_core.model.outcome import Ended
from tests.effects.drama import perform
from tests.effects.probe import See, effect
from tests.effects.seams import launch, mzt
from tests.effects.world import ABSENT, World

RAW = {"raw_prompt": True}
"""A profile that is sent the template alone."""


def sheets(world: World) -> list[int]:
    """Numbers of the sheets, in the order in which they start."""
    return [scene.num for scene in perform(world).launches]


def starts(world: World) -> list[float]:
    """When they start, if each takes a second."""
    return perform(world).starts


def titled(title: str) -> See:
    """Whether the player and the person are told a title."""

    async def see(world: World) -> tuple[bool, bool]:
        prompt = await launch(lambda shown: shown.prompt)(world)
        return title in prompt, title in mzt(world, "run", "--dry-run", "song.yaml")

    return see


prompt = launch(lambda shown: shown.prompt)
program = launch(lambda shown: shown.program)
prompt_of_2 = launch(lambda shown: shown.prompt, num=2)
skipped = launch(lambda shown: shown.outcome.ended is Ended.SKIPPED)
skip_reason = launch(lambda shown: shown.outcome.reason)

EXPANDED = {
    "total_items": 2,
    "fan_out_stage_map": {
        1: {"stage": 1, "instance": 1, "fan_count": 2},
        2: {"stage": 1, "instance": 2, "fan_count": 2},
    },
}
PLACE = {"template": "{{ stage }} {{ instance }} {{ fan_count }}"}

SHEETS = [
    effect(
        "sheet.size",
        (1, [1, 2, 3, 4]),
        (2, [1, 2]),
        see=sheets,
        score={"sheet": {"total_items": 4}},
    ),
    effect("sheet.total_items", (1, [1]), (3, [1, 2, 3]), see=sheets),
    effect(
        "sheet.start_item",
        (1, "1"),
        (3, "3"),
        see=prompt,
        score={"sheet": {"total_items": 3}, "prompt": {"template": "{{ start_item }}"}},
        profile=RAW,
    ),
    effect(
        "sheet.descriptions",
        (ABSENT, (False, False)),
        ({1: "Overture"}, (True, True)),
        see=titled("Overture"),
    ),
    effect(
        "sheet.dependencies",
        (ABSENT, [0.0, 1.0, 2.0]),
        ({3: [1]}, [0.0, 0.0, 1.0]),
        see=starts,
        score={"sheet": {"total_items": 3}, "parallel": {"enabled": True}},
    ),
    effect("sheet.fan_out", (ABSENT, [1]), ({1: 3}, [1, 2, 3]), see=sheets),
    effect(
        "sheet.fan_out_stage_map.2.stage",
        (1, "1 2 2"),
        (5, "5 2 2"),
        see=prompt_of_2,
        score={"sheet": EXPANDED, "prompt": PLACE},
        profile=RAW,
    ),
    effect(
        "sheet.fan_out_stage_map.2.instance",
        (2, "1 2 2"),
        (1, "1 1 2"),
        see=prompt_of_2,
        score={"sheet": EXPANDED, "prompt": PLACE},
        profile=RAW,
    ),
    effect(
        "sheet.fan_out_stage_map.2.fan_count",
        (2, "1 2 2"),
        (3, "1 2 3"),
        see=prompt_of_2,
        score={"sheet": EXPANDED, "prompt": PLACE},
        profile=RAW,
    ),
    effect(
        "sheet.skip_when",
        ({1: "job.total_sheets > 1"}, False),
        ({1: "job.total_sheets == 1"}, True),
        see=skipped,
    ),
    effect("sheet.skip_when_command.1.command", ("false", False), ("true", True), see=skipped),
    effect(
        "sheet.skip_when_command.1.description",
        (ABSENT, "skip_when_command: true"),
        ("nothing to do", "skip_when_command: nothing to do"),
        see=skip_reason,
        score={"sheet": {"skip_when_command": {1: {"command": "true"}}}},
    ),
    effect(
        "sheet.skip_when_command.1.timeout_seconds",
        (0.05, False),
        (20, True),
        see=skipped,
        score={"sheet": {"skip_when_command": {1: {"command": "sleep 0.3"}}}},
    ),
]

PLAYERS = [
    effect("instrument", ("player", "true"), ("cli", "bash"), see=program),
    effect(
        "instruments.part.profile",
        ("player", "true"),
        ("cli", "bash"),
        see=program,
        score={"instrument": "part"},
    ),
    effect(
        "movements.1.name", (ABSENT, (False, False)), ("Largo", (True, True)), see=titled("Largo")
    ),
    effect("movements.1.instrument", (ABSENT, "true"), ("cli", "bash"), see=program),
    effect("movements.1.voices", (1, [1]), (3, [1, 2, 3]), see=sheets),
    effect("sheet.per_sheet_instruments", (ABSENT, "true"), ({1: "cli"}, "bash"), see=program),
    effect("sheet.instrument_map", (ABSENT, "true"), ({"cli": [1]}, "bash"), see=program),
]

PROBES = [*SHEETS, *PLAYERS]
