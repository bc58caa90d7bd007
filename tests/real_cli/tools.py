"""Which of the tools that a program offers writes a file, and how it is called for it.

Programs name their tools and the fields of these as they like, and change them between versions, so
the choice goes by the shape of the tool's schema, not by the program.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_PATHS = ("file_path", "filePath", "absolute_path", "path")
_CONTENTS = ("content", "contents", "file_text", "text")
_COMMANDS = ("cmd", "command", "commands")


class Call(NamedTuple):
    """A call of a tool."""

    name: str
    arguments: dict[str, Any]


class NoToolError(Exception):
    """The program offers no tool that can write a file."""


def offered(request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and schema of every tool in a request, in the notation of any of the protocols."""
    for tool in request.get("tools") or ():
        for declared in tool.get("functionDeclarations") or (tool.get("function") or tool,):
            schema = (
                declared.get("input_schema")
                or declared.get("parametersJsonSchema")
                or declared.get("parameters")
                or {}
            )
            yield str(declared.get("name") or declared.get("type")), schema


def call_to_write(request: Mapping[str, Any], path: str, content: str) -> Call:
    """The call that makes the program write `content` into `path`.

    A tool that writes files is preferred to a shell. Raises NoToolError.
    """
    tools = list(offered(request))
    for name, schema in tools:
        fields = schema.get("properties") or {}
        where = next((key for key in _PATHS if key in fields), None)
        what = next((key for key in _CONTENTS if key in fields), None)
        if where and what and "write" in name.lower():
            return Call(name, {**_required(schema), where: path, what: content})
    script = f"printf %s {shlex.quote(content)} > {shlex.quote(path)}"
    for name, schema in tools:
        fields = schema.get("properties") or {}
        for key in _COMMANDS:
            if key in fields:
                kind = fields[key].get("type")
                several: list[str] = [script] if key == "commands" else ["bash", "-c", script]
                value = several if kind == "array" else script
                return Call(name, {**_required(schema), key: value})
    raise NoToolError(f"none of {[name for name, _ in tools]} writes a file")


def _required(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Something for every field that must not be missing."""
    fields = schema.get("properties") or {}
    plain = {"boolean": False, "integer": 1, "number": 1, "array": [], "object": {}}
    return {
        key: (fields.get(key, {}).get("enum") or [plain.get(fields.get(key, {}).get("type"), key)])[
            0
        ]
        for key in schema.get("required") or ()
    }
