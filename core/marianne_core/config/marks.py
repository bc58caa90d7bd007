"""Where each key and value of a YAML file stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

Key = str | int
"""A key of a mapping, or the place of an item in a list, from 0."""


class Position(NamedTuple):
    """A place in a file."""

    line: int
    """From 1."""
    column: int
    """From 1, in characters."""


@dataclass(slots=True, eq=False)
class Marks:
    """Positions of a value and of everything in it.

    Values that stand behind an alias have the position of the anchored original.
    """

    start: Position
    """Where the value begins."""
    style: str = ""
    """How a text is written: "|", ">", "'", '"', or "" for plain text; "{" for collections."""
    keys: dict[Key, Position] = field(default_factory=dict)
    """Positions of the mapping's keys."""
    items: dict[Key, Marks] = field(default_factory=dict)
    """Positions of what is in the mapping or the list."""

    def at(self, path: Iterable[Key]) -> Marks | None:
        """Marks of the value at `path`, or None when there is no such value.

        A number and its text name the same key, since models read "3" as 3 and templates the
        other way round.
        """
        node: Marks | None = self
        for key in path:
            if node is None:
                return None
            node = node.items.get(key) or node.items.get(_other_form(key))
        return node

    def value(self, path: Iterable[Key]) -> Position | None:
        """Where the value at `path` begins, or None."""
        node = self.at(path)
        return None if node is None else node.start

    def key(self, path: Iterable[Key]) -> Position | None:
        """Where the last key of `path` stands, or None; list items have no key."""
        *above, last = path
        node = self.at(above)
        if node is None:
            return None
        return node.keys.get(last) or node.keys.get(_other_form(last))

    def nearest(self, path: Iterable[Key]) -> Position:
        """Where to point a person for a problem at `path`, or at the nearest thing above it.

        That is the value itself when it is text or a number, and the key of a mapping or a list.
        """
        keys = tuple(path)
        for length in range(len(keys), 0, -1):
            node = self.at(keys[:length])
            if node is not None:
                key = self.key(keys[:length])
                return key if node.style == "{" and key is not None else node.start
        return self.start

    def line_of(self, path: Iterable[Key], line: int) -> int | None:
        """Line of the file on which line `line` (from 1) of the text at `path` stands.

        None when there is no such text, or when YAML folded its lines.
        """
        node = self.at(path)
        if node is None or node.style == "{":
            return None
        if node.style == "|":
            return node.start.line + line
        return node.start.line if line == 1 else None


def _other_form(key: Key) -> Key:
    if isinstance(key, int):
        return str(key)
    try:
        return int(key)
    except ValueError:
        return key
