"""How the work is cut into sheets, and what is said about single sheets."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, model_validator

from marianne_core.config.base import (
    BrokenRule,
    SheetNumber,
    Strict,
    broken_rule,
    broken_rules,
)
from marianne_core.config.score.instruments import InstrumentConfig


class InjectionCategory(StrEnum):
    """What an injected file is for the agent."""

    CONTEXT = "context"
    """Background to read."""
    SKILL = "skill"
    """A way of working to follow."""
    TOOL = "tool"
    """Something to call, and how."""


class InjectionItem(Strict):
    """A file, or all files of a directory, put into the prompt."""

    file: str | None = Field(None, min_length=1)
    """File to inject; a template, relative to the workspace. Either this or `directory`."""
    directory: str | None = Field(None, min_length=1)
    """Directory whose files are injected in order of their names; a template, relative to the
    workspace."""
    as_: InjectionCategory = Field(alias="as")
    """What the text is for the agent: context, skill or tool."""

    @model_validator(mode="after")
    def _one_source(self) -> InjectionItem:
        if (self.file is None) == (self.directory is None):
            raise broken_rule("give exactly one of `file` and `directory`")
        return self


class SkipWhenCommand(Strict):
    """A shell command that decides whether a sheet is skipped."""

    command: str = Field(min_length=1)
    """Command for bash; status 0 skips the sheet. `{workspace}` is replaced by the workspace."""
    description: str | None = None
    """What the command finds out, for the reason that is shown."""
    timeout_seconds: float = Field(10.0, gt=0, le=60)
    """Seconds after which the command is ended and the sheet runs."""


class FanOutStage(Strict):
    """Where a sheet of an expanded score came from."""

    stage: SheetNumber
    """Stage it belongs to, from 1."""
    instance: SheetNumber
    """Its place among the sheets of that stage, from 1."""
    fan_count: SheetNumber
    """Number of sheets of that stage."""


class SheetConfig(Strict):
    """How many sheets there are, what depends on what, and settings of single sheets."""

    size: int = Field(ge=1)
    """Items that one sheet works on."""
    total_items: int = Field(ge=1)
    """Items in all. With `size: 1` and no fan-out this is the number of sheets."""
    start_item: int = Field(1, ge=1)
    """First item to work on, from 1."""
    descriptions: dict[SheetNumber, str] = Field({})
    """A label for each sheet, shown in status and events."""
    dependencies: dict[SheetNumber, list[SheetNumber]] = Field({})
    """What must be finished before a sheet starts: stage numbers with `fan_out`, else sheets."""
    fan_out: dict[SheetNumber, Annotated[int, Field(ge=1)]] = Field({})
    """Stages that are played by several sheets at once: stage number to number of sheets."""
    fan_out_stage_map: dict[SheetNumber, FanOutStage] | None = None
    """Stage and instance of each sheet of a score whose fan-out was expanded before."""
    skip_when: dict[SheetNumber, str] = Field({})
    """Expressions over `sheets` and `job`; a sheet whose expression is true is skipped."""
    skip_when_command: dict[SheetNumber, SkipWhenCommand] = Field({})
    """Commands; a sheet whose command ends with status 0 is skipped."""
    prompt_extensions: dict[SheetNumber, list[str]] = Field({})
    """Directives that are added to the end of single sheets' prompts."""
    prelude: list[InjectionItem] = Field([])
    """Files put into the prompt of every sheet."""
    cadenzas: dict[SheetNumber, list[InjectionItem]] = Field({})
    """Files put into the prompts of single sheets, by sheet number."""
    spec_tags: dict[SheetNumber, list[str]] = Field({})
    """Tags that choose which parts of the specification a sheet is given."""
    per_sheet_instruments: dict[SheetNumber, Annotated[str, Field(min_length=1)]] = Field({})
    """Instrument of single sheets; wins over every other assignment."""
    per_sheet_instrument_config: dict[SheetNumber, InstrumentConfig] = Field({})
    """Instrument settings of single sheets; win over all other settings."""
    per_sheet_fallbacks: dict[SheetNumber, list[str]] = Field({})
    """Fallback instruments of single sheets; an empty list means none."""
    instrument_map: dict[str, list[SheetNumber]] = Field({})
    """Instruments for many sheets at once: name to sheet numbers."""

    @model_validator(mode="before")
    @classmethod
    def _drop_total_sheets(cls, data: Any) -> Any:
        if isinstance(data, dict) and "total_sheets" in data:
            return {key: value for key, value in data.items() if key != "total_sheets"}
        return data

    @property
    def stages(self) -> int:
        """Number of stages: sheets before fan-out."""
        return max(0, -((self.start_item - 1 - self.total_items) // self.size))

    @property
    def count(self) -> int:
        """Number of sheets after fan-out."""
        return self.stages + sum(
            count - 1 for stage, count in self.fan_out.items() if stage <= self.stages
        )

    @model_validator(mode="after")
    def _fits_together(self) -> SheetConfig:
        """All rules at once: one that is broken hides no other."""
        rules = [*self._items(), *self._dependencies(), *self._instruments()]
        if rules:
            raise broken_rules(rules)
        return self

    def _items(self) -> Iterator[BrokenRule]:
        if self.start_item > self.total_items:
            yield BrokenRule(
                f"start_item ({self.start_item}) lies behind the last item ({self.total_items})",
                ("start_item",),
            )
        for name, value in (("size", self.size), ("start_item", self.start_item)):
            if self.fan_out and value != 1:
                yield BrokenRule(f"fan_out needs {name}: 1, not {value}", (name,))

    def _dependencies(self) -> Iterator[BrokenRule]:
        if self.start_item > self.total_items:
            return  # there are no sheets, which is said
        word = "stage" if self.fan_out else "sheet"
        there_are = f"the score has {self.stages} {word}{'' if self.stages == 1 else 's'}"
        for number, needed in self.dependencies.items():
            if number > self.stages:
                yield BrokenRule(
                    f"there is no {word} {number}: {there_are}", ("dependencies", number)
                )
            for place, other in _in_order(needed):
                at = ("dependencies", number, place)
                if other is None:
                    yield BrokenRule(_TWICE, at)
                elif other == number:
                    yield BrokenRule(f"{word} {number} depends on itself", at)
                elif other > self.stages:
                    yield BrokenRule(
                        f"{word} {number} depends on {word} {other}, which does not exist: "
                        f"{there_are}",
                        at,
                    )

    def _instruments(self) -> Iterator[BrokenRule]:
        owner: dict[int, str] = {}
        for name, numbers in self.instrument_map.items():
            for place, number in _in_order(numbers):
                at = ("instrument_map", name, place)
                if number is None:
                    yield BrokenRule(_TWICE, at)
                elif number in owner:
                    text = f"sheet {number} is given to {owner[number]!r} and to {name!r}"
                    yield BrokenRule(text, at)
                else:
                    owner[number] = name


_TWICE = "a sheet number stands twice in this list"


def _in_order(numbers: list[int]) -> Iterator[tuple[int, int | None]]:
    """Places and numbers of a list; None for one that stood there before."""
    met: set[int] = set()
    for place, number in enumerate(numbers):
        yield place, None if number in met else number
        met.add(number)
