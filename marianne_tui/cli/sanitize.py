"""Text that others wrote, made safe for a terminal.

Agent output, score names and file contents may hold escape sequences that move the cursor,
retitle the window or fill the clipboard. Everything a command prints goes through this file
(`mzt logs --raw` is the one exception, and says so).
"""

from __future__ import annotations

import codecs
import re

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|\x9b[0-?]*[ -/]*[@-~]"  # CSI in its one-character form
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # every other escape
)
# Control characters but newline and tab, and the marks that reorder text on the screen.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Bytes of a file name that are not UTF-8: something is there, so something is shown.
_NO_TEXT = re.compile("[\ud800-\udfff]")
_UNFINISHED = re.compile(r"(?:\x1b[^\n]{0,200}|\x9b[^\n]{0,200}|\r)\Z")
_BLANKS = re.compile(r"[\n\t\v\f\r\u2028\u2029 ]+")


def clean(text: str) -> str:
    """`text` without escape sequences and control characters; newlines and tabs stay.

    A lone carriage return (progress bars) becomes a newline, so that nothing is overwritten.
    """
    text = _SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _NO_TEXT.sub("\ufffd", _UNSAFE.sub("", text))


def one_line(text: object, limit: int = 0) -> str:
    """`text` cleaned and on one line; cut to `limit` characters with an ellipsis if it is not 0."""
    line = _BLANKS.sub(" ", clean(str(text))).strip()
    return line if not limit or len(line) <= limit else line[: max(1, limit - 1)] + "…"


class StreamCleaner:
    """Cleans bytes that arrive in pieces; a sequence or character split in two is held back."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def feed(self, data: bytes) -> str:
        """The clean text of what is certain so far."""
        text = self._held + self._decode(data)
        self._held = ""
        tail = _UNFINISHED.search(text)
        if tail and not _SEQUENCE.fullmatch(tail.group()):
            # The search finds the first escape after the last newline; what stands complete in
            # the tail is released, only the piece after the last escape waits for the rest.
            start = max(text.rfind("\x1b"), text.rfind("\x9b"), text.rfind("\r"))
            if not _SEQUENCE.match(text, start):
                text, self._held = text[:start], text[start:]
        return clean(text)

    def finish(self) -> str:
        """The rest, when no more bytes come."""
        rest, self._held = self._held + self._decode(b"", True), ""
        return clean(rest)
