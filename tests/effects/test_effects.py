"""No dead field: every field that is accepted changes something, or stands in the table of those
that do nothing yet."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

from marianne_core.config.effects import PREFIXES, reason_without_effect
from marianne_core.config.fields import walk_fields
from tests.effects import registry
from tests.effects.probe import Probe

LEAVES = {
    f"{prefix}{field.path}"
    for model, prefix in PREFIXES.items()
    for field in walk_fields(model)
    if field.inner is None
}
"""Every field that holds a value. A block does what the fields in it do."""


def test_every_field_has_a_probe_or_stands_in_the_table() -> None:
    probed = {probe.field for probe in registry.PROBES}
    in_effect = {field for field in LEAVES if reason_without_effect(field) is None}
    assert sorted(in_effect - probed) == [], "accepted, without a probe and not in the table"
    assert sorted(probed - in_effect) == [], "probed, and in the table of fields without effect"


def test_a_probe_has_two_values_and_sees_two_things() -> None:
    for probe in registry.PROBES:
        assert len(probe.worlds) >= 2, probe
        seen = [repr(expected) for _, expected in probe.worlds]
        assert len(set(seen)) > 1, probe


@pytest.mark.parametrize("probe", registry.PROBES, ids=str)
async def test_a_field_alone_makes_the_difference(probe: Probe, tmp_path: Path) -> None:
    """All worlds of a probe lie in the same folder, so that nothing but the field differs."""
    folder = tmp_path / "world"
    for value, expected in probe.worlds:
        shutil.rmtree(folder, ignore_errors=True)
        seen: Any = probe.see(probe.world(folder, value))
        if inspect.isawaitable(seen):
            seen = await seen
        assert seen == expected, f"{probe.field} is {value!r}"
