"""Text that others wrote, made safe for a terminal and its readers.

Agent output, score names and file contents may hold escape sequences that move the cursor,
retitle the window or fill the clipboard, and credentials. Everything a command prints goes through
this file (`mzt logs --raw` is the one exception, and says so).
"""

from __future__ import annotations

import codecs
import re

from marianne_core.read.redact import StreamRedactor, redact

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
    Credentials are not looked for: `shown` does both.
    """
    if text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable():
        return text  # most are, and this is ten times faster
    text = _SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _NO_TEXT.sub("\ufffd", _UNSAFE.sub("", text))


def shown(text: str) -> str:
    """`text` cleaned, with credentials blacked out."""
    return redact(clean(text))


def one_line(text: object, limit: int = 0) -> str:
    """`text` cleaned, without credentials, on one line; cut to `limit` characters with an ellipsis
    if it is not 0."""
    line = _BLANKS.sub(" ", shown(str(text))).strip()
    return line if not limit or len(line) <= limit else line[: max(1, limit - 1)] + "…"


class TextCleaner:
    """Cleans text that arrives in pieces; an escape sequence or credential split in two is held
    back. Credentials are blacked out."""

    def __init__(self) -> None:
        self._redactor = StreamRedactor()
        self._held = ""

    def feed(self, piece: str) -> str:
        """The clean text of what is certain so far."""
        text = self._held + piece
        self._held = ""
        may_be_cut = "\x1b" in text or "\x9b" in text or text.endswith("\r")
        tail = _UNFINISHED.search(text) if may_be_cut else None
        if tail and not _SEQUENCE.fullmatch(tail.group()):
            # The search finds the first escape after the last newline; what stands complete in
            # the tail is released, only the piece after the last escape waits for the rest.
            start = max(text.rfind("\x1b"), text.rfind("\x9b"), text.rfind("\r"))
            if not _SEQUENCE.match(text, start):
                text, self._held = text[:start], text[start:]
        return self._redactor.feed(clean(text))

    def finish(self) -> str:
        """The rest, when no more comes."""
        rest, self._held = clean(self._held), ""
        return self._redactor.feed(rest) + self._redactor.finish()


class StreamCleaner:
    """As TextCleaner, of bytes: a character split in two is held back too."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = TextCleaner()

    def feed(self, data: bytes) -> str:
        """The clean text of what is certain so far."""
        return self._text.feed(self._decode(data))

    def finish(self) -> str:
        """The rest, when no more bytes come."""
        return self._text.feed(self._decode(b"", True)) + self._text.finish()
