"""What is asked of instruments that cannot do it: V215 (settings), V217 (models), V302 (MCP techniques)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from marianne_core.config.checks.files import blocks_of_settings
from marianne_core.config.instrument import Capability, CliCommand
from marianne_core.config.score.extras import TechniqueKind
from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.instruments import Profiles
from marianne_core.plan.sheets import Plan, SheetPlan
from marianne_core.plan.where import Place, Places

_BY_SETTING_FLAGS = (
    *("max_tokens", "temperature", "base_url", "api_key_env"),
    *("num_ctx", "keep_alive"),
)
"""Settings of models behind HTTP; `setting_flags` of a profile has their flags."""


def settings_without_effect(plan: Plan, profiles: Profiles, places: Places) -> list[Problem]:
    """Settings for which the profile of an instrument has no flag, so that they are dropped.

    Of several instruments that share a setting one that has the flag is enough; but where it is to
    keep agents from something, each of them is named that it does not bind.
    """
    sheets = _by_choice(plan)
    problems = []
    for at, settings in blocks_of_settings(plan.config):
        used_by = [sheet for sheet in sheets if _uses(plan, sheet, at)]
        names = sorted({sheet.instrument for sheet in used_by})
        for key, binds, flag in _wanted(settings):
            without = _lacking(names, flag, profiles)
            agents = [name for name in without if not _raw(profiles, name)]
            if not without or (len(without) < len(names) and not (binds and agents)):
                continue
            who = agents if binds and agents else without
            text = f"{' and '.join(who)} {_have(who)} no flag for {key}: it has no effect there"
            # That no MCP servers are wanted is also written where there are none to keep away, and
            # the older settings of a service where another instrument plays.
            quiet = key == "disable_mcp" or key in _BY_SETTING_FLAGS
            severity = Severity.INFO if quiet else Severity.WARNING
            problems.append(places.problem(severity, "V215", text, (*at, key)))
    return problems


def models_that_nobody_names(plan: Plan, profiles: Profiles, places: Places) -> list[Problem]:
    """Instruments behind HTTP that play sheets without knowing which model is meant: every call of
    the service has to name one."""
    without = {
        sheet.instrument
        for sheet in _by_choice(plan)
        if (profile := profiles.get(sheet.instrument)) is not None
        and profile.kind == "http"
        and not sheet.model
    }
    return [
        places.problem(
            Severity.ERROR,
            "V217",
            f"{name} has no default model, and the score names none",
            ("instrument",),
            hint="write `instrument_config: {model: ...}`",
        )
        for name in sorted(without)
    ]


def techniques_without_servers(plan: Plan, profiles: Profiles, places: Places) -> list[Problem]:
    """Techniques with MCP servers in movements that no instrument with MCP plays."""
    problems = []
    for name, technique in plan.config.techniques.items():
        if technique.kind is not TechniqueKind.MCP:
            continue
        played_by = {
            sheet.instrument
            for sheet in plan.sheets
            if "all" in technique.phases or str(sheet.movement) in technique.phases
        }
        found = [profile for each in sorted(played_by) if (profile := profiles.get(each))]
        if len(found) < len(played_by) or any(Capability.MCP in p.capabilities for p in found):
            continue
        if found:
            who = " and ".join(profile.name for profile in found)
            text = f"the technique {name!r} is an MCP server, which {who} cannot use"
            problems.append(places.problem(Severity.WARNING, "V302", text, ("techniques", name)))
    return problems


def _by_choice(plan: Plan) -> list[SheetPlan]:
    """One sheet of every movement and choice of instrument, and all with settings of their own."""
    own = plan.config.sheet.per_sheet_instrument_config
    found: dict[tuple[int, int, int], SheetPlan] = {}
    for sheet in plan.sheets:
        movement = sheet.movement if sheet.movement in plan.config.movements else 0
        key = (id(sheet.choice), movement, sheet.num if sheet.num in own else 0)
        found.setdefault(key, sheet)
    return list(found.values())


def _uses(plan: Plan, sheet: SheetPlan, at: Place) -> bool:
    """Whether the settings of a block are for this sheet."""
    match at:
        case ("instruments", alias, *_):
            return sheet.alias == alias
        case ("movements", number, *_):
            return sheet.movement == number
        case ("sheet", "per_sheet_instrument_config", number):
            return sheet.num == number
    return True


def _wanted(settings: Mapping[str, Any]) -> Iterator[tuple[str, bool, str]]:
    """Settings that need a flag: name, whether they keep an agent from something, the flag."""
    for key, binds, flag in (
        ("model", False, "model_flag"),
        ("cli_model", False, "model_flag"),
        ("allowed_tools", True, "allowed_tools_flag"),
        ("system_prompt", False, "system_prompt_flag"),
        ("system_prompt_file", False, "system_prompt_flag"),
    ):
        if settings.get(key):
            yield key, binds, flag
    for key in _BY_SETTING_FLAGS:
        if settings.get(key) not in (None, ""):
            yield key, False, key
    if settings.get("skip_permissions") is False:
        yield "skip_permissions", True, "auto_approve_flag"
    if settings.get("disable_mcp") is True:
        yield "disable_mcp", True, "mcp_disable_args"


def _lacking(names: Iterable[str], flag: str, profiles: Profiles) -> list[str]:
    """The instruments that do not have this flag; unknown ones are not among them."""
    commands = {name: _command(profiles, name) for name in names}
    return [
        name
        for name, command in commands.items()
        if command is not None and not _has(command, flag)
    ]


def _has(command: CliCommand, flag: str) -> bool:
    return flag in command.setting_flags or bool(getattr(command, flag, None))


def _command(profiles: Profiles, name: str) -> CliCommand | None:
    profile = profiles.get(name)
    return profile.cli.command if profile is not None and profile.cli is not None else None


def _raw(profiles: Profiles, name: str) -> bool:
    profile = profiles.get(name)
    return profile is not None and profile.raw_prompt


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
