"""Reading YAML: what it means, where it stands, and every way in which a file can be wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.config import source as source_module
from marianne_core.config.source import MAX_BYTES, Source, parse_source, read_source
from marianne_core.model.errors import EXIT_INPUT, InputError

FILE = Path("x.yaml")


def parse(text: str) -> dict[Any, Any]:
    return parse_source(text, FILE).data


def complaint(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_source(text, FILE)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", 1),
        ("a: -7", -7),
        ("a: 1_000", 1000),
        ("a: 0660", 0o660),
        ("a: 0o660", 0o660),
        ("a: 0x1F", 31),
        ("a: 0b11", 3),
        ("a: 08", "08"),
        ("a: .5", 0.5),
        ("a: 1e3", "1e3"),
        ("a: 1.5e+3", 1500.0),
        ("a: -.inf", float("-inf")),
        ("a: yes", True),
        ("a: Off", False),
        ("a: 'yes'", "yes"),
        ("a: ~", None),
        ("a:", None),
        ("a: 2024-01-01", "2024-01-01"),
        ("a: 12:30", "12:30"),
        ("a: !!str 12", "12"),
        ("a: !!int '12'", 12),
        ("a: !!float 3", 3.0),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: [1, {b: 2}]", [1, {"b": 2}]),
    ],
)
def test_values_mean_what_a_person_means(text: str, value: object) -> None:
    found = parse(text)["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("on: 1", "on"),
        ("yes: 1", "yes"),
        ("true: 1", "true"),
        ("null: 1", "null"),
        ("1.5: 1", "1.5"),
        ("2024-01-01: 1", "2024-01-01"),
        ("3: 1", 3),
        ("'3': 1", "3"),
    ],
)
def test_keys_are_integers_or_the_text_that_stands_there(text: str, key: object) -> None:
    assert list(parse(text)) == [key]


def test_a_byte_order_mark_and_windows_lines_are_fine() -> None:
    assert parse("\ufeffa: 1\r\nb: x\r\n") == {"a": 1, "b": "x"}


def test_merge_keys_fill_in_what_is_not_written() -> None:
    text = "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\nmany: {<<: [{z: 1}, {z: 2, w: 4}]}\n"
    data = parse(text)
    assert data["one"] == {"x": 1, "y": 3}
    assert data["many"] == {"z": 1, "w": 4}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("", "x.yaml", "empty"),
        ("# only a comment\n", "x.yaml", "empty"),
        ("~", "x.yaml", "empty"),
        ("- a\n- b\n", "x.yaml:1:1", "a list instead of a mapping"),
        ("just text", "x.yaml:1:1", "text instead of a mapping"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1", "several documents"),
        ("a: 1\n\tb: 2\n", "x.yaml:2:1", "a tab"),
        ("a:\n\t- b\n", "x.yaml:2:1", "a tab"),
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1", "stands twice; the first time in line 1"),
        ("a: {b: 1, b: 2}\n", "x.yaml:1:11", "stands twice"),
        ("a: b: c\n", "x.yaml:1:5", "unexpected `: `"),
        ("a: {{ x }}/y\n", "x.yaml:1:5", "a key must be text or a number"),
        ("a: 'x\n", "x.yaml:1:4", "quote is not closed"),
        ("a: [1, 2\n", "x.yaml:1:4", "bracket is not closed"),
        ("a: *b\n", "x.yaml:1:4", "no anchor &b"),
        ("a: &b [*b]\n", "x.yaml:1:8", "contains itself"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4", "tag"),
        ("a: !!binary aGk=\n", "x.yaml:1:4", "tag"),
        ("a: !!int x\n", "x.yaml:1:4", "'x' is not an integer"),
        ("a: x\x1by\n", "x.yaml:1:5", "U+001B"),
        ("a: " + "9" * 5000, "x.yaml:1:4", "too long"),
        ("a:\n  b: 1\n c: 2\n", "x.yaml:3:2", "indentation"),
        ("a: @x\n", "x.yaml:1:4", "cannot begin a value"),
        ("a: 1\n<<: 3\n", "x.yaml:2:5", "`<<` needs a mapping"),
    ],
)
def test_every_mistake_is_named_with_its_place(text: str, where: str, words: str) -> None:
    error = complaint(text)
    assert error.where == where
    assert words in error.what
    assert error.exit_code == EXIT_INPUT


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    start = time.perf_counter()
    error = complaint("\n".join(lines))
    assert "100,000" in error.what
    assert time.perf_counter() - start < 1.0


def test_deep_nesting_is_refused_and_a_hundred_levels_are_not() -> None:
    assert "100 levels" in complaint("a: " + "[" * 1_000_000).what
    # The mapping is the first level.
    assert parse("a: " + "[" * 99 + "]" * 99)
    assert "100 levels" in complaint("a: " + "[" * 100 + "]" * 100).what


def test_too_many_nodes_are_refused() -> None:
    assert "100,000" in complaint("a: [" + "x," * 100_000 + "]").what


def test_a_file_of_fifty_megabytes_is_refused_without_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = tmp_path / "big.yaml"
    with open(big, "wb") as file:
        file.truncate(50_000_000)

    def no_open(*_: object, **__: object) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(source_module, "open", no_open, raising=False)
    with pytest.raises(InputError, match="larger than 4 MB"):
        read_source(big)


def test_text_beyond_the_limit_is_refused_in_bytes() -> None:
    assert "larger than 4 MB" in complaint("a: " + "é" * (MAX_BYTES // 2)).what


def test_other_encodings_are_refused_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("a: 1\nb: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_source(file)
    assert caught.value.where == f"{file}:2:7"
    assert "UTF-8" in caught.value.what


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_source(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="directory"):
        read_source(tmp_path)
    fifo = tmp_path / "pipe.yaml"
    os.mkfifo(fifo)
    with pytest.raises(InputError, match="not a regular file"):
        read_source(fifo)
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="cannot be read"):
        read_source(loop)
    with pytest.raises(InputError, match="cannot be read"):
        read_source(Path("bad\0name.yaml"))


def test_marks_point_at_keys_and_values() -> None:
    source = parse_source("a: 1\nb:\n  - x\n  - c: 'y'\n3: z\n", FILE)
    marks = source.marks
    assert marks.key(("b",)) == (2, 1)
    assert marks.value(("b", 0)) == (3, 5)
    assert marks.key(("b", 1, "c")) == (4, 5)
    assert marks.value(("b", 1, "c")) == (4, 8)
    # Numbers and their text are one key; models turn the one into the other.
    assert marks.value(("3",)) == marks.value((3,)) == (5, 4)
    assert marks.value(("b", 7)) is None
    # A problem is shown at text itself, at the key of a block, else at the nearest thing above.
    assert marks.nearest(("a",)) == (1, 4)
    assert marks.nearest(("b",)) == (2, 1)
    assert marks.nearest(("b", 1, "absent")) == (4, 5)
    assert marks.nearest(("absent",)) == (1, 1)


def test_lines_inside_a_template_are_found() -> None:
    marks = parse_source("t: |\n  one\n  two\nq: 'x'\nf: >\n  one\n  two\n", FILE).marks
    assert marks.line_of(("t",), 2) == 3
    assert marks.line_of(("q",), 1) == 4
    assert marks.line_of(("f",), 2) is None
    assert marks.line_of(("absent",), 1) is None


def test_values_behind_an_alias_have_the_places_of_the_original() -> None:
    marks = parse_source("a: &x\n  k: 1\nb: *x\n", FILE).marks
    assert marks.value(("b", "k")) == (2, 6)


PLAIN = st.text(
    st.characters(categories=("L", "N", "Zs"), include_characters="-_:#'\""), max_size=12
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(data=st.dictionaries(PLAIN, TREES, min_size=1, max_size=4))
def test_what_was_written_is_read_back_and_every_mark_points_at_it(data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
    source = parse_source(text, FILE)
    assert source.data == data
    check_marks(source, data, ())


def check_marks(source: Source, value: Any, path: tuple[Any, ...]) -> None:
    lines = source.text.split("\n")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        below = (*path, key)
        position = source.marks.value(below)
        assert position is not None
        if isinstance(item, int) and not isinstance(item, bool):
            assert lines[position.line - 1][position.column - 1 :].startswith(str(item))
        if isinstance(item, dict | list):
            check_marks(source, item, below)
