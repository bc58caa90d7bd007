"""What the papers tell people to type: the files that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_PATH = re.compile(
    r"(?<![\w./-])(?:tests|examples|benchmarks|docs|core|widgets|marianne_tui)/[\w./-]*\w"
)


@pytest.mark.parametrize("paper", ["README.md", "CONTRIBUTING.md", "docs/commands.md"])
def test_every_file_that_is_named_is_there(paper: str) -> None:
    named = _PATH.findall((ROOT / paper).read_text())
    if paper != "docs/commands.md":
        assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
