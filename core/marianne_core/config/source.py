"""Read a YAML file of a person: bounded, exact about places, and clear about mistakes.

Differences from plain YAML 1.1, all in favour of what a person means:

* Keys are integers or text. `on:`, `yes:`, `1.5:`, `2024-01-01:` are the text that stands there.
* Dates and times of day (`2024-01-01`, `12:30`) are text.
* Only plain data: other tags than those of text, numbers, true/false and null are refused.

Limits (DESIGN, section 9): 4 MB, 100 levels, 100,000 nodes with every alias counted as often as it
is used. They hold while reading, so a file beyond them costs little.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from marianne_core.config.marks import Key, Marks, Position
from marianne_core.config.scalars import SCALAR_TAGS, key_of, plain_value, tagged_value
from marianne_core.config.syntax import syntax_error
from marianne_core.model.errors import InputError

MAX_BYTES: Final = 4_000_000
"""Largest file that is read."""
MAX_LEVELS: Final = 100
"""Deepest nesting of mappings and lists."""
MAX_NODES: Final = 100_000
"""Most keys and values, aliases counted in full."""

_TOO_DEEP: Final = f"the file is nested more than {MAX_LEVELS} levels deep"
_UNREADABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_MAP_TAGS: Final = (None, "!", "tag:yaml.org,2002:map")
_LIST_TAGS: Final = (None, "!", "tag:yaml.org,2002:seq")

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A file as it was read."""

    path: Path | None
    """Where it came from; None for text from elsewhere."""
    text: str
    """The whole text."""
    data: dict[Key, Any]
    """What it says, as plain data."""
    marks: Marks
    """Where everything stands."""

    @property
    def name(self) -> str:
        """The file's name for messages."""
        return "" if self.path is None else str(self.path)


def read_source(path: Path) -> Source:
    """Read and parse a YAML file.

    Raises InputError, with file, line and column where there are some, when the file cannot be
    read, is too large, is not UTF-8, is not one YAML mapping, or goes beyond the limits.
    """
    return parse_source(_decode(_read_bytes(path), path), path)


def parse_source(text: str, path: Path | None) -> Source:
    """Parse the text of a YAML file; `path` only names it. Raises InputError as `read_source`."""
    name = "" if path is None else str(path)
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise _too_large(name)
    text = text.removeprefix("\ufeff")
    strange = _UNREADABLE.search(text)
    if strange:
        line = text.count("\n", 0, strange.start()) + 1
        column = strange.start() - text.rfind("\n", 0, strange.start())
        raise InputError(
            f"the file holds the control character U+{ord(strange[0]):04X}",
            where=f"{name}:{line}:{column}",
            hint='remove it, or write it in double quotes as "\\x1b"',
        )
    try:
        data, marks = _Builder(text, name).document()
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in (error.problem or ""):
            # A limit of the parser's own, met while it looks ahead (PyYAML 6.0.4 and later).
            mark = error.problem_mark
            raise InputError(
                _TOO_DEEP, where=f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
            ) from None
        raise syntax_error(error, text, name) from None
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {error}", where=name) from None
    return Source(path, text, data, marks)


def _read_bytes(path: Path) -> bytes:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise InputError("this is a directory, not a file", where=str(path))
        if not stat.S_ISREG(status.st_mode):
            raise InputError("this is not a regular file", where=str(path))
        if status.st_size > MAX_BYTES:
            raise _too_large(str(path))
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(
            "there is no such file",
            where=str(path),
            hint="check the path and the current directory",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"the file cannot be read: {reason}", where=str(path)) from None
    if len(content) > MAX_BYTES:
        raise _too_large(str(path))
    return content


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise InputError(
            "the file is not UTF-8 text",
            where=f"{path}:{line}:{column}",
            hint="save it as UTF-8, for example: iconv -f LATIN1 -t UTF-8 FILE > NEW",
        ) from None


def _too_large(name: str) -> InputError:
    return InputError(
        f"the file is larger than {MAX_BYTES // 1_000_000} MB",
        where=name,
        hint="keep long texts in files of their own (template_file, prelude, cadenzas)",
    )


@dataclass(frozen=True, slots=True)
class _Node:
    value: Any
    marks: Marks
    size: int
    """Nodes in it, itself included, aliases in full."""


