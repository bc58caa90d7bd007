"""Settings of instruments: the same keys in every place where a score may write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.effects.drama import killed_at
from tests.effects.probe import Probe, See, effect
from tests.effects.seams import Played, launch, played
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
        "max_tokens",
        "temperature",
        "api_key_env",
    },
    "backend.sheet_overrides.1": {
        *("model", "cli_model", "timeout_seconds", "max_tokens", "temperature"),
    },
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
            "required_env": [],
            "setting_flags": {
                "max_tokens": "--tokens",
                "temperature": "--temperature",
                "base_url": "--url",
                "api_key_env": "--key",
                "num_ctx": "--context",
                "keep_alive": "--keep",
            },
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


def _key(shown: Played) -> tuple[str | None, str | None]:
    """The variable that the program is told of, and what it finds there."""
    return shown.behind("--key"), shown.env.get("CITY")


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
    "max_tokens": (_behind("--tokens"), (ABSENT, None), (90, "90")),
    "temperature": (_behind("--temperature"), (ABSENT, None), (0, "0.0")),
    "base_url": (_behind("--url"), (ABSENT, None), ("http://hall", "http://hall")),
    "api_key_env": (launch(_key), (ABSENT, (None, None)), ("CITY", ("CITY", "Rome"))),
    "num_ctx": (_behind("--context"), (ABSENT, None), (4096, "4096")),
    "keep_alive": (_behind("--keep"), (ABSENT, None), ("5m", "5m")),
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


OLLAMA: Mapping[str, tuple[See, tuple[Any, Any], tuple[Any, Any]]] = {
    "base_url": (_behind("--base-url"), (ABSENT, None), ("http://hall", "http://hall")),
    "model": (_behind("--model"), (ABSENT, "llama3.1:8b"), ("big", "big")),
    "num_ctx": (_behind("--num-ctx"), (ABSENT, None), (4096, "4096")),
    "keep_alive": (_behind("--keep-alive"), (ABSENT, None), ("9m", "9m")),
    "timeout_seconds": (killed_at, (ABSENT, 300.0), (90, 90.0)),
}
"""The older block for one instrument alone."""

PROBES = [
    *_everywhere(),
    *(
        effect(
            f"backend.ollama.{setting}",
            one,
            other,
            see=see,
            score={"instrument": ABSENT, "backend": {"type": "ollama"}},
        )
        for setting, (see, one, other) in OLLAMA.items()
    ),
    effect(
        "backend.type",
        ("player", "true"),
        ("cli", "bash"),
        see=launch(lambda shown: shown.program),
        score={"instrument": ABSENT},
    ),
]
