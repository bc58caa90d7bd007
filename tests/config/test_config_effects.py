"""The table of fields without effect, the walk over all fields, and their docstrings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import marianne_core.config as config_package
from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.effects import (
    NOT_YET_IN_EFFECT,
    PREFIXES,
    accepted_not_in_effect,
    block_of,
    effect_words,
    reason_without_effect,
    without_effect,
)
from marianne_core.config.fields import first_sentence, model_at, model_fields, walk_fields
from marianne_core.config.load import score_from_text
from marianne_core.config.score.extras import FleetConfig
from marianne_core.config.score.job import JobConfig
from marianne_core.config.score.sheet import InjectionItem, SkipWhenCommand
from marianne_core.config.source import parse_source
from marianne_core.model.problem import Severity

SMALLEST = "name: a\nsheet: {size: 1, total_items: 3}\nprompt: {template: x}\n"
EVERY_PATH = {
    f"{prefix}{path}" for model, prefix in PREFIXES.items() for path in model_fields(model)
}


def test_the_table_names_only_fields_that_exist() -> None:
    assert set(NOT_YET_IN_EFFECT) <= EVERY_PATH


def test_no_entry_hides_below_another() -> None:
    for path in NOT_YET_IN_EFFECT:
        above = block_of(path)
        assert not above or reason_without_effect(above) is None, path


def test_an_entry_covers_what_is_below_it() -> None:
    assert reason_without_effect("stale_detection.enabled")
    assert reason_without_effect("conductor.yaml:profiler.anomaly.memory_spike_threshold")
    assert reason_without_effect("conductor.name")
    for path in ("retry.max_retries", "conductor.yaml:grace_seconds", "profile:cli.command.env"):
        assert reason_without_effect(path) is None


@pytest.mark.parametrize("model", [*PREFIXES, FleetConfig])
def test_every_field_and_every_block_says_what_it_is(model: type) -> None:
    for field in walk_fields(model):
        assert field.doc.endswith("."), field.path
        assert first_sentence(field.doc), field.path
        if field.inner is not None:
            assert field.inner.__doc__


def test_the_walk_reaches_every_corner() -> None:
    paths = set(model_fields(JobConfig))
    assert {
        "name",
        "sheet.prelude.as",
        "sheet.skip_when_command.timeout_seconds",
        "movements.instrument_config.timeout_overrides",
        "sheet.per_sheet_instrument_config.model",
        "learning.auto_apply.trust_threshold",
        "bridge.mcp_servers.env",
        "validations.retry_count",
    } <= paths
    assert "conductor.yaml:learning.backend.ollama.num_ctx" in EVERY_PATH


def test_blocks_are_found_by_the_keys_of_a_file() -> None:
    assert model_at(JobConfig, ("sheet", "cadenzas", 2, 0)) is InjectionItem
    assert model_at(JobConfig, ("sheet", "skip_when_command", 1)) is SkipWhenCommand
    assert model_at(JobConfig, ("sheet", "skip_when_command")) is None
    assert model_at(JobConfig, ("prompt", "variables", "a")) is None


def test_only_what_is_written_is_listed_with_its_line() -> None:
    score = score_from_text(
        SMALLEST
        + "stale_detection: {enabled: true}\n"
        + "instruments:\n  name: {profile: cli, config: {interactive: true, timeout_seconds: 9}}\n"
        + "retry: {max_retries: 1}\n",
        Path("x.yaml"),
    )
    found = accepted_not_in_effect(score)
    assert [(p.line, p.severity) for p in found] == [(4, Severity.INFO), (6, Severity.INFO)]
    assert found[0].message.startswith("`stale_detection` is accepted, but not yet in effect: it")
    assert "`instruments.config.interactive`" in found[1].message
    assert accepted_not_in_effect(score_from_text(SMALLEST, Path("x.yaml"))) == []


def test_conductor_files_are_listed_too() -> None:
    source = parse_source("max_concurrent_jobs: 2\nprofiler: {enabled: false}\n", Path("c.yaml"))
    (problem,) = without_effect(source, DaemonConfig)
    assert problem.line == 2


def test_the_package_offers_the_names_people_import_and_loads_them_when_used() -> None:
    for name in config_package.__all__:
        assert getattr(config_package, name)
    with pytest.raises(AttributeError):
        config_package.__getattr__("Nothing")
    program = (
        "import sys, marianne_core.config; "
        "sys.exit(bool({'pydantic', 'yaml', 'regex', 'asyncio'} & sys.modules.keys()))"
    )
    core = Path(config_package.__file__ or "").parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=core, check=False).returncode == 0


def test_what_comes_later_is_not_yet_in_effect() -> None:
    """Fields of the heading "not yet in effect" say what they wait for."""
    for path in ("instrument_fallbacks", "sheet.per_sheet_fallbacks"):
        assert effect_words(NOT_YET_IN_EFFECT[path]).startswith("not yet in effect: it comes with")
