"""What the tests of whole runs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conductor.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house for conductors; what they leave behind is a fault of the test."""
    made = House(tmp_path)
    yield made
    assert made.tidy() == []
