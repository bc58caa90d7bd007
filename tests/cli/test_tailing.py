from __future__ import annotations

from pathlib import Path

import pytest

from marianne_tui.cli.tailing import Part, last_lines


def part_at(path: Path, dialect: str = "text") -> Part:
    return Part(1, 1, "stdout", path, dialect)


def test_a_file_that_is_not_there_has_no_text(tmp_path: Path) -> None:
    assert part_at(tmp_path / "gone").as_dict(None)["text"] is None
    (tmp_path / "log").write_bytes(b"one\ntwo\nthree")
    assert part_at(tmp_path / "log").as_dict(2)["text"] == "two\nthree"


@pytest.mark.parametrize(
    ("text", "lines", "want"),
    [("a\nb\nc\n", 2, "b\nc\n"), ("a\nb", 1, "b"), ("a\n", 5, "a\n"), ("a\n", 0, "")],
)
def test_the_last_lines_of_a_text(text: str, lines: int, want: str) -> None:
    assert last_lines(text, lines) == want
