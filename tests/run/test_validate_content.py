from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
import regex

from marianne_core.model.outcome import FailureCategory
from marianne_core.run.validate import content
from marianne_core.run.validate.content import content_contains, content_regex
from marianne_core.run.validate.verdict import Verdict


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.md"


def _matches(path: Path, pattern: str) -> Verdict:
    return content_regex(path, regex.compile(pattern, regex.MULTILINE))


def test_a_text_is_found_letter_by_letter(path: Path) -> None:
    path.write_text("# Title (v1.0)\nbody")
    assert content_contains(path, "(v1.0)").passed
    assert content_contains(path, "").passed
    verdict = content_contains(path, "(v1x0)")
    assert not verdict.passed
    assert verdict.category is FailureCategory.INCOMPLETE
    assert verdict.expected == 'report.md contains "(v1x0)"'
    assert "19 bytes" in verdict.actual
    assert verdict.reason == 'report.md does not hold the text "(v1x0)"'
    assert str(path) in verdict.fix


def test_near_misses_are_told(path: Path) -> None:
    path.write_text("The  Key\nThemes")
    assert "letter case" in content_contains(path, "the  key").reason
    assert "spaces or line breaks" in content_contains(path, "The Key Themes").reason


def test_an_empty_file(path: Path) -> None:
    path.write_text("")
    assert content_contains(path, "x").actual == "the file is empty"
    assert content_contains(path, "").passed
    assert _matches(path, r"\A\Z").passed


def test_line_ends_marks_and_broken_bytes(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf# Title\r\nsecond \xff line\r\n")
    assert content_contains(path, "# Title\nsecond").passed
    assert content_contains(path, "# Title\r\nsecond").passed
    assert content_contains(path, "# Title\rsecond").passed
    assert _matches(path, r"\A# Title$").passed
    assert _matches(path, r"^second . line$").passed


def test_100_mb_with_the_text_at_the_end(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"needle")
    tracemalloc.start()
    try:
        assert content_contains(path, "needle").passed
        assert not content_contains(path, "needles").passed
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 1024 * 1024


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "CHUNK", 16)
    monkeypatch.setattr(content, "WINDOW", 64)
    monkeypatch.setattr(content, "OVERLAP", 24)


@pytest.mark.usefixtures("small_windows")
def test_a_text_across_every_border(path: Path) -> None:
    for place in range(70):
        path.write_text("é" * place + "needle" + "é" * 40)
        assert content_contains(path, "needle").passed
        assert _matches(path, "needle").passed
        assert not content_contains(path, "needlx").passed
    path.write_text("x" * 100 + "a long needle that is larger than a chunk" + "x" * 50)
    assert content_contains(path, "a long needle that is larger than a chunk").passed


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("width", [7, 1000])
def test_anchors_stay_true_in_every_window(path: Path, width: int) -> None:
    """With lines shorter than the overlap, and with one endless line."""
    line = "ab" * (width // 2) + "c"
    path.write_text("\n".join([line] * (1200 // width)) + "\nEND")
    for pattern, found in {
        r"^END$": True,
        r"END\Z": True,
        r"\Aab": True,
        r"\AEND": False,
        r"c\Z": False,
        r"b$": False,
        r"^b": False,
        r"^c": False,
        r"\bEND\b": True,
        r"\bb": False,
        r"a\b": False,
        r"(?<!a)b": False,
        r"a(?!b)": False,
        r"(?s)\Aab.*": True,
    }.items():
        assert _matches(path, pattern).passed is found, pattern


@pytest.mark.usefixtures("small_windows")
def test_many_false_ends_come_to_an_end(path: Path) -> None:
    path.write_text(" " * 500 + "x")
    assert not _matches(path, r"\s+\Z").passed
    path.write_text("x" + " " * 500)
    assert _matches(path, r"\s+\Z").passed


def test_a_large_file_is_searched_to_its_end(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(20):
            file.write(b"lorem ipsum dolor sit amet\n" * 40_000)
        file.write(b"## Summary of findings\n")
    assert _matches(path, r"(?i)^##\s+summary OF findings$").passed
    assert not _matches(path, r"^## Conclusion$").passed


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$"])
def test_a_blow_up_fails_and_says_so(path: Path, pattern: str) -> None:
    path.write_text("a" * 60 + "b")
    compiled = regex.compile(pattern, regex.MULTILINE)
    verdict = content_regex(path, compiled, search_seconds=0.1)
    assert not verdict.passed
    if pattern == "(a|aa)+$":  # the package sees through the other one
        assert verdict.category is FailureCategory.ERROR
        assert verdict.final
        assert "too much time" in verdict.reason


def test_time_for_a_look_is_limited(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    for verdict in (
        content_contains(path, "x", 1e-6),
        content_regex(path, regex.compile("x"), 1e-6),
    ):
        assert not verdict.passed
        assert verdict.category is FailureCategory.ERROR
        assert verdict.final
        assert "longer than 1e-06 s" in verdict.reason
