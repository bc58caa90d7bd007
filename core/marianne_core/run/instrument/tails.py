"""Ends of output files, and lines of them that are safe to show."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import regex

from marianne_core.read.redact import redact

TAIL_BYTES = 64 * 1024
"""How much of the end of an output file is searched for messages."""

_ESCAPES = regex.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)"  # OSC, DCS and other strings
    r"|\x1b[ -/]*[0-~]"  # the rest
)
_LINE_ENDS = regex.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def tail_of(path: Path | str, limit: int = TAIL_BYTES) -> str:
    """The last `limit` bytes of a file as text; "" where there is no such file.

    A character that the cut goes through is dropped; other bytes that are not UTF-8 become U+FFFD.
    Raises OSError where the file is there but cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                file.seek(size - limit)
            data = file.read(limit) or b""
    except FileNotFoundError:
        return ""
    if size > limit:
        start = 0
        while start < min(4, len(data)) and data[start] & 0xC0 == 0x80:
            start += 1
        data = data[start:]
    return data.decode("utf-8", errors="replace")


def one_line(text: str, limit: int = 200) -> str:
    """`text` as one printable line of at most `limit` characters.

    Terminal escape sequences, control characters and credentials go, because the text may come from
    anywhere and ends in the store and on somebody's terminal. A cut line ends with an ellipsis.
    """
    text = _ESCAPES.sub("", text[: limit * 20])
    text = _LINE_ENDS.sub(" ", text).replace("\t", " ")
    text = "".join(c for c in text if c == " " or unicodedata.category(c) not in _UNPRINTABLE)
    # Before it is cut: half a credential is not recognised.
    text = redact(" ".join(text.split()))
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


_UNPRINTABLE = frozenset({"Cc", "Cs", "Co", "Cn", "Cf", "Zl", "Zp"})


def last_line(text: str, limit: int = 200) -> str:
    """The last line of `text` that has something to read, made printable; "" where there is none."""
    for line in reversed(_LINE_ENDS.split(text)):
        if len(line) > limit * 20:
            line = redact(line)[-limit * 20 :]
        shown = one_line(line, limit)
        if shown:
            return shown
    return ""
