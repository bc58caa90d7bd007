"""Parts of files, found without reading what stands around them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.read import output_file
from marianne_core.read.output_file import (
    bytes_before,
    bytes_from,
    lines_before,
    lines_from,
    tail_offset,
)

CONTENTS = st.lists(st.sampled_from([b"a", b"\n", b"bb"]), max_size=30).map(b"".join)


@contextmanager
def file_of(content: bytes) -> Iterator[int]:
    """A file of this content, read three bytes at a time."""
    fd = os.memfd_create("output")
    try:
        os.write(fd, content)
        with patch.object(output_file, "PIECE", 3):
            yield fd
    finally:
        os.close(fd)


def ends_of(content: bytes, lines: int) -> bytes:
    whole = content.splitlines(keepends=True)
    return b"".join(whole[max(0, len(whole) - lines) :])


@settings(deadline=None, max_examples=150)
@given(CONTENTS, st.integers(0, 8))
def test_the_last_lines_are_found_from_the_end(content: bytes, lines: int) -> None:
    with file_of(content) as fd:
        assert content[tail_offset(fd, lines) :] == ends_of(content, lines)


@settings(deadline=None, max_examples=150)
@given(CONTENTS, st.integers(1, 9))
def test_pages_forward_are_the_whole_file(content: bytes, limit: int) -> None:
    """Each of whole lines; the last one may be unfinished, and then comes again."""
    with file_of(content) as fd:
        at, told = 0, b""
        while True:
            page = lines_from(fd, at, limit)
            assert page.offset == at
            told += page.data
            at = page.end
            if page.offset + len(page.data) == page.size:
                break
            assert page.data.endswith(b"\n")
        assert told == content
        assert at == content.rfind(b"\n") + 1


@settings(deadline=None, max_examples=150)
@given(CONTENTS, st.integers(1, 4), st.integers(1, 9))
def test_pages_backward_are_the_whole_file(content: bytes, lines: int, limit: int) -> None:
    with file_of(content) as fd:
        page = lines_before(fd, None, lines, limit)
        told = page.data
        while page.offset:
            before, page = page.offset, lines_before(fd, page.offset, lines, limit)
            assert page.end == before
            assert page.data.count(b"\n") <= lines
            assert len(page.data) <= limit or page.data.count(b"\n") == 1
            told = page.data + told
        assert told == content


@pytest.mark.parametrize("offset", range(12))
def test_a_page_from_anywhere_begins_with_a_whole_line(offset: int) -> None:
    content = b"one\ntwo\nend"
    with file_of(content) as fd:
        page = lines_from(fd, offset, 100)
        begin = next((at for at in (0, 4, 8) if at >= offset), len(content))
        assert (page.offset, page.data) == (begin, content[begin:])
        before = lines_before(fd, offset, 100, 100)
        assert before.data == content[: max(at for at in (0, 4, 8) if at <= offset)]


def test_a_line_that_is_too_long_is_told_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_file, "LONGEST_LINE", 10)
    with file_of(b"one\n" + b"x" * 20 + b"\nend\n") as fd:
        page = lines_from(fd, 4, 5)
        assert (page.offset, page.end, page.data) == (4, 25, b"")
        assert page.note == "(a line of 21 bytes is too long to be shown)\n"
        assert lines_before(fd, 25, 5, 5) == page
        assert lines_from(fd, 25, 5).data == b"end\n"


def test_bytes_are_cut_anywhere() -> None:
    with file_of(b"one\ntwo\nend") as fd:
        assert bytes_from(fd, 1, 4).data == b"ne\nt"
        assert bytes_from(fd, 99, 4).offset == 11
        assert bytes_before(fd, 6, 1, 100).data == b"tw"
        assert bytes_before(fd, None, 3, 4).data == b"\nend"
