"""Types, bounds and defaults of fields in words for the reference pages."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from marianne_core.config.fields import ModelField

_PLAIN: Final[dict[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    Any: "anything",
}
_BOUNDS: Final = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def type_words(field: ModelField) -> str:
    """What may be written for a field, with its bounds: `whole number, ≥ 1, ≤ 20`."""
    words = _type(field.info.annotation, _is_free(field))
    return ", ".join([words, *_bounds(field.info.metadata)])


def default_words(field: ModelField) -> str:
    """What holds when a field is not written: `3`, `[a, b]`, "required", or "not set"."""
    info: FieldInfo = field.info
    if info.is_required():
        return "`~/workspaces/NAME`" if field.key == "workspace" else "required"
    value = info.default if info.default is not PydanticUndefined else info.get_default()
    if value is None:
        return "not set"
    if isinstance(value, BaseModel):
        return "its defaults"
    if field.key == "permissions":
        return f"`{value:#o}`"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, frozenset):
        value = sorted(value)
    return f"`{_yaml(value)}`"


def _is_free(field: ModelField) -> bool:
    """A mapping whose keys are the fields of a model that does not read it."""
    return field.inner is not None and field.layers == 0 and _model(field.info.annotation) is None


def _model(annotation: Any) -> type[BaseModel] | None:
    parts = [part for part in get_args(annotation) if part is not NoneType] or [annotation]
    part = parts[0]
    return part if isinstance(part, type) and issubclass(part, BaseModel) else None


def _type(annotation: Any, free: bool = False) -> str:
    if free:
        return "mapping"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = [bound for bound in _bounds(annotation.__metadata__) if bound != "≥ 1"]
        return " ".join([_type(args[0]), *bounds])
    if origin in (Union, UnionType):
        return " or ".join(_type(part) for part in args if part is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin in (list, frozenset):
        return f"list of {_plural(_type(args[0]))}"
    if origin is dict:
        if args[1] is Any:
            return "mapping"
        return f"map: {_key(args[0])} to {_type(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    return _PLAIN[annotation]


def _key(annotation: Any) -> str:
    return "name" if annotation is str else "number"


def _plural(words: str) -> str:
    return {"whole number": "whole numbers", "block": "blocks", "number": "numbers"}.get(
        words, words
    )


def _bounds(metadata: Iterable[Any]) -> list[str]:
    words: list[str] = []
    for item in metadata:
        for part in getattr(item, "metadata", None) or [item]:
            for name, sign in _BOUNDS:
                bound = getattr(part, name, None)
                if bound is not None:
                    words.append(f"{sign} {bound:g}")
            longest = getattr(part, "max_length", None)
            if longest is not None:
                words.append(f"at most {longest} characters")
    return words


def _yaml(value: Any) -> str:
    """A default as it would stand in a file, on one line."""
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and value and value[0] not in "*&!|>%@`\"'{[" and ": " not in value:
        return value
    return json.dumps(value, ensure_ascii=False)
