"""The plan: every sheet of a score with what it waits for, who plays it and how long it may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marianne_core.config.score.job import JobConfig
from marianne_core.config.score.sheet import SkipWhenCommand
from marianne_core.plan.conditions import Condition
from marianne_core.plan.dependencies import Dependencies, Matched, stage_levels
from marianne_core.plan.fanout import Stage
from marianne_core.plan.instruments import InstrumentChoice
from marianne_core.plan.recent import Recent
from marianne_core.plan.rule_index import RuleIndex
from marianne_core.plan.templates import Renderer
from marianne_core.plan.variables import large_names

if TYPE_CHECKING:
    from marianne_core.plan.rules import BoundRule

_RECENT_SHEETS = 64
"""Sheets whose rules are kept between two steps of an attempt; rarely are more at work."""


@dataclass(frozen=True, slots=True)
class SheetPlan:
    """One sheet. What several sheets have in common is one shared object."""

    num: int
    """From 1."""
    movement: int
    """Stage it belongs to, from 1."""
    instance: int
    """Its voice within the stage, from 1."""
    fan_count: int
    """Voices of the stage."""
    start_item: int
    """First item it works on, from 1."""
    end_item: int
    """Last item it works on."""
    needs: Dependencies | Matched
    """What the sheets of its stage must wait for; see `deps`."""
    choice: InstrumentChoice
    """Who plays it."""
    fallbacks: tuple[InstrumentChoice, ...]
    """Who plays it when `choice` cannot, in order."""
    title: str
    """Label for people: its description, else the movement's name, else empty."""

    @property
    def deps(self) -> Dependencies:
        """Sheets that must be finished first: ranges of consecutive numbers."""
        return self.needs.of(self.num) if isinstance(self.needs, Matched) else self.needs

    @property
    def instrument(self) -> str:
        """Name of the profile that plays it."""
        return self.choice.profile

    @property
    def alias(self) -> str | None:
        """The score's own name for that instrument, or None."""
        return self.choice.alias

    @property
    def model(self) -> str | None:
        """Model to ask for, or None."""
        return self.choice.model

    @property
    def config(self) -> Mapping[str, Any]:
        """Merged instrument settings; shared, do not change."""
        return self.choice.config

    @property
    def timeout(self) -> float:
        """Seconds one attempt may take."""
        return self.choice.timeout

    @property
    def timeout_source(self) -> str:
        """Where that number comes from."""
        return self.choice.timeout_source


@dataclass(frozen=True, eq=False)
class Plan:
    """A score, worked out. Make it with `build_plan`."""

    path: Path
    """The score file."""
    config: JobConfig
    workspace: Path
    """Absolute."""
    variables: Mapping[str, Any]
    """Variables of the score and of `--var`; shared, do not change."""
    thinking_method: str | None
    stages: tuple[Stage, ...]
    """Blocks of sheets that share their dependencies, ascending."""
    stage_needs: Mapping[int, tuple[int, ...]]
    """Stages that a stage waits for; stages without an entry wait for nothing."""
    sheets: tuple[SheetPlan, ...]
    """In order of their numbers."""
    total_stages: int
    """Movements of the score."""
    renderer: Renderer
    """The compiled template of the prompts."""
    conditions: Mapping[str, Condition]
    """Parsed `condition` of every validation rule, by text."""

    @cached_property
    def base(self) -> Path:
        """The folder of the score file: where relative paths outside the workspace start."""
        return self.path.parent

    @property
    def total_sheets(self) -> int:
        """Number of sheets."""
        return len(self.sheets)

    def sheet(self, num: int) -> SheetPlan:
        """The sheet of that number, from 1. Raises IndexError when there is none."""
        if num < 1:
            raise IndexError(f"there is no sheet {num}")
        return self.sheets[num - 1]

    def title_of_movement(self, movement: int) -> str:
        """Name of a movement, or an empty text."""
        defined = self.config.movements.get(movement)
        return (defined.name or "") if defined is not None else ""

    def skip_condition(self, num: int) -> str | None:
        """Text of the sheet's `skip_when`, or None."""
        return self.config.sheet.skip_when.get(self._skip_key(num))

    def skip_command(self, num: int) -> SkipWhenCommand | None:
        """The sheet's `skip_when_command`, or None."""
        return self.config.sheet.skip_when_command.get(self._skip_key(num))

    def _skip_key(self, num: int) -> int:
        """Keys are stages; in a score whose fan-out was expanded before, sheets (field reference,
        section 1.2)."""
        sheet = self.config.sheet
        expanded = not sheet.fan_out and num in (sheet.fan_out_stage_map or {})
        return num if expanded else self.sheet(num).movement

    @cached_property
    def rule_index(self) -> RuleIndex:
        """The validation rules by the sheets they can be for."""
        return RuleIndex(self.config.validations, self.conditions)

    @cached_property
    def recent_rules(self) -> Recent[tuple[BoundRule, ...]]:
        """What `rules_for` worked out lately."""
        return Recent(_RECENT_SHEETS)

    @cached_property
    def large_variables(self) -> frozenset[str]:
        """The score's variables with large values."""
        return large_names(self.variables)

    @cached_property
    def levels(self) -> tuple[tuple[range, ...], ...]:
        """Sheets by level of the dependency graph, as ranges: a level waits for the ones before."""
        levels = stage_levels(len(self.stages), self.stage_needs)
        return tuple(tuple(_joined(self.stages[n - 1].sheets for n in level)) for level in levels)


def levels(plan: Plan) -> tuple[tuple[range, ...], ...]:
    """Sheets by level of the dependency graph: `((1..1), (2..4), (5..5))` as ranges."""
    return plan.levels


def _joined(blocks: Iterator[range]) -> Iterator[range]:
    """Ascending blocks, neighbours put together."""
    last: range | None = None
    for block in blocks:
        if last is not None and block.start == last.stop:
            last = range(last.start, block.stop)
            continue
        if last is not None:
            yield last
        last = block
    if last is not None:
        yield last
