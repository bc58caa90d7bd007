"""What a run may do and cost, said before its first turn: instruments, models, permissions, attempts.

Instruments on which a turn costs nothing (`cli`) are not spoken of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.effects import reason_without_effect
from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.profiles import Profiles
from marianne_core.plan.sheets import Plan, SheetPlan
from marianne_core.run.instrument.readiness import costs_nothing
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.style import counted, duration

_NAMED = 3
"""Groups of sheets that are told one by one."""


class _Player(NamedTuple):
    """What sheets have in common that cost and may do the same."""

    instrument: str
    model: str | None
    permissions: str


def stake_lines(
    plan: Plan, profiles: Profiles, settings: DaemonConfig, start_sheet: int | None = None
) -> list[str]:
    """One line about who plays and what it may do, one about how much that may become; none for a
    run that costs nothing. Sheets before `start_sheet` are not counted."""
    players: dict[_Player, int] = {}
    longest = 0.0
    seen: dict[int, _Player | None] = {}
    for sheet in plan.sheets[(start_sheet or 1) - 1 :]:
        choice = id(sheet.choice)  # shared by sheets that are played alike
        if choice not in seen:
            seen[choice] = _player(sheet, profiles.get(sheet.instrument))
        player = seen[choice]
        if player is not None:
            players[player] = players.get(player, 0) + 1
            longest = max(longest, sheet.timeout)
    if not players:
        return []
    return [_who(players), _how_much(plan, settings, sum(players.values()), longest)]


def _player(sheet: SheetPlan, profile: InstrumentProfile | None) -> _Player | None:
    # A key that the score names is of somebody who may want money.
    if profile is None or (costs_nothing(profile) and not sheet.config.get("api_key_env")):
        return None
    told = profile.cli is None or profile.cli.command.model_flag is not None
    model = (sheet.model or profile.default_model) if told else None
    return _Player(sheet.instrument, model, _permissions(profile, sheet.config))


def _permissions(profile: InstrumentProfile, config: Mapping[str, object]) -> str:
    """The permission mode in words; "" for what can do nothing but answer."""
    if profile.cli is None or profile.kind == "http":
        return ""
    flag = profile.cli.command.auto_approve_flag
    if not flag:
        return "its own permission mode"
    if config.get("skip_permissions") is False:
        return "permissions not skipped"
    return f"permissions skipped ({flag})"


def _who(players: Mapping[_Player, int]) -> str:
    told = []
    for player, sheets in list(players.items())[:_NAMED]:
        model = f"model {player.model}" if player.model else "the program's own choice of model"
        parts = [player.instrument, model, player.permissions, counted(sheets, "sheet")]
        told.append(", ".join(part for part in parts if part))
    more = len(players) - len(told)
    if more:
        told.append(f"{more} more: mzt run -n shows them")
    return one_line(f"plays: {'; '.join(told)}")


def _how_much(plan: Plan, settings: DaemonConfig, sheets: int, longest: float) -> str:
    retry = plan.config.retry
    # A sheet is asked to finish the rest only where something is validated.
    completions = retry.max_completion_attempts if plan.config.validations else 0
    each = 1 + retry.max_retries + completions
    return (
        f"may spend: up to {counted(each, 'attempt')} a sheet, {each * sheets} in all, "
        f"each at most {duration(longest)} long; {'; '.join(_limits(plan, settings))}"
    )


def _limits(plan: Plan, settings: DaemonConfig) -> Sequence[str]:
    """The limits on cost that are set and in effect."""
    limits = plan.config.cost_limits
    found = []
    if limits.enabled and reason_without_effect("cost_limits") is None:
        if limits.max_cost_per_job is not None:
            found.append(f"at most ${limits.max_cost_per_job:g} for the run")
        if limits.max_cost_per_sheet is not None:
            found.append(f"at most ${limits.max_cost_per_sheet:g} a sheet")
    if settings.daily_budget is not None and (
        reason_without_effect("conductor.yaml:daily_budget") is None
    ):
        found.append("the daily budget of conductor.yaml")
    return found or ["no limit on cost is in effect"]
