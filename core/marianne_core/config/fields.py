"""Walk the models: every field, what it may hold, and what its docstring says."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from marianne_core.config.base import KeysOf

Model = type[BaseModel]


@dataclass(frozen=True, slots=True)
class ModelField:
    """One field of one model."""

    path: str
    """Dotted keys as a person writes them, without the keys of maps and the places of lists."""
    key: str
    """The last of them."""
    name: str
    """Its attribute; differs from `key` where that is a word of Python."""
    model: Model
    """The model it belongs to."""
    info: FieldInfo
    """What pydantic knows about it."""
    inner: Model | None
    """The model inside, also inside a list or a map; None for plain values."""
    layers: int
    """Maps and lists between the field and `inner`: their keys and places are no fields."""

    @property
    def doc(self) -> str:
        """Its docstring, as one line."""
        return field_docs(self.model).get(self.key, "")


def fields_of(model: Model, prefix: str = "") -> Iterator[ModelField]:
    """The fields of one model, without those of the models inside."""
    for name, info in model.model_fields.items():
        key = info.alias or name
        inner = inner_model(info.annotation, info.metadata)
        layers = _layers(info.annotation) if inner else 0
        yield ModelField(f"{prefix}{key}", key, name, model, info, inner, layers)


def walk_fields(model: Model, prefix: str = "") -> Iterator[ModelField]:
    """Every field of a model and of the models inside it, each block before its content."""
    for field in fields_of(model, prefix):
        yield field
        if field.inner is not None:
            yield from walk_fields(field.inner, f"{field.path}.")


def model_fields(model: Model) -> Iterator[str]:
    """Dotted paths of every field of a model and of the models inside it."""
    return (field.path for field in walk_fields(model))


def inner_model(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> Model | None:
    """The model in an annotation, looking through None, lists, maps and `KeysOf`."""
    for item in metadata:
        if isinstance(item, KeysOf):
            return item.model
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = get_origin(annotation)
    if origin is None:
        return None
    if origin is Annotated:
        return inner_model(get_args(annotation)[0], annotation.__metadata__)
    if origin in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
    elif origin is dict:
        parts = [get_args(annotation)[1]]
    else:
        parts = list(get_args(annotation))
    for part in parts:
        found = inner_model(part)
        if found is not None:
            return found
    return None


def model_at(model: Model, path: tuple[str | int, ...]) -> Model | None:
    """The model that reads the mapping at `path` of a file, or None when no model does."""
    found: Model | None = model
    layers = 0
    for key in path:
        if found is None:
            return None
        if layers:
            layers -= 1
            continue
        field = next((field for field in fields_of(found) if key == field.key), None)
        if field is None:
            return None
        found, layers = field.inner, field.layers
    return None if layers else found


def _layers(annotation: Any) -> int:
    if inner_model(annotation) is None:
        return 0
    origin = get_origin(annotation)
    args = get_args(annotation)
    if origin is Annotated:
        return 0 if inner_model(None, annotation.__metadata__) else _layers(args[0])
    if origin in (Union, UnionType):
        return max(_layers(part) for part in args)
    if origin is dict:
        return 1 + _layers(args[1])
    if origin in (list, tuple):
        return 1 + _layers(args[0])
    return 0


def field_docs(model: Model) -> dict[str, str]:
    """Docstrings under the fields of a model, by key, each as one line; empty without sources."""
    docs: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        docs |= _docs_of_module(cls.__module__).get(cls.__qualname__, {})
    for name, info in model.model_fields.items():
        if info.alias and name in docs:
            docs[info.alias] = docs[name]
    return docs


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, without its full stop."""
    end = text.find(". ")
    return (text if end < 0 else text[:end]).rstrip(".")


@cache
def _docs_of_module(name: str) -> dict[str, dict[str, str]]:
    module = sys.modules.get(name)
    try:
        source = inspect.getsource(module) if module else ""
    except (OSError, TypeError):
        return {}
    docs: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found = docs.setdefault(node.name, {})
            for field, below in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(below, ast.Expr)
                    and isinstance(below.value, ast.Constant)
                    and isinstance(below.value.value, str)
                ):
                    found[field.target.id] = " ".join(below.value.value.split())
    return docs
