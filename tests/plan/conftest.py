from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.load import Score, score_from_text
from marianne_core.model.problem import Problem
from marianne_core.plan.build import build_plan
from marianne_core.plan.checks import check_plan
from marianne_core.plan.sheets import Plan

_PROFILES = """
cli: {display_name: Shell, kind: cli, raw_prompt: true, default_timeout_seconds: 300,
      cli: {command: {executable: bash}, output: {}}}
agent: {display_name: Agent, kind: cli, default_model: small, default_timeout_seconds: 700,
        cli: {command: {executable: agent}, output: {}}}
other: {display_name: Other, kind: cli, default_timeout_seconds: 900,
        cli: {command: {executable: other}, output: {}}}
"""


@pytest.fixture(scope="session")
def profiles() -> dict[str, InstrumentProfile]:
    """Three instruments: a raw one (`cli`) and two agents."""
    return {
        name: InstrumentProfile.model_validate({"name": name, **data})
        for name, data in yaml.safe_load(_PROFILES).items()
    }


@pytest.fixture
def score_of(tmp_path: Path) -> Callable[[str], Score]:
    """A score from the part of its text that a test is about; name and workspace are added."""

    def make(text: str) -> Score:
        text = textwrap.dedent(text).strip("\n")
        head = ["name: tested", "workspace: ws"]
        if "\nsheet:" not in f"\n{text}":
            head.append("sheet: {size: 1, total_items: 3}")
        if "\nprompt:" not in f"\n{text}":
            head.append("prompt: {template: work}")
        if "\ninstrument:" not in f"\n{text}" and "backend:" not in text:
            head.append("instrument: agent")
        return score_from_text("\n".join([*head, text]) + "\n", tmp_path / "tested.yaml")

    return make


@pytest.fixture
def plan_of(
    score_of: Callable[[str], Score], profiles: dict[str, InstrumentProfile]
) -> Callable[..., Plan]:
    """The plan of such a score."""

    def make(text: str, **options: Any) -> Plan:
        return build_plan(score_of(text), profiles, **options)

    return make


@pytest.fixture
def problems_of(
    score_of: Callable[[str], Score], profiles: dict[str, InstrumentProfile]
) -> Callable[..., list[Problem]]:
    """What `check_plan` finds in such a score."""

    def make(text: str, **options: Any) -> list[Problem]:
        return check_plan(score_of(text), profiles, **options)

    return make
