from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.run.instrument.patterns import (
    PatternError,
    PatternTimeoutError,
    compile_pattern,
    search,
)
from marianne_core.run.instrument.tails import last_line, one_line, tail_of


def test_the_tail_of_files_of_every_size(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert tail_of(path) == ""
    path.write_bytes(b"")
    assert tail_of(path) == ""
    path.write_text("short")
    assert tail_of(path) == "short"
    path.write_text("ü" * 100)
    assert tail_of(path, 11) == "ü" * 5  # 11 bytes cut one character in two
    path.write_bytes(b"a\xffb")
    assert tail_of(path) == "a\ufffdb"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(2, 50))
def test_one_line_is_one_printable_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line.isprintable()
    assert line == line.strip()


def test_escape_sequences_go() -> None:
    evil = "\x1b]0;title\x07a\x1b[31;1mb\x1b[0m\x1bMc\x9b31m\x1b]8;;http://x\x1b\\d\u202ee"
    assert one_line(evil) == "abc31mde"


def test_the_last_line_with_something_to_read() -> None:
    assert last_line("one\ntwo\r\n\x1b[0m\n \n") == "two"
    assert last_line("50%\r100%\r") == "100%"
    assert last_line("") == ""
    assert last_line("x" * 500, 10) == "x" * 9 + "…"


def test_a_search_ends_in_time() -> None:
    astray = compile_pattern("(a|aa)+$")
    with pytest.raises(PatternTimeoutError):
        search(astray, "a" * 100 + "b", seconds=0.05)
    assert search(astray, "aaa", seconds=5)


@pytest.mark.parametrize("pattern", ["(", "[a", "(?P<n>a)(?P<n", "*"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


def test_patterns_compile_without_a_word() -> None:
    assert compile_pattern("[[a]x").search("[x")  # the package would warn of a nested set
