"""What all tests share: the table of the proof with real programs is written at the end of its run,
and generated inputs are the same in every run."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.real_cli.table import Recorder

# The first text that is generated on a machine takes seconds: tables of characters are made for it.
settings.register_profile(
    "mzt", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mzt")


def pytest_configure(config: pytest.Config) -> None:
    """Listen to the results; only those of tests/real_cli concern it."""
    config.pluginmanager.register(Recorder(), "real-cli-table")