class _Builder:
    """Turns the parser's events into data and marks, counting as it goes."""

    def __init__(self, text: str, name: str) -> None:
        self._parser = _Parser(text)
        self._name = name
        self._anchors: dict[str, _Node | None] = {}
        self._nodes = 0

    def document(self) -> tuple[dict[Key, Any], Marks]:
        """The one document of the text, which must be a mapping."""
        try:
            self._parser.get_event()  # stream start
            event = self._parser.get_event()
            if isinstance(event, yaml.StreamEndEvent):
                raise InputError("the file is empty", where=self._name)
            event = self._parser.get_event()
            root = self._node(event, 1)
            if root.value is None:
                raise InputError("the file is empty", where=self._name)
            if not isinstance(root.value, dict):
                self._fail(
                    event,
                    f"the file holds {_kind(root.value)} instead of a mapping",
                    "it must consist of `key: value` lines",
                )
            self._parser.get_event()  # document end
            event = self._parser.get_event()
            if not isinstance(event, yaml.StreamEndEvent):
                self._fail(
                    event, "the file holds several documents", "keep one and remove the `---` line"
                )
            return root.value, root.marks
        finally:
            self._parser.dispose()

    def _node(self, event: Any, level: int) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(1, event)
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif level > MAX_LEVELS:
            self._fail(event, _TOO_DEEP, "")
        elif isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(event, level)
        else:
            node = self._list(event, level)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: Any) -> _Node:
        if event.anchor not in self._anchors:
            self._fail(event, f"there is no anchor &{event.anchor} before this alias", "")
        node = self._anchors[event.anchor]
        if node is None:
            self._fail(event, f"&{event.anchor} contains itself", "")
        self._count(node.size, event)
        return node

    def _scalar(self, event: Any) -> _Node:
        if event.tag is not None:
            if event.tag not in SCALAR_TAGS:
                self._unknown_tag(event)
            try:
                value = tagged_value(event.value, event.tag)
            except ValueError:
                kind = SCALAR_TAGS[event.tag]
                self._fail(event, f"{_short(event.value)} is not {kind}", "")
        elif event.implicit[0]:
            try:
                value = plain_value(event.value)
            except ValueError as error:
                self._fail(event, str(error), "put it in quotes if it is text")
        else:
            value = event.value
        return _Node(value, Marks(_position(event), event.style or ""), 1)

    def _list(self, event: Any, level: int) -> _Node:
        if event.tag not in _LIST_TAGS:
            self._unknown_tag(event)
        before = self._nodes
        values: list[Any] = []
        marks = Marks(_position(event), "{")
        while not isinstance(event := self._parser.get_event(), yaml.SequenceEndEvent):
            item = self._node(event, level + 1)
            marks.items[len(values)] = item.marks
            values.append(item.value)
        return _Node(values, marks, self._nodes - before + 1)

    def _mapping(self, event: Any, level: int) -> _Node:
        if event.tag not in _MAP_TAGS:
            self._unknown_tag(event)
        before = self._nodes
        values: dict[Key, Any] = {}
        marks = Marks(_position(event), "{")
        merged: list[_Node] = []
        while not isinstance(event := self._parser.get_event(), yaml.MappingEndEvent):
            if _is_merge(event):
                self._count(1, event)
                merged += self._merged(self._parser.get_event(), level)
                continue
            key = self._key(event)
            if key in values:
                first = marks.keys[key].line
                self._fail(
                    event,
                    f"the key {key!r} stands twice; the first time in line {first}",
                    "keep one of them: YAML would silently drop the first",
                )
            item = self._node(self._parser.get_event(), level + 1)
            values[key] = item.value
            marks.keys[key] = _position(event)
            marks.items[key] = item.marks
        for node in merged:
            for key, value in node.value.items():
                if key not in values:
                    values[key] = value
                    marks.keys[key] = node.marks.keys[key]
                    marks.items[key] = node.marks.items[key]
        return _Node(values, marks, self._nodes - before + 1)

    def _key(self, event: Any) -> Key:
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(event).value
            if type(value) in (str, int):
                return value  # type: ignore[no-any-return]
        elif isinstance(event, yaml.ScalarEvent):
            self._count(1, event)
            plain = event.tag is None and event.implicit[0]
            key = key_of(event.value) if plain else event.value
            if event.anchor is not None:
                self._anchors[event.anchor] = _Node(key, Marks(_position(event)), 1)
            return key
        self._fail(
            event,
            "a key must be text or a number, not a mapping or a list",
            "text that begins with {{ or [ needs quotes",
        )

    def _merged(self, event: Any, level: int) -> list[_Node]:
        node = self._node(event, level + 1)
        if isinstance(node.value, dict):
            return [node]
        if isinstance(node.value, list) and all(isinstance(item, dict) for item in node.value):
            return [
                _Node(item, node.marks.items[place], 0) for place, item in enumerate(node.value)
            ]
        self._fail(event, "`<<` needs a mapping, or a list of mappings, to merge", "")

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._fail(
                event,
                f"the file has more than {MAX_NODES:,} keys and values",
                "aliases count as often as they are used; keep bulk data in files of its own",
            )

    def _unknown_tag(self, event: Any) -> NoReturn:
        tag = event.tag.removeprefix("tag:yaml.org,2002:")
        self._fail(
            event,
            f"the tag {_short(tag)} is not supported",
            "only plain text, numbers, true/false, lists and mappings are read",
        )

    def _fail(self, event: Any, what: str, hint: str) -> NoReturn:
        line, column = _position(event)
        raise InputError(what, where=f"{self._name}:{line}:{column}", hint=hint)


def _position(event: Any) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1)


def _is_merge(event: Any) -> bool:
    return (
        isinstance(event, yaml.ScalarEvent)
        and event.value == "<<"
        and bool(event.implicit[0])
        and event.tag is None
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    return "text" if isinstance(value, str) else f"the value {_short(str(value))}"
