"""Put values into shell commands so that they stay one word of text, wherever the place is.

`test -f "{workspace}/a.md"` and `test -f {workspace}/a.md` both are common, so plain shell
quoting breaks the first as soon as the workspace has a space in its name. Here a value is quoted
for the place it goes to: bare, inside double or single quotes, in a here-document, in a comment.
"""

from __future__ import annotations

import re
import shlex
from bisect import bisect_right
from collections.abc import Callable
from enum import Enum

_SAFE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_HEREDOC = re.compile(r"<<(?P<dash>-?)[ \t]*(?P<word>'[^'\n]*'|\"[^\"\n]*\"|\\?[^\s;&|<>()'\"`$]+)")


class _Place(Enum):
    """What the shell makes of a character."""

    BARE = "bare"
    DOUBLE = "double"
    SINGLE = "single"
    ANSI = "ansi"
    """Inside $'...', where backslashes work."""
    HEREDOC = "heredoc"
    """Between << WORD and WORD: $ and backquotes still work."""
    LITERAL = "literal"
    """Between << 'WORD' and WORD: nothing works."""
    COMMENT = "comment"
    BACKQUOTED = "backquoted"
    """A bare word inside backquotes, which are read twice."""


def quoter(command: str, places: list[int]) -> Callable[[int, str], str]:
    """A function (place, value) → the value, safe for that place of `command`.

    `places` are the offsets that will be asked for. A command that this reading does not
    understand (quotes that do not close) gets plain shell quoting everywhere.
    """
    changes = _Reader(command).changes()
    if changes is None:
        return lambda place, value: shlex.quote(value)
    starts = [start for start, _ in changes]
    found = {place: changes[bisect_right(starts, place) - 1][1] for place in places}
    return lambda place, value: _quoted(value, found[place])


def _quoted(value: str, place: _Place) -> str:
    if _SAFE.fullmatch(value):
        return value
    match place:
        case _Place.DOUBLE:
            return re.sub(r'([\\"$`])', r"\\\1", value)
        case _Place.SINGLE:
            return value.replace("'", "'\\''")
        case _Place.ANSI:
            return re.sub(r"([\\'])", r"\\\1", value)
        case _Place.HEREDOC:
            return re.sub(r"([\\$`])", r"\\\1", value)
        case _Place.LITERAL:
            return value
        case _Place.COMMENT:
            return " ".join(value.splitlines())
        case _Place.BACKQUOTED:
            return re.sub(r"([\\$`])", r"\\\1", shlex.quote(value))
    return shlex.quote(value)


class _Reader:
    """Reads a command once and notes where the meaning of its characters changes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._changes: list[tuple[int, _Place]] = [(0, _Place.BARE)]
        self._open: list[str] = []
        """What is open: `"`, backquote, or the `)` that ends a substitution."""
        self._heredocs: list[tuple[str, bool, bool]] = []
        """Here-documents that begin on the next line: word, tabs stripped, literal."""

    def changes(self) -> list[tuple[int, _Place]] | None:
        """(offset, meaning from there on), or None when something stays open."""
        position = 0
        while position < len(self._text):
            if "`" in self._open[:-1]:
                return None
            step = self._double if self._open[-1:] == ['"'] else self._bare
            following = step(position)
            if following is None:
                return None
            position = following
        return None if self._open or self._heredocs else self._changes

    def _mark(self, offset: int) -> None:
        innermost = self._open[-1] if self._open else ""
        place = {'"': _Place.DOUBLE, "`": _Place.BACKQUOTED}.get(innermost, _Place.BARE)
        self._changes.append((offset, place))

    def _span(self, start: int, end: int, place: _Place) -> int:
        """Characters from `start` to `end` mean `place`; what was before goes on after them."""
        self._changes.append((start, place))
        self._mark(end)
        return end

    def _bare(self, at: int) -> int | None:
        text = self._text
        char = text[at]
        if char == "\\":
            return at + 2
        if char == "'":
            return self._single(at)
        if char == "\n" and self._heredocs:
            return self._bodies(at + 1)
        if char == "#" and (at == 0 or text[at - 1] in " \t\n;&|("):
            end = text.find("\n", at)
            return self._span(at, len(text) if end < 0 else end, _Place.COMMENT)
        if text.startswith("<<<", at):
            return at + 3
        if char == "<" and (match := _HEREDOC.match(text, at)):
            word = match["word"]
            literal = word[0] in "'\"\\"
            self._heredocs.append((word.strip("'\"\\"), bool(match["dash"]), literal))
            return match.end()
        if text.startswith(("((", "$(("), at):
            end = text.find("))", at)
            return end + 2 if end > 0 else None
        if char == ")" and self._open[-1:] == [")"]:
            self._open.pop()
            self._mark(at + 1)
            return at + 1
        return self._nest(at)

    def _double(self, at: int) -> int | None:
        char = self._text[at]
        if char == "\\":
            return at + 2
        if char in "$`" or char == '"':
            return self._nest(at)
        return at + 1

    def _nest(self, at: int) -> int:
        """Quotes and substitutions that open here, or that close what was open."""
        text = self._text
        if text[at] in '"`':
            if self._open[-1:] == [text[at]]:
                self._open.pop()
            else:
                self._open.append(text[at])
            self._mark(at + 1)
            return at + 1
        if text.startswith("$(", at) or (text[at] == "(" and self._open[-1:] != ['"']):
            self._open.append(")")
            width = 2 if text[at] == "$" else 1
            self._mark(at + width)
            return at + width
        return at + 1

    def _single(self, at: int) -> int | None:
        """A text in single quotes; `$'...'` knows backslashes."""
        end = at + 1
        escapes = at > 0 and self._text[at - 1] == "$"
        while end < len(self._text) and self._text[end] != "'":
            end += 2 if escapes and self._text[end] == "\\" else 1
        if end >= len(self._text):
            return None
        return self._span(at + 1, end, _Place.ANSI if escapes else _Place.SINGLE) + 1

    def _bodies(self, at: int) -> int | None:
        """The here-documents that begin at this line, up to the line after the last of them."""
        for word, strip, literal in self._heredocs:
            start = at
            while True:
                if at >= len(self._text):
                    return None
                end = self._text.find("\n", at)
                end = len(self._text) if end < 0 else end
                line = self._text[at:end]
                at = end + 1
                if (line.lstrip("\t") if strip else line) == word:
                    break
            self._span(start, end, _Place.LITERAL if literal else _Place.HEREDOC)
        self._heredocs.clear()
        return at
