"""What an instrument is: its names, its models, and whether it can be played."""

from __future__ import annotations

from typing import Any

from tests.effects.drama import killed_at, perform
from tests.effects.probe import Probe, See, effect
from tests.effects.score_surroundings import shown
from tests.effects.seams import launch, mzt
from tests.effects.world import ABSENT, World

THREE_FREE = {
    "sheet": {"total_items": 4, "dependencies": {4: [1, 2, 3]}},
    "parallel": {"enabled": True},
    "instrument_config": {"model": "big"},
}
MODEL = {
    "name": "big",
    "context_window": 1000,
    "cost_per_1k_input": 1,
    "cost_per_1k_output": 1,
    "max_concurrent": 1,
}
LOOK = ("instruments", "check", "player", "--no-turn")
HTTP = {"base_url": "http://localhost", "schema_family": "openai"}
BEHIND_HTTP = {"kind": "http", "default_model": "m", "http": HTTP}


def _refused(world: World) -> bool:
    return bool(world.refusal)


def _at_once(world: World) -> int:
    return perform(world).at_once


def _state(world: World) -> tuple[bool, bool]:
    """Whether a score is refused, and whether a person is told what is known."""
    return _refused(world), "it hums" in mzt(world, *LOOK)


def _has_no_servers(world: World) -> bool:
    return "is an MCP server" in mzt(world, "validate", str(world.score_path))


_FLAGS = {"base_url": "--profile-url", "endpoint": "--endpoint", "schema_family": "--family"}


def _http(key: str, *worlds: tuple[Any, Any]) -> Probe:
    see = launch(lambda seen: seen.behind(_FLAGS[key]))
    return effect(f"profile:http.{key}", *worlds, see=see, profile=BEHIND_HTTP)


def _login(key: str, *worlds: tuple[Any, Any], words: str, **login: Any) -> Probe:
    return effect(
        f"profile:cli.login.{key}",
        *worlds,
        see=shown(*LOOK, words=words),
        profile={"cli": {"login": login}},
    )


TOLD: See = shown(*LOOK, words="it hums")

PROBES = [
    effect("profile:name", ("player", False), ("fiddle", True), see=_refused),
    effect(
        "profile:display_name",
        ("Player", False),
        ("The great player", True),
        see=shown("instruments", "list", words="The great player"),
    ),
    effect(
        "profile:description",
        (ABSENT, False),
        ("It plays all day", True),
        see=shown(*LOOK, words="It plays all day"),
    ),
    effect(
        "profile:kind",
        ("cli", False),
        ("http", True),
        see=launch(lambda seen: "--profile-url" in seen.argv),
        profile={"http": HTTP, "default_model": "m"},
    ),
    _http("base_url", ("http://hall", "http://hall"), ("http://stage", "http://stage")),
    _http("endpoint", (ABSENT, "/v1/chat/completions"), ("/play", "/play")),
    _http("schema_family", ("openai", "openai"), ("anthropic", "anthropic")),
    effect(
        "profile:http.auth_env_var",
        (ABSENT, None),
        ("CITY", "Rome"),
        see=launch(lambda seen: seen.env.get("CITY")),
        profile=BEHIND_HTTP,
    ),
    effect(
        "profile:models.0.max_output_tokens",
        (ABSENT, None),
        (90, "90"),
        see=launch(lambda seen: seen.behind("--max-output")),
        profile={**BEHIND_HTTP, "models": [{"name": "m"}]},
    ),
    effect(
        "profile:models.0.name",
        ("big", 1),
        ("small", 3),
        see=_at_once,
        score=THREE_FREE,
        profile={"models": [MODEL]},
    ),
    effect(
        "profile:models.0.max_concurrent",
        (1, 1),
        (2, 2),
        see=_at_once,
        score=THREE_FREE,
        profile={"models": [MODEL]},
    ),
    effect(
        "profile:default_model",
        (ABSENT, None),
        ("big", "big"),
        see=launch(lambda seen: seen.behind("--model")),
        profile={"cli": {"command": {"model_flag": "--model"}}},
    ),
    effect("profile:default_timeout_seconds", (ABSENT, 1800.0), (90, 90.0), see=killed_at),
    effect(
        "profile:capabilities",
        (["shell_access"], True),
        (["mcp"], False),
        see=_has_no_servers,
        score={"techniques": {"tools": {"kind": "mcp", "phases": ["all"]}}},
    ),
    effect(
        "profile:raw_prompt",
        (False, False),
        (True, True),
        see=launch(lambda seen: seen.prompt == "play sheet 1"),
    ),
    effect(
        "profile:execution_status",
        ("ready", (False, False)),
        ("warning", (False, True)),
        ("unsupported", (True, True)),
        see=_state,
        profile={"execution_status_detail": "it hums"},
    ),
    effect(
        "profile:execution_status_detail",
        (ABSENT, False),
        ("it hums", True),
        see=TOLD,
        profile={"execution_status": "unsupported"},
    ),
    effect(
        "profile:cli.command.version_args",
        (ABSENT, False),
        (["7.6.5"], True),
        see=shown("instruments", "list", words="7.6.5"),
        profile={"cli": {"command": {"executable": "echo"}}},
    ),
    _login("needed", (True, False), (False, True), words="login: not needed"),
    _login("env", ([], False), (["CITY"], True), words="login: seen: CITY"),
    _login("files", (["~/none"], False), (["~/song.yaml"], True), words="login: seen: ~/song.yaml"),
    _login(
        "hint", (ABSENT, False), ("play loud", True), words="to log in: play loud", env=["NONE"]
    ),
]
