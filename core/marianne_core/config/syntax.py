"""Say in a person's words what the YAML parser found wrong."""

from __future__ import annotations

from typing import Final

import yaml

from marianne_core.model.errors import InputError

_SYNTAX: Final = (
    ("mapping values are not allowed", "unexpected `: `", "text that holds `: ` needs quotes"),
    (
        "could not find expected ':'",
        "a `:` is missing after the key",
        "write `key: value`; long texts stand behind `|`, indented",
    ),
    (
        "did not find expected key",
        "this line does not fit the indentation of the lines above it",
        "keys of one block start in the same column; text with quotes or { inside needs quotes",
    ),
    (
        "did not find expected '-' indicator",
        "this line does not fit into the list above it",
        "items of one list start with `-` in the same column",
    ),
    ("unexpected end of stream", "this quote is not closed", "close it, or remove it"),
    ("expected ',' or", "this bracket is not closed", "close it, or put the text in quotes"),
    (
        "expected node content",
        "a value or a closing bracket is missing here",
        "text that begins with , ] or } needs quotes",
    ),
    (
        "unknown escape",
        "unknown `\\` escape in double quotes",
        "use single quotes, or double the \\",
    ),
    (
        "block sequence entries are not allowed",
        "a list item cannot stand here",
        "begin lists on a line of their own",
    ),
    ("undefined tag handle", "text that begins with ! needs quotes", ""),
    ("cannot start any token", "this character cannot begin a value", "put the text in quotes"),
)

_OPENED_EARLIER: Final = ("unexpected end of stream", "expected ',' or")
"""Complaints that are best shown where the quote or bracket begins."""


def syntax_error(error: yaml.MarkedYAMLError, text: str, name: str) -> InputError:
    """The parser's complaint in words for a person."""
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "unknown error"
    if error.context_mark and any(part in problem for part in _OPENED_EARLIER):
        mark = error.context_mark
    if mark is None:
        return InputError(f"not YAML: {problem}", where=name)
    where = f"{name}:{mark.line + 1}:{mark.column + 1}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1] and not line[: mark.column].strip():
        return InputError(
            "a tab is used for indentation", where=where, hint="YAML indents with spaces only"
        )
    if ": {{" in line or line.lstrip().startswith(("{{", "- {{")):
        return InputError(
            "text that begins with {{ needs quotes", where=where, hint='write "{{ ... }}"'
        )
    for part, what, hint in _SYNTAX:
        if part in problem:
            return InputError(f"not YAML: {what}", where=where, hint=hint)
    return InputError(f"not YAML: {problem}", where=where)
