"""Settings of instruments: the same keys in every place where a score may write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.effects.drama import killed_at
from tests.effects.probe import Probe, See, effect
from tests.effects.seams import launch, played
from tests.effects.world import ABSENT, World

PLACES: Mapping[str, Mapping[str, Any]] = {
    "instrument_config": {},
    "instruments.part.config": {
        "instrument": "part",
        "instruments": {"part": {"profile": "player"}},
    },
    "movements.1.instrument_config": {},
    "sheet.per_sheet_instrument_config.1": {},
    "backend": {},
    "backend.sheet_overrides.1": {},
}
"""Where settings stand, and what else the score needs for them to be used."""

ONLY = {
    "backend": {
        "model",
        "cli_model",
        "timeout_seconds",
        "timeout_overrides",
        "allowed_tools",
        "skip_permissions",
        "disable_mcp",
        "system_prompt_file",
        "working_directory",
        "cli_extra_args",
    },
    "backend.sheet_overrides.1": {"model", "cli_model", "timeout_seconds"},
}
"""The older places know fewer settings."""

FLAGS = {
    "cli": {
        "command": {
            "auto_approve_flag": "--yes",
            "model_flag": "--model",
            "system_prompt_flag": "--system",
            "allowed_tools_flag": "--tools",
            "mcp_disable_args": ["--no-mcp"],
        }
    }
}
"""A profile with a flag for everything."""


def _has(argument: str) -> See:
    return launch(lambda shown: argument in shown.argv)


def _behind(flag: str) -> See:
    return launch(lambda shown: shown.behind(flag))


async def _system_prompt(world: World) -> Any:
    (world.folder / "kind.txt").write_text("be kind")
    return (await played(world)).behind("--system")


async def _directory(world: World) -> str:
    world.put("hall/door")
    return str((await played(world)).cwd.relative_to(world.folder))


DIFFERENCES: Mapping[str, tuple[See, tuple[Any, Any], tuple[Any, Any]]] = {
    "model": (_behind("--model"), (ABSENT, None), ("big", "big")),
    "cli_model": (_behind("--model"), (ABSENT, None), ("big", "big")),
    "timeout_seconds": (killed_at, (ABSENT, 1800.0), (90, 90.0)),
    "timeout_overrides": (killed_at, ({2: 90}, 1800.0), ({1: 90}, 90.0)),
    "allowed_tools": (_behind("--tools"), (ABSENT, None), (["Read", "Edit"], "Read,Edit")),
    "skip_permissions": (_has("--yes"), (True, True), (False, False)),
    "disable_mcp": (_has("--no-mcp"), (True, True), (False, False)),
    "system_prompt": (_behind("--system"), (ABSENT, None), ("be kind", "be kind")),
    "system_prompt_file": (_system_prompt, (ABSENT, None), ("kind.txt", "be kind")),
    "working_directory": (_directory, (ABSENT, "ws"), ("hall", "ws/hall")),
    "cli_extra_args": (_has("--more"), (ABSENT, False), (["--more"], True)),
}
"""How each setting is seen, and what is seen with two values of it."""


def _everywhere() -> Iterator[Probe]:
    for place, score in PLACES.items():
        for setting, (see, one, other) in DIFFERENCES.items():
            if setting in ONLY.get(place, DIFFERENCES):
                yield effect(
                    f"{place}.{setting}",
                    one,
                    other,
                    see=see,
                    score={"sheet": {"total_items": 2}, **score},
                    profile=FLAGS,
                )


PROBES = [
    *_everywhere(),
    effect(
        "backend.type",
        ("player", "true"),
        ("cli", "bash"),
        see=launch(lambda shown: shown.program),
        score={"instrument": ABSENT},
    ),
]
