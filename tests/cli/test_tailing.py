from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_tui.cli import tailing
from marianne_tui.cli.tailing import Part, last_lines, tail_offset


def ends_of(content: bytes, lines: int) -> bytes:
    whole = content.splitlines(keepends=True)
    return b"".join(whole[max(0, len(whole) - lines) :])


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from([b"a", b"\n", b"bb"]), max_size=30), st.integers(0, 8))
def test_the_last_lines_are_found_from_the_end(pieces: list[bytes], lines: int) -> None:
    content = b"".join(pieces)
    fd = os.memfd_create("tail")
    small, tailing._PIECE = tailing._PIECE, 3
    try:
        os.write(fd, content)
        offset = tail_offset(fd, lines)
    finally:
        tailing._PIECE = small
        os.close(fd)
    assert content[offset:] == ends_of(content, lines)


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
