from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.read.redact import LONGEST, MARK, StreamRedactor, redact

KEY = "sk-ant-api03-" + "Ab9_-" * 8
SECRETS = [
    "sk-ant-api03-" + "a1" * 20,
    "sk-proj-" + "b2" * 15,
    "sk-" + "c" * 44,
    "AIzaSy" + "D" * 33,
    "AKIA" + "E" * 16,
    "ghp_" + "f" * 36,
    "gho_" + "f" * 36,
    "github_pat_" + "g" * 50,
    "xoxb-" + "1" * 12 + "-abcdef",
    "xapp-1-" + "A" * 20,
    "hf_" + "h" * 34,
]


@pytest.mark.parametrize("secret", SECRETS)
def test_credentials_are_blacked_out(secret: str) -> None:
    assert redact(f"a {secret}, b") == f"a {MARK}, b"


def test_bearer_tokens_are_blacked_out_and_words_are_not() -> None:
    assert redact("Authorization: Bearer " + "t" * 30) == f"Authorization: Bearer {MARK}"
    assert redact("Café-Bearer  " + "t" * 30) == f"Café-Bearer  {MARK}"
    assert redact("x" + SECRETS[0]) == "x" + SECRETS[0]
    large = "plain text, " * 6000
    assert redact(large + SECRETS[0]) == large + MARK
    plain = "a Bearer of news; risk-averse; task-force-one-two-three; sk-short; hf_hub"
    assert redact(plain) == plain


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"{\"text\":\"first\n", r"\n\"}"),  # as JSON writes a line's end
        ("\x1b[32m", "\x1b[0m"),
        (r"\u001b[1;32m", r"\u001b[0m"),
        ('"', '"'),
        ("key=", " "),
        ("https://user:", "@host"),
    ],
)
def test_a_credential_stands_free_behind_an_escape(before: str, after: str) -> None:
    assert redact(before + KEY + after) == before + MARK + after


def test_one_inside_another_leaves_nothing() -> None:
    assert redact(f"Bearer {KEY}/more== end") == f"Bearer {MARK} end"
    assert redact(f"{KEY} {KEY}") == f"{MARK} {MARK}"


def in_pieces(text: str, cuts: list[int]) -> str:
    redactor = StreamRedactor()
    shown, start = "", 0
    for cut in [*sorted(cuts), len(text)]:
        shown += redactor.feed(text[start:cut])
        start = max(start, cut)
    return shown + redactor.finish()


PIECES = [
    KEY,
    "Bearer ",
    "t" * 24,
    "AKIA",
    "Z" * 16,
    "AIzaSy",
    "gh",
    "p_",
    "xoxb-",
    "sk-",
    "s",
    " ",
    "\n",
    "=",
    "-",
    "\x1b[1m",
]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(PIECES), max_size=8),
    st.lists(st.integers(0, 150), max_size=6),
)
def test_where_a_text_is_cut_makes_no_difference(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces)
    assert in_pieces(text, cuts) == redact(text)


def test_one_character_at_a_time() -> None:
    text = f"a {KEY}, Bearer  {'t' * 30}; task-force {KEY}"
    assert in_pieces(text, list(range(len(text)))) == redact(text)
    assert "sk-ant" not in redact(text)


def test_what_is_no_credential_is_not_held_back() -> None:
    redactor = StreamRedactor()
    assert redactor.feed("Proceed? [y/N] ") == "Proceed? [y/N] "
    assert redactor.feed("task") == "task"
    assert redactor.feed(" sk-a") == " "
    assert redactor.finish() == "sk-a"


def test_an_endless_credential_is_not_kept() -> None:
    redactor = StreamRedactor()
    assert "".join(redactor.feed("sk-ant-" if i == 0 else "a" * 1000) for i in range(200)) == ""
    assert len(redactor._kept) <= 3 * LONGEST
    assert redactor.feed(" end") == f"{MARK} end"


@pytest.mark.parametrize("bait", ["sk-ant-", "ask-ant-", "Bearer ", "gh", "AKIA", "-Bearer"])
def test_no_text_makes_it_slow(bait: str) -> None:
    text = bait * (200_000 // len(bait))
    started = time.process_time()
    redact(text)
    StreamRedactor().feed(text)
    assert time.process_time() - started < 5, "it should take a tenth of a second"
