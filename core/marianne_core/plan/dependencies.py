"""Which sheets must be finished before a sheet may start, as ranges of sheet numbers.

A fan-in over 100,000 sheets is one `range`, all sheets that wait for the same thing share one tuple,
and where each instance waits for its own, its tuple is made when it is asked for. Rules of the field reference, section 1.2: one to many and many to one wait for the whole
other stage, equal fan-outs are matched instance by instance, different ones wait for all; a score
without dependencies is a chain of stages, one with some has none beyond those it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from marianne_core.plan.fanout import Stage

Dependencies = tuple[range, ...]
"""Sheets that must be finished: ranges of step 1, ascending, without overlap or touch."""

NOTHING: Dependencies = ()


@dataclass(frozen=True, slots=True)
class GraphFault:
    """Something wrong with the dependencies, by stage number."""

    message: str
    stage: int
    """Key of `dependencies` it stands under."""
    place: int | None = None
    """Position in that stage's list, from 0; None when it is the key itself."""


def stage_needs(
    stages: int, given: Mapping[int, Sequence[int]], *, chain: bool
) -> tuple[Mapping[int, tuple[int, ...]], list[GraphFault]]:
    """What each stage waits for, and what is wrong with it.

    `given` is the score's `dependencies`; with none and `chain`, each stage waits for the one
    before. Stages without an entry in the result wait for nothing. Entries that are at fault
    (self, phantom) are left out of the result; a cycle is reported once, with its path.
    """
    needs: dict[int, tuple[int, ...]] = {}
    if not given:
        return _Chain(stages) if chain else needs, []
    faults: list[GraphFault] = []
    for stage, wanted in given.items():
        if not 1 <= stage <= stages:
            faults.append(GraphFault(f"there is no {stage}: the last one is {stages}", stage))
            continue
        good: set[int] = set()
        for place, other in enumerate(wanted):
            if other == stage:
                faults.append(GraphFault(f"{stage} depends on itself", stage, place))
            elif not 1 <= other <= stages:
                text = f"{stage} depends on {other}, which does not exist: the last one is {stages}"
                faults.append(GraphFault(text, stage, place))
            else:
                good.add(other)
        if good:
            needs[stage] = tuple(sorted(good))
    cycle = find_cycle(needs)
    if cycle:
        path = " → ".join(str(n) for n in cycle)
        place = list(given[cycle[0]]).index(cycle[1])
        faults.append(GraphFault(f"the dependencies go round in a circle: {path}", cycle[0], place))
    return needs, faults


class _Chain(Mapping[int, tuple[int, ...]]):
    """Each of so many stages waits for the one before; nothing is stored for any of them."""

    def __init__(self, stages: int) -> None:
        self._waiting = range(2, stages + 1)

    def __getitem__(self, stage: int) -> tuple[int, ...]:
        if stage not in self._waiting:
            raise KeyError(stage)
        return (stage - 1,)

    def __iter__(self) -> Iterator[int]:
        return iter(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)


def find_cycle(needs: Mapping[int, Sequence[int]]) -> list[int]:
    """A path from a stage back to itself along what it waits for, or an empty list.

    Without recursion: a chain of 100,000 stages is ordinary.
    """
    done: set[int] = set()
    for root in needs:
        if root in done:
            continue
        path: list[int] = [root]
        on_path: set[int] = {root}
        todo: list[list[int]] = [list(needs[root])]
        while path:
            if not todo[-1]:
                todo.pop()
                finished = path.pop()
                on_path.discard(finished)
                done.add(finished)
                continue
            other = todo[-1].pop()
            if other in on_path:
                return [*path[path.index(other) :], other]
            if other not in done and other in needs:
                path.append(other)
                on_path.add(other)
                todo.append(list(needs[other]))
    return []


class Matched:
    """Dependencies of the sheets of a stage that differ from instance to instance."""

    __slots__ = ("_ahead", "_whole")

    def __init__(self, stage: Stage, others: Sequence[Stage]) -> None:
        """`others` are what `stage` waits for; some have as many sheets as it has."""
        self._whole = merge([other.sheets for other in others if other.count != stage.count])
        self._ahead = tuple(o.first - stage.first for o in others if o.count == stage.count)

    def of(self, num: int) -> Dependencies:
        """What sheet `num` of the stage waits for."""
        numbers = (num + ahead for ahead in self._ahead)
        return merge([*self._whole, *(range(number, number + 1) for number in numbers)])


class SheetDependencies:
    """Answers for stages, with the rules for their sheets.

    `matched` False: instances of equal fan-outs are not paired (a chain that nobody wrote down).
    """

    def __init__(
        self, stages: Sequence[Stage], needs: Mapping[int, Sequence[int]], *, matched: bool = True
    ) -> None:
        self._stages = stages
        self._needs = needs
        self._matched = matched

    def of(self, stage: Stage) -> Dependencies | Matched:
        """What all sheets of `stage` wait for, or how it depends on the instance."""
        needed = self._needs.get(stage.number)
        if not needed:
            return NOTHING
        others = [self._stages[n - 1] for n in needed]
        equal = any(other.count == stage.count for other in others)
        if self._matched and stage.count > 1 and equal:
            return Matched(stage, others)
        return merge([other.sheets for other in others])


def merge(ranges: Sequence[range]) -> Dependencies:
    """The same numbers in as few ranges as possible, ascending."""
    if len(ranges) == 1:
        return (ranges[0],)
    merged: list[range] = []
    for block in sorted(ranges, key=lambda r: r.start):
        if merged and block.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, block.stop))
        else:
            merged.append(block)
    return tuple(merged)


def stage_levels(stages: int, needs: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """Stage numbers by level: level 0 waits for nothing, each other for a stage one level below.

    The dependencies must be free of cycles.
    """
    missing = {n: len(needs.get(n, ())) for n in range(1, stages + 1)}
    dependents: dict[int, list[int]] = {}
    for stage, needed in needs.items():
        for other in needed:
            dependents.setdefault(other, []).append(stage)
    levels: list[list[int]] = []
    ready = [n for n, count in missing.items() if count == 0]
    while ready:
        levels.append(ready)
        following: list[int] = []
        for number in ready:
            for dependent in dependents.get(number, ()):
                missing[dependent] -= 1
                if missing[dependent] == 0:
                    following.append(dependent)
        ready = sorted(following)
    return levels
