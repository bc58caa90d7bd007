from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_tui.cli import tailing
from marianne_tui.cli.tailing import tail, tail_offset


def last_lines(content: bytes, lines: int) -> bytes:
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
    assert content[offset:] == last_lines(content, lines)


def test_a_file_that_is_not_there_has_no_pieces(tmp_path: Path) -> None:
    assert tail(tmp_path / "gone", None) is None
    (tmp_path / "log").write_bytes(b"one\ntwo\nthree")
    pieces = tail(tmp_path / "log", 2)
    assert pieces is not None
    assert b"".join(pieces) == b"two\nthree"
