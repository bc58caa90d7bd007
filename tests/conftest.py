"""What all tests share: the table of the proof with real programs is written at the end of its run."""

from __future__ import annotations

import pytest

from tests.real_cli.table import Recorder


def pytest_configure(config: pytest.Config) -> None:
    """Listen to the results; only those of tests/real_cli concern it."""
    config.pluginmanager.register(Recorder(), "real-cli-table")
