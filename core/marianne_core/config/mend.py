"""A score that does not fit the schema, without the parts that do not fit: so that what else is wrong
with it can be told at the same time."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from marianne_core.config.explain import Finding, homes, near
from marianne_core.config.fields import walk_fields
from marianne_core.config.load import Score
from marianne_core.config.marks import Key
from marianne_core.config.read import findings_of, problems_from, validate
from marianne_core.config.score.job import JobConfig
from marianne_core.config.score.shape import refuse_other_shapes
from marianne_core.config.source import Source
from marianne_core.model.problem import Problem

_ROUNDS: Final = 10
"""Taking a part out may show another; a score that needs more rounds is not mended."""
_MOST_STAGES: Final = 10_000
"""Of a score whose number of stages is guessed."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What is left of a score that does not fit the schema."""

    score: Score | None
    """The score without the parts that do not fit; None where nothing sensible is left. Only for
    checks, never for a run."""
    spoiled: frozenset[str]
    """Blocks (keys of the top level) that are not as they were meant."""
    problems: list[Problem]
    """All that does not fit, in the order of the file."""


def mend(source: Source) -> Mended:
    """Take out of a score what does not fit the schema, until the rest does.

    Raises ScoreError for a file that is no score of this format at all.
    """
    refuse_other_shapes(source)
    data = copy.deepcopy(source.data)
    spoiled: set[str] = set()
    found: dict[Finding, None] = {}
    taken: list[tuple[Key, ...]] = []
    for _ in range(_ROUNDS):
        try:
            config = validate(JobConfig, replace(source, data=data))
        except ValidationError as failure:
            findings = findings_of(failure, JobConfig, data)
        else:
            path = Path(os.path.abspath(source.path or "score.yaml"))
            mended = replace(source, data=data)
            score = Score(path, source.text, config, source.marks, mended)
            return Mended(score, frozenset(spoiled), problems_from(found, source))
        found.update((each, None) for each in findings if not _follows(each.path, taken))
        for finding in findings:
            spoiled |= _spoils(finding)
        # The last element of a list first: those before it keep their places.
        if not all([_take_out(data, finding.path) for finding in reversed(findings)]):
            break
        taken += [finding.path for finding in findings]
    return Mended(None, frozenset(spoiled), problems_from(found, source))


def _follows(path: tuple[Key, ...], taken: Iterable[tuple[Key, ...]]) -> bool:
    """Whether what is said about `path` may be due to what was taken out before.

    What the whole score and its block `sheet` are asked says nothing about parts that are not there.
    """
    for out in taken:
        block = out[:-1]
        if out[: len(path)] == path or (len(block) > 1 and path[: len(block)] == block):
            return True
    return False


def _spoils(finding: Finding) -> set[str]:
    """The blocks that may lack something because of this: a wrong key was meant to be another."""
    if not finding.path:
        return set()
    names = {str(finding.path[0])}
    if finding.at_key:
        key = str(finding.path[-1])
        for meant in (key, *near(key, {field.key for field in walk_fields(JobConfig)})[:1]):
            names |= {meant, *homes(meant, JobConfig)}
    return names


def _take_out(data: dict[Key, Any], path: tuple[Key, ...]) -> bool:
    """Take what stands at `path` out of the data, or put in what is missing there.

    An element of a list goes with the whole list, so that no other changes its place. False when
    there is nothing that could be done.
    """
    blocks: list[dict[Key, Any]] = []
    keys: list[Key] = []
    at: Any = data
    for key in path:
        if isinstance(at, dict):
            blocks.append(at)
            keys.append(key)
            if key not in at:
                break
            at = at[key]
        elif isinstance(at, list) and isinstance(key, int) and key < len(at):
            at = at[key]
        else:
            break
    if not blocks:
        return False
    if keys[-1] not in blocks[-1]:
        if len(keys) < len(path) or _put_in(data, path):
            return True  # it went with what holds it, or is there now
        blocks.pop()
        keys.pop()
        if not blocks or keys[-1] not in blocks[-1]:
            return False
    del blocks[-1][keys[-1]]
    return True


def _put_in(data: dict[Key, Any], path: tuple[Key, ...]) -> bool:
    """Give the score a part that it must have. Nothing is said to be wrong because of what is put in."""
    match path:
        case ("name",):
            data["name"] = "score"
        case ("prompt",):
            data["prompt"] = {}
        case ("sheet",):
            data["sheet"] = {"size": 1, "total_items": 1}
        case ("sheet", "size"):
            data["sheet"]["size"] = 1
        case ("sheet", "total_items"):
            data["sheet"]["total_items"] = _stages_named(data["sheet"])
        case _:
            return False
    return True


def _stages_named(sheet: Mapping[Key, Any]) -> int:
    """As many stages as the block itself speaks of."""
    needed, wide = sheet.get("dependencies"), sheet.get("fan_out")
    numbers: list[Any] = []
    if isinstance(wide, dict):
        numbers += wide
    if isinstance(needed, dict):
        numbers += needed
        for others in needed.values():
            numbers += others if isinstance(others, list) else []
    return min(max(_whole(numbers), default=1), _MOST_STAGES)


def _whole(numbers: Iterable[Any]) -> Iterable[int]:
    for number in numbers:
        if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()):
            yield max(1, int(number))
