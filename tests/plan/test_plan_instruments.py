from __future__ import annotations

from collections.abc import Callable

import pytest

from marianne_core.plan.sheets import Plan

SCORE = """
instrument: agent
instrument_config: {timeout_seconds: 10, model: base-model, timeout_overrides: {6: 99}, keep: 1}
instrument_fallbacks: [fast, nobody]
instruments:
  fast: {profile: other, config: {timeout_seconds: 40, cli_model: fast-model}}
  chain: {profile: fast, config: {disable_mcp: true}}
movements:
  2: {name: Second, instrument: fast, instrument_config: {timeout_seconds: 20, in_movement: 1}}
  3: {instrument_fallbacks: [cli]}
sheet:
  size: 1
  total_items: 8
  per_sheet_instruments: {4: other}
  instrument_map: {chain: [5]}
  per_sheet_instrument_config: {5: {timeout_seconds: 77}}
  per_sheet_fallbacks: {1: [], 4: [agent]}
  descriptions: {3: the third}
"""


def test_who_plays_and_why(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(SCORE)
    seen = {
        s.num: (s.instrument, s.alias, s.model, s.timeout, s.timeout_source) for s in plan.sheets
    }
    base = ("agent", None, "base-model", 10.0, "instrument_config.timeout_seconds")
    assert seen[1] == seen[3] == seen[7] == base
    # The alias comes after the movement.
    assert seen[2] == (
        "other",
        "fast",
        "fast-model",
        40.0,
        "instruments.fast.config.timeout_seconds",
    )
    assert seen[4] == ("other", None, "base-model", 10.0, "instrument_config.timeout_seconds")
    assert seen[5] == (
        *("other", "chain", "fast-model", 77.0),
        "sheet.per_sheet_instrument_config.5.timeout_seconds",
    )
    assert seen[6] == (*base[:3], 99.0, "instrument_config.timeout_overrides.6")
    assert plan.sheet(2).config["in_movement"] == 1
    assert plan.sheet(5).config["disable_mcp"] is True
    assert "cli_model" not in plan.sheet(5).config
    assert [s.title for s in plan.sheets][:3] == ["", "Second", "the third"]


def test_fallbacks_resolve_aliases_with_their_settings(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(SCORE)
    first, second = plan.sheet(7).fallbacks
    assert (first.profile, first.alias, first.model, first.timeout) == (
        *("other", "fast", "fast-model"),
        40.0,
    )
    # A model that was written for another instrument is not asked for.
    assert (second.profile, second.model, second.playable) == ("nobody", None, False)
    assert second.config["keep"] == 1
    assert plan.sheet(1).fallbacks == ()
    assert [f.profile for f in plan.sheet(3).fallbacks] == ["cli"]
    assert plan.sheet(3).fallbacks[0].raw_prompt is True
    assert [(f.profile, f.model) for f in plan.sheet(4).fallbacks] == [("agent", "base-model")]


def test_sheets_that_are_told_the_same_share_it(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(SCORE)
    assert plan.sheet(7).choice is plan.sheet(8).choice


@pytest.mark.parametrize(
    ("text", "profile", "timeout", "source"),
    [
        ("instrument: agent", "agent", 700.0, "profile agent"),
        ("backend: {type: agent}", "agent", 700.0, "profile agent"),
        (
            "backend: {type: agent, timeout_seconds: 5}",
            "agent",
            5.0,
            "backend.timeout_seconds",
        ),
        (
            "backend: {type: agent, timeout_seconds: 5, timeout_overrides: {1: 6}}",
            "agent",
            6.0,
            "backend.timeout_overrides.1",
        ),
        (
            "backend: {type: agent, timeout_overrides: {1: 6},"
            " sheet_overrides: {1: {timeout_seconds: 8}}}",
            "agent",
            8.0,
            "backend.sheet_overrides.1.timeout_seconds",
        ),
        (
            "backend: {type: agent, timeout_overrides: {1: 6}}\n"
            "sheet: {size: 1, total_items: 1, per_sheet_instrument_config: {1: {timeout_seconds: 9}}}",
            "agent",
            6.0,
            "backend.timeout_overrides.1",
        ),
        ("backend: {}", "claude-code", 1800.0, "profile claude-code"),
        ("instrument: claude_cli", "claude-code", 1800.0, "profile claude-code"),
    ],
)
def test_timeouts_come_from_the_last_place_that_names_one(
    plan_of: Callable[..., Plan], text: str, profile: str, timeout: float, source: str
) -> None:
    sheet = plan_of(text).sheet(1)
    assert (sheet.instrument, sheet.timeout, sheet.timeout_source) == (profile, timeout, source)


def test_the_models_of_the_older_block_count_when_written(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("backend: {type: agent, cli_model: m1, sheet_overrides: {2: {cli_model: m2}}}")
    assert [s.model for s in plan.sheets] == ["m1", "m2", "m1"]
    assert plan_of("backend: {type: agent}").sheet(1).model == "small"
    assert "skip_permissions" not in plan.sheet(1).config


def test_an_alias_that_leads_to_itself_ends(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("instrument: a\ninstruments: {a: {profile: b}, b: {profile: a}}")
    assert plan.sheet(1).choice.playable is False
    plan = plan_of("instrument: agent\ninstruments: {agent: {profile: agent, config: {model: m}}}")
    assert (plan.sheet(1).instrument, plan.sheet(1).model) == ("agent", "m")


def test_a_key_and_its_address_are_for_one_instrument_alone(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        instrument: agent
        instrument_config: {api_key_env: KEY, base_url: http://gate, temperature: 0.5}
        instrument_fallbacks: [other]
        movements: {2: {instrument: other, instrument_config: {api_key_env: OTHER}}}
        sheet: {size: 1, total_items: 3, per_sheet_instruments: {3: other}}
        """
    )
    own, with_its_own, without = (plan.sheet(num).config for num in (1, 2, 3))
    assert (own["api_key_env"], own["base_url"], own["temperature"]) == ("KEY", "http://gate", 0.5)
    assert (with_its_own["api_key_env"], with_its_own["temperature"]) == ("OTHER", 0.5)
    assert "base_url" not in with_its_own
    assert not {"api_key_env", "base_url"} & without.keys()
    (fallback,) = plan.sheet(1).fallbacks
    assert not {"api_key_env", "base_url"} & fallback.config.keys()
