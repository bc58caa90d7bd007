"""The base of every model of a file that a person writes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from marianne_core.config.patterns import pattern_error

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)\Z")


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """One rule of a model that the file breaks."""

    message: str
    at: tuple[str | int, ...] = ()
    """Keys that lead from the model to the offending value, so that its line can be named."""
    code: str = "V000"
    """V-code of the problem."""
    hint: str = ""

    def error(self) -> PydanticCustomError:
        """The rule as an exception that a validator may raise."""
        return broken_rules([self])


def broken_rules(rules: list[BrokenRule]) -> PydanticCustomError:
    """All broken rules of one validator as the exception to raise; `rules` is not empty."""
    message = "; ".join(rule.message for rule in rules)
    return PydanticCustomError("broken_rule", "{message}", {"message": message, "rules": rules})


def broken_rule(
    message: str, *at: str | int, code: str = "V000", hint: str = ""
) -> PydanticCustomError:
    """One broken rule as the exception to raise."""
    return BrokenRule(message, at, code, hint).error()


class Strict(BaseModel):
    """Unknown keys are errors, values do not change after loading, numbers are finite.

    Numbers in quotes are read as numbers, as people's files have them; true and false are not
    numbers. Two spellings of one number as keys of one map are an error.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        populate_by_name=True,
        protected_namespaces=(),
        defer_build=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if value is True or value is False:
            field = cls.model_fields.get(info.field_name or "")
            if field is not None and field.annotation in _NUMBERS:
                raise PydanticCustomError("bool_as_number", "true and false are not numbers")
        elif isinstance(value, dict) and info.field_name in _maps_of_numbers(cls):
            _refuse_twins(value)
        return value


@cache
def _maps_of_numbers(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a model that are maps with numbers as keys."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if any(_has_number_keys(part) for part in (field.annotation, *get_args(field.annotation)))
    )


def _has_number_keys(annotation: Any) -> bool:
    if get_origin(annotation) is not dict:
        return False
    key = get_args(annotation)[0]
    return int in (key, *get_args(key))


@cache
def _whole_number() -> TypeAdapter[int]:
    return TypeAdapter(int)


def _refuse_twins(value: dict[Any, Any]) -> None:
    """Keys that are read as the same number: the later one would replace the earlier silently."""
    if not any(isinstance(key, str) for key in value):
        return
    first: dict[int, str | int] = {}
    rules = []
    for key in value:
        try:
            number = _whole_number().validate_python(key)
        except ValidationError:
            continue  # reported as what it is
        if number in first:
            text = f"key {number} stands twice, as {first[number]!r} and as {key!r}"
            rules.append(BrokenRule(text, (key,)))
        first.setdefault(number, key)
    if rules:
        raise broken_rules(rules)


_NUMBERS: Final[tuple[Any, ...]] = (int, float, int | None, float | None)


@dataclass(frozen=True, slots=True)
class KeysOf:
    """Annotation of a free mapping: its known keys are the fields of `model`."""

    model: type[BaseModel]


def integer_keys(value: Any) -> Any:
    """Turn text keys that look like integers into integers, at every depth (field reference, 2.3).

    Only the plain form counts: "7" becomes 7, "007" stays text. Raises a rule error when both 7
    and "7" are keys of one mapping.
    """
    if isinstance(value, dict):
        result: dict[Any, Any] = {}
        for key, item in value.items():
            name = int(key) if isinstance(key, str) and _INTEGER.match(key) else key
            if name in result:
                raise broken_rule(f"key {name} stands twice, as a number and as text", key)
            result[name] = integer_keys(item)
        return result
    if isinstance(value, list):
        return [integer_keys(item) for item in value]
    return value


def _integer_keys_below(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: integer_keys(item) for key, item in value.items()}
    return value


def _compiles(pattern: str) -> str:
    error = pattern_error(pattern)
    if error:
        raise broken_rule(f"the pattern does not compile: {error}", code="V007")
    return pattern


def absolute_path(path: Path, info: ValidationInfo) -> Path:
    """`path` with `~` expanded and made absolute.

    Relative paths are looked up in the folder of the file that is being read (`context["folder"]`
    of the validation), or in the current directory when there is no file.
    """
    folder = (info.context or {}).get("folder")
    try:
        path = path.expanduser()
    except RuntimeError:
        raise broken_rule(f"the home directory of {path.parts[0]} is not known") from None
    if "\0" in str(path):
        raise broken_rule("a path cannot hold a null character")
    return Path(os.path.abspath(Path(folder or "") / path))


SheetNumber = Annotated[int, Field(ge=1)]
"""Number of a sheet, a stage or a movement, from 1."""

Variables = Annotated[dict[str, Any], BeforeValidator(_integer_keys_below)]
"""Free data of a person; integer-like keys below the first level are integers."""

Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression that compiles."""
