"""Black out credentials in texts that are shown, stored or passed on (field reference, section 2.8)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from string import ascii_letters, digits
from typing import NamedTuple

LONGEST = 256
"""Characters after which a credential that begins in a text is recognised for sure."""

MARK = "[REDACTED]"


class _Shape(NamedTuple):
    start: str
    """Its first letters. They are what a text is searched for: one without them costs nothing."""
    body: re.Pattern[str]
    """What follows, as far as it goes."""
    shortest: int
    """Characters of the body below which it is no credential."""
    blanks: re.Pattern[str] | None = None
    """What stands between both and is not blacked out, and neither is the start then."""


def _shape(start: str, letters: str, shortest: int, more: str = "*") -> _Shape:
    return _Shape(start, re.compile(f"[{letters}]{more}"), shortest)


_WORD = "A-Za-z0-9"
_SHAPES = (
    _shape("sk-ant-", f"{_WORD}_-", 16),  # Anthropic
    _shape("sk-proj-", f"{_WORD}_-", 16),  # OpenAI
    _shape("sk-", _WORD, 40),
    _shape("AIzaSy", f"{_WORD}_-", 20),  # Google
    _shape("AKIA", "A-Z0-9", 16, "{0,16}"),  # AWS
    _shape("ASIA", "A-Z0-9", 16, "{0,16}"),
    *(_shape(f"gh{kind}_", _WORD, 20) for kind in "opsur"),  # GitHub
    _shape("github_pat_", f"{_WORD}_", 20),
    *(_shape(f"xox{kind}-", f"{_WORD}-", 10) for kind in "abprs"),  # Slack
    _shape("xapp-", f"{_WORD}-", 10),
    _shape("hf_", _WORD, 20),  # Hugging Face
    _Shape("Bearer", re.compile(rf"[{_WORD}._~+/-]*=*"), 20, re.compile(r"\s{0,16}")),
)
_HALVES = {
    shape.start[:length]: shape for shape in _SHAPES for length in range(1, len(shape.start))
}
"""The beginnings of starts. Which of several shapes it is makes no difference."""
_LONGEST_HALF = max(map(len, _HALVES))
_HINTS = ("sk-", "_", "Bearer", "AIzaSy", "AKIA", "ASIA", "xox", "xapp-")
"""One of them stands in every credential; most lines have none of them."""
_BEFORE = frozenset(f"{ascii_letters}{digits}_-")
"""What may not stand before a credential: it would be a part of something longer."""
_IN_BODY = f"{ascii_letters}{digits}_-.~+/="
"""What may stand in a credential."""
_BEFORE_BODY = len("Bearer") + 16
"""Characters of a start, and of the blanks behind it, that stand before all those."""
_ESCAPED = re.compile(r"(?:\\[bfnrt]|(?:\x1b|\\u001b|\\x1b|\\e)\[[0-9;]{0,12}m)\Z")
"""A line's end as JSON writes it, or a colour. Their last letter is not part of a word."""
_CONTEXT = 24
"""Characters before a credential that are looked at."""


def redact(text: str) -> str:
    """The text with every credential of a known shape replaced by a mark."""
    found = _found(text, 0, len(text))
    return _without(text, found, 0, len(text))[0] if found else text


def _without(text: str, found: Iterable[tuple[int, int]], start: int, end: int) -> tuple[str, int]:
    """`text[start:end]` without the credentials in it, and where it really ends: behind the last."""
    parts = []
    for begin, after in found:
        if begin >= start:
            parts += [text[start:begin], MARK]
        start = max(start, after)  # of one that overlaps the one before nothing remains either
    return "".join([*parts, text[start:end]]), max(start, end)


def _found(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where credentials that begin in `text[start:end]` begin and end, in order."""
    for hint in _HINTS:
        if hint in text:
            return sorted(_look(text, start, end))
    return []


def _look(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    size = len(text)
    for shape in _SHAPES:
        at = text.find(shape.start, start, end)
        while at >= 0:
            following = at + 1
            # In this order: what lies in a long word is not looked at to that word's end.
            if _stands_free(text, shape, at):
                body, after = _extent(text, shape, at, size)
                if after - body >= shape.shortest:
                    yield (at if shape.blanks is None else body), after
                    following = after
            at = text.find(shape.start, following, end)


def _extent(text: str, shape: _Shape, at: int, end: int) -> tuple[int, int]:
    """Where the body of a credential that begins at `at` begins and ends."""
    body = at + len(shape.start)
    if shape.blanks is not None:
        blanks = shape.blanks.match(text, body, end)
        after = blanks.end() if blanks else body
        if after == body:
            return body, body
        body = after
    match = shape.body.match(text, body, end)
    return body, match.end() if match else body


def _stands_free(text: str, shape: _Shape, at: int) -> bool:
    before = text[at - 1] if at else ""
    if before not in _BEFORE or (before == "-" and shape.blanks is not None):
        return True
    return before in "bfnrtm" and _ESCAPED.search(text[max(0, at - _CONTEXT) : at]) is not None


def _unfinished(text: str, start: int) -> int:
    """Where what may become, or go on as, a credential begins at the end of `text`; else its end.

    Nothing before `start` is looked for.
    """
    size = cut = len(text)
    # The start itself may be cut ...
    for length in range(1, min(_LONGEST_HALF, size - start) + 1):
        shape = _HALVES.get(text[-length:])
        if shape is not None and _stands_free(text, shape, size - length):
            cut = size - length
    # ... or stand there, with a body that reaches the end.
    start = max(start, len(text.rstrip(_IN_BODY)) - _BEFORE_BODY)
    for shape in _SHAPES:
        at = text.find(shape.start, start)
        while 0 <= at < cut:
            if _stands_free(text, shape, at) and _extent(text, shape, at, size)[1] == size:
                cut = at
            at = text.find(shape.start, at + 1)
    return cut


class StreamRedactor:
    """Blacks out credentials in text that comes in pieces; what may be half of one is held back.

    At most `2 * LONGEST` characters are held.
    """

    def __init__(self) -> None:
        self._kept = ""
        self._from = 0
        """Where what is held back begins in it; what stands before was looked at."""
        self._shown = 0
        """Up to where it was let go: beyond `_from` where one credential ends in another's start."""

    def feed(self, text: str) -> str:
        """What is certain so far."""
        if not text:
            return ""
        whole = self._kept + text
        cut = _unfinished(whole, self._from)
        found = _found(whole, self._from, cut)
        told, shown = _without(whole, found, self._shown, max(cut, self._shown))
        if len(whole) - cut > 2 * LONGEST:
            # It is blacked out anyway: the rest of it need not be kept.
            whole = whole[: cut + LONGEST]
        start = max(0, cut - _CONTEXT)
        self._kept = whole[start:]
        self._from, self._shown = cut - start, min(shown, len(whole)) - start
        return told

    def finish(self) -> str:
        """The rest, when nothing more comes."""
        whole, size = self._kept, len(self._kept)
        found = _found(whole, self._from, size)
        told, _ = _without(whole, found, self._shown, size)
        self._kept, self._from, self._shown = "", 0, 0
        return told
