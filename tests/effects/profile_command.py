"""How an instrument's program is called: every key of `cli.command`."""

from __future__ import annotations

from typing import Any

from tests.effects.probe import Probe, See, effect
from tests.effects.seams import Played, launch
from tests.effects.world import ABSENT

CONFIG = {
    "instrument_config": {
        "model": "big",
        "timeout_seconds": 90,
        "system_prompt": "be kind",
        "allowed_tools": ["Read"],
        "disable_mcp": True,
        "temperature": 0.5,
    }
}
"""A score that gives every flag something to say."""

ARGUMENTS: See = launch(lambda shown: shown.argv)


def _handed_over(shown: Played) -> tuple[list[str], bytes | None]:
    assert shown.spec is not None
    return shown.argv, shown.spec.stdin


def _key(name: str, *worlds: tuple[Any, Any], see: See = ARGUMENTS, **command: Any) -> Probe:
    """A probe of one key, beside others of the same block."""
    return effect(
        f"profile:cli.command.{name}",
        *worlds,
        see=see,
        score=CONFIG,
        profile={"raw_prompt": True, "cli": {"command": command}},
    )


def _variable(name: str) -> See:
    return launch(lambda shown: shown.env.get(name))


TEMPLATE = "play sheet 1"

PROBES: list[Probe] = [
    _key(
        "executable", ("true", "true"), ("false", "false"), see=launch(lambda shown: shown.program)
    ),
    _key("subcommand", (ABSENT, []), ("go", ["go"])),
    _key("auto_approve_flag", (ABSENT, []), ("--yes", ["--yes"])),
    _key("output_format_flag", (ABSENT, []), ("--format", ["--format"])),
    _key(
        "output_format_value",
        (ABSENT, ["--format"]),
        ("json", ["--format", "json"]),
        output_format_flag="--format",
    ),
    _key("model_flag", (ABSENT, []), ("--model", ["--model", "big"])),
    _key("timeout_flag", (ABSENT, []), ("--timeout", ["--timeout", "90"])),
    _key(
        "working_dir_flag",
        (ABSENT, False),
        ("--cd", True),
        see=launch(lambda shown: shown.behind("--cd") == str(shown.cwd)),
    ),
    _key("system_prompt_flag", (ABSENT, []), ("--system", ["--system", "be kind"])),
    _key("allowed_tools_flag", (ABSENT, []), ("--tools", ["--tools", "Read"])),
    _key("setting_flags", ({}, []), ({"temperature": "--warmth"}, ["--warmth", "0.5"])),
    effect(
        "profile:cli.command.max_output_flag",
        (ABSENT, []),
        ("--longest", ["--longest", "90"]),
        see=ARGUMENTS,
        profile={"models": [{"name": "m", "max_output_tokens": 90}], "default_model": "m"},
    ),
    _key(
        "prompt_flag",
        (ABSENT, [TEMPLATE]),
        ("--prompt", ["--prompt", TEMPLATE]),
        prompt_via_stdin=False,
    ),
    _key(
        "prompt_via_stdin",
        (True, ([], TEMPLATE.encode())),
        (False, ([TEMPLATE], None)),
        see=launch(_handed_over),
    ),
    _key("stdin_sentinel", (ABSENT, []), ("-", ["--prompt", "-"]), prompt_flag="--prompt"),
    _key("mcp_disable_args", (ABSENT, []), (["--no-mcp"], ["--no-mcp"])),
    _key("extra_flags", (ABSENT, []), (["--quick", "now"], ["--quick", "now"])),
    _key("env", (ABSENT, None), ({"TOWN": "in ${CITY}"}, "in Rome"), see=_variable("TOWN")),
    _key("required_env", (ABSENT, "Rome"), (["LANG"], None), see=_variable("CITY")),
]
