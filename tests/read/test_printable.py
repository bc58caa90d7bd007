from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.read.printable import StreamCleaner, clean, one_line

UNSAFE = {chr(c) for c in [*range(32), *range(0x7F, 0xA0)]} - {"\n", "\t"}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;new title\x07after", "after"),
        ("\x1b]52;c;ZXZpbA==\x1b\\after", "after"),
        ("\x9b2Jafter", "after"),
        ("\x1bPq#0;2;0\x1b\\after", "after"),
        ("\x1bcafter", "after"),
        ("\x1b(Bafter", "after"),
        ("10 %\r20 %\r\n", "10 %\n20 %\n"),
        ("a\x00b\x08c\x7fd", "abcd"),
        ("tab\there\nline", "tab\there\nline"),
        ("user\u202etxt.exe", "usertxt.exe"),
        ("lone \udcff surrogate", "lone \ufffd surrogate"),
        ("häßlich ✓ 漢字", "häßlich ✓ 漢字"),
        ("\x1b]0;never ended", "]0;never ended"),
    ],
)
def test_clean_takes_out_what_a_terminal_would_obey(text: str, want: str) -> None:
    assert clean(text) == want


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.sampled_from("ab\x1b[]0;m\x07\x9b\x9c\r\n\x00P\\")))
def test_clean_leaves_no_control_character(text: str) -> None:
    assert not UNSAFE & set(clean(text))


def test_one_line_joins_and_cuts() -> None:
    assert one_line("a\n b\t c\u2028d ") == "a b c d"
    assert one_line("abcdefgh", 5) == "abcd…"
    assert one_line("abcde", 5) == "abcde"


def test_stream_cleaner_holds_back_a_split_sequence_and_character() -> None:
    cleaner = StreamCleaner()
    assert cleaner.feed(b"plain \x1b[3") == "plain "
    assert cleaner.feed(b"1mred") == "red"
    assert cleaner.feed("é".encode()[:1]) == ""
    assert cleaner.feed("é".encode()[1:]) == "é"
    assert cleaner.feed(b"50 %\r") == "50 %"
    assert cleaner.feed(b"\ndone") == "\ndone"
    assert cleaner.finish() == ""


def test_stream_cleaner_releases_the_rest_at_the_end() -> None:
    cleaner = StreamCleaner()
    assert cleaner.feed(b"a\r") == "a"
    assert cleaner.finish() == "\n"


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\x1b[1m", b"\x1b]0;t\x07", b"\r\n"]), max_size=12),
    st.lists(st.integers(0, 40), max_size=5),
)
def test_stream_cleaner_does_not_depend_on_the_cuts(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    cleaner = StreamCleaner()
    text, start = "", 0
    for cut in [*sorted(cuts), len(data)]:
        text += cleaner.feed(data[start:cut])
        start = max(start, cut)
    assert text + cleaner.finish() == clean(data.decode())
