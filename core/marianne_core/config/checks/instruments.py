"""Who plays: V103, V104, V204, V209, V210, V211, and V213 for settings nobody knows."""

from __future__ import annotations

from collections.abc import Iterator

from marianne_core.config.checks.files import blocks_of_settings
from marianne_core.config.checks.findings import Findings
from marianne_core.config.explain import near
from marianne_core.config.marks import Key
from marianne_core.config.profiles import Profiles, Resolution
from marianne_core.config.score.instruments import InstrumentSettings
from marianne_core.config.score.job import JobConfig

SHORT_TIMEOUT = 60
"""Seconds below which an agent's timeout is likely a mistake."""
LONG_TIMEOUT = 7200
"""Seconds above which a timeout is worth a word."""

_Assigned = tuple[tuple[Key, ...], str]
"""Keys that lead to the name of an instrument, and the name."""


def check_instruments(
    config: JobConfig, profiles: Profiles, findings: Findings, *, to_run: bool
) -> None:
    """Are the instruments known, can they be played, and do their settings make sense?"""
    told: set[str] = set()
    for at, name in _primaries(config):
        resolution = _resolve(config, profiles, name)
        if resolution.name not in told:
            told.add(resolution.name)
            _check_primary(resolution, _place(config, at, name), findings, to_run=to_run)
    for at, name in _fallbacks(config):
        resolution = _resolve(config, profiles, name)
        if resolution.name not in told:
            told.add(resolution.name)
            _check_fallback(resolution, _place(config, at, name), findings)
    for alias in config.instruments:
        resolution = _resolve(config, profiles, alias)
        if resolution.name not in told:
            told.add(resolution.name)
            _check_fallback(resolution, _place(config, (), alias), findings)
    _check_settings(config, profiles, findings)


def _primaries(config: JobConfig) -> Iterator[_Assigned]:
    """Instruments that sheets really begin with."""
    sheet = config.sheet
    if not _all_have_their_own(config):
        if config.instrument is not None:
            yield ("instrument",), config.instrument
        elif "type" in config.backend.model_fields_set:
            yield ("backend", "type"), config.backend.type
        else:
            yield (), config.primary_instrument
    for number, movement in config.movements.items():
        if movement.instrument is not None:
            yield ("movements", number, "instrument"), movement.instrument
    for number, name in sheet.per_sheet_instruments.items():
        yield ("sheet", "per_sheet_instruments", number), name
    for name in sheet.instrument_map:
        yield ("sheet", "instrument_map", name), name


def _all_have_their_own(config: JobConfig) -> bool:
    """True when the score's own instrument plays no sheet."""
    sheet = config.sheet
    stages = range(1, sheet.stages + 1)
    of_stage = {
        number for number, each in config.movements.items() if each.instrument and number in stages
    }
    if len(of_stage) == sheet.stages:
        return True
    single = {*sheet.per_sheet_instruments}.union(*sheet.instrument_map.values())
    if len(single) + len(of_stage) == 0:
        return False
    expanded = {} if sheet.fan_out else sheet.fan_out_stage_map or {}
    num = 1
    for stage in stages:
        for _ in range(config.voices_of(stage)):
            movement = expanded[num].stage if num in expanded else stage
            if movement not in of_stage and num not in single:
                return False
            num += 1
    return True


def _fallbacks(config: JobConfig) -> Iterator[_Assigned]:
    for place, name in enumerate(config.instrument_fallbacks):
        yield ("instrument_fallbacks", place), name
    for number, movement in config.movements.items():
        for place, name in enumerate(movement.instrument_fallbacks):
            yield ("movements", number, "instrument_fallbacks", place), name
    for number, names in config.sheet.per_sheet_fallbacks.items():
        for place, name in enumerate(names):
            yield ("sheet", "per_sheet_fallbacks", number, place), name


def _resolve(config: JobConfig, profiles: Profiles, name: str) -> Resolution:
    return profiles.resolve(config.behind(name)[0])


def _place(config: JobConfig, at: tuple[Key, ...], name: str) -> tuple[Key, ...]:
    """Where to point: to the profile of the last alias on the way when the name is an alias."""
    aliases = config.behind(name)[1]
    return ("instruments", aliases[-1], "profile") if aliases else at


def _check_primary(
    found: Resolution, at: tuple[Key, ...], findings: Findings, *, to_run: bool
) -> None:
    if found.runnable:
        return
    if not found.known:
        findings.error("V210", f"unknown instrument {found.name!r}", *at, hint=_near(found))
        return
    implied = "" if at else "the score names no instrument, so "
    message = f"{implied}{found.name!r} plays, which cannot be played yet: {found.reason}"
    if not implied:
        message = f"the instrument {found.name!r} cannot be played yet: {found.reason}"
    (findings.error if to_run else findings.warn)("V210", message, *at)


def _check_fallback(found: Resolution, at: tuple[Key, ...], findings: Findings) -> None:
    if found.runnable:
        return
    if found.known:
        findings.inform(
            "V211", f"{found.name!r} cannot be played yet and is passed over: {found.reason}", *at
        )
        return
    findings.warn(
        "V211",
        f"unknown instrument {found.name!r}; it is passed over",
        *at,
        hint=_near(found),
    )


def _near(found: Resolution) -> str:
    if found.near:
        return f"did you mean {found.near[0]!r}?"
    return "`mzt instruments list` shows all; aliases stand under `instruments:`"


def _check_settings(config: JobConfig, profiles: Profiles, findings: Findings) -> None:
    known = InstrumentSettings.model_fields
    primary = _resolve(config, profiles, config.primary_instrument)
    raw = primary.profile is not None and primary.profile.raw_prompt
    for at, settings in blocks_of_settings(config):
        if at != ("backend",):
            for key in settings:
                if key not in known:
                    _unknown_setting(key, at, findings)
        if at in (("backend",), ("instrument_config",)) and not raw:
            _check_timeout(settings.get("timeout_seconds"), at, findings)
        if settings.get("skip_permissions") is False and primary.name == "claude-code":
            findings.warn(
                "V204",
                "with skip_permissions off, Claude stops and asks where nobody answers",
                *at,
                "skip_permissions",
            )
        if settings.get("disable_mcp") is False:
            findings.inform(
                "V209",
                "the agent starts with the MCP servers of this machine",
                *at,
                "disable_mcp",
            )


def _unknown_setting(key: object, at: tuple[Key, ...], findings: Findings) -> None:
    close = near(str(key), InstrumentSettings.model_fields)
    findings.warn(
        "V213",
        f"no instrument has a setting `{key}`: it has no effect",
        *at,
        key if isinstance(key, int) else str(key),
        hint=f"did you mean `{close[0]}`?" if close else "",
    )


def _check_timeout(seconds: float | None, at: tuple[Key, ...], findings: Findings) -> None:
    if seconds is None:
        return
    if seconds < SHORT_TIMEOUT:
        findings.warn(
            "V103",
            f"{seconds:g} seconds are short for an agent: its sheets are ended after them",
            *at,
            "timeout_seconds",
        )
    elif seconds > LONG_TIMEOUT:
        findings.inform(
            "V104",
            f"{seconds:g} seconds are more than {LONG_TIMEOUT // 3600} hours",
            *at,
            "timeout_seconds",
        )
