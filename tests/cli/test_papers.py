"""What the papers tell people to type: the files that they name are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from marianne_tui.cli.catalogue import ENTRIES

from .conftest import Mzt

ROOT = Path(__file__).resolve().parents[2]

PAGES = {"score": "score.md", "profile": "profile.md", "conductor": "configuration.md"}

_PATH = re.compile(
    r"(?<![\w./-])(?:tests|examples|benchmarks|docs|core|widgets|marianne_tui)/[\w./-]*\w"
)


@pytest.mark.parametrize("paper", ["README.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_is_there(paper: str) -> None:
    named = _PATH.findall((ROOT / paper).read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def _texts(file: Path) -> Iterator[str]:
    """The texts of a module that people may see: all but its docstrings."""
    tree = ast.parse(file.read_text())
    told = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_every_command_that_a_message_names_is_there() -> None:
    files = [*(ROOT / "marianne_tui").rglob("*.py"), *(ROOT / "core").rglob("*.py")]
    named = {
        (command, file.name)
        for file in files
        for text in _texts(file)
        for command in re.findall(r"\bmzt ([a-z]+)(?![\w/.])", text)
    }
    assert {"resume", "status", "errors"} <= {command for command, _ in named}
    # "mzt that" and the like are words of sentences.
    words = {"plans", "that", "then"}
    assert {(c, file) for c, file in named if c not in ENTRIES and c not in words} == set()


def test_fields_are_described_where_no_docs_are_installed(mzt_here: Mzt) -> None:
    for file, field in (
        ("score", "fan_out"),
        ("profile", "raw_prompt"),
        ("conductor", "log_level"),
    ):
        done = mzt_here("fields", file)
        assert done.returncode == 0, done.stderr
        assert f"`{field}`" in done.stdout
        page = ROOT / "docs" / "reference" / PAGES[file]
        assert done.stdout == page.read_text()
        few = mzt_here("fields", file, field)
        rows = [line for line in few.stdout.splitlines() if line.startswith("|")]
        assert 0 < len(rows) < 20
        assert any(row.startswith(f"| `{field}` |") for row in rows)
    assert mzt_here("fields", "score", "nonsense").returncode == 2
