from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.model.problem import Problem
from marianne_core.plan.dependencies import (
    Matched,
    SheetDependencies,
    find_cycle,
    merge,
    stage_levels,
    stage_needs,
)
from marianne_core.plan.fanout import expand, items_of, sheets_of
from marianne_core.plan.sheets import Plan, levels
from marianne_core.plan.where import PlanError


def numbers(ranges: tuple[range, ...]) -> list[int]:
    return [n for block in ranges for n in block]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, dict[int, int], dict[int, list[int]]]:
    """Stages, fan-out and acyclic dependencies."""
    stages = draw(st.integers(1, 8))
    fan_out = draw(st.dictionaries(st.integers(1, stages), st.integers(1, 4), max_size=4))
    order = draw(st.permutations(range(1, stages + 1)))
    given_: dict[int, list[int]] = {}
    for place, stage in enumerate(order):
        before = order[:place]
        if before and draw(st.sampled_from([True, False])):
            given_[stage] = draw(st.lists(st.sampled_from(before), unique=True, max_size=4))
    return stages, fan_out, given_


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_every_sheet_waits_for_what_the_rules_say(
    graph: tuple[int, dict[int, int], dict[int, list[int]]],
) -> None:
    count, fan_out, wanted = graph
    stages = expand(count, fan_out)
    assert [s.sheets[0] for s in stages[1:]] == [s.sheets[-1] + 1 for s in stages[:-1]]
    needs, faults = stage_needs(count, wanted, chain=True)
    assert faults == []
    dependencies = SheetDependencies(stages, needs, matched=bool(wanted))
    named = dict(needs)
    for num, stage, instance in sheets_of(stages):
        expected: set[int] = set()
        for other in (stages[n - 1] for n in named.get(stage.number, ())):
            if wanted and other.count == stage.count > 1:
                expected.add(other.sheets[instance - 1])
            else:
                expected.update(other.sheets)
        found = dependencies.of(stage)
        if isinstance(found, Matched):
            found = found.of(num)
        assert numbers(found) == sorted(expected)
        assert num not in expected
        assert all(a.stop < b.start for a, b in pairwise(found))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_levels_hold_every_stage_once_and_after_what_it_needs(
    graph: tuple[int, dict[int, int], dict[int, list[int]]],
) -> None:
    count, _, wanted = graph
    needs, _ = stage_needs(count, wanted, chain=True)
    found = stage_levels(count, needs)
    level_of = {stage: level for level, members in enumerate(found) for stage in members}
    assert sorted(level_of) == list(range(1, count + 1))
    for stage in level_of:
        below = [level_of[other] for other in needs.get(stage, ())]
        assert level_of[stage] == (max(below) + 1 if below else 0)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.integers(1, 7), st.lists(st.integers(1, 7), min_size=1, max_size=3), max_size=7
    )
)
def test_a_cycle_is_found_exactly_when_there_is_one(needs: dict[int, list[int]]) -> None:
    reached = {n: set(needs.get(n, ())) for n in range(1, 8)}
    for middle in range(1, 8):
        for start in range(1, 8):
            if middle in reached[start]:
                reached[start] |= reached[middle]
    cycle = find_cycle(needs)
    assert bool(cycle) == any(n in reached[n] for n in reached)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(b in needs[a] for a, b in pairwise(cycle))


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 5)), min_size=1, max_size=6))
def test_merged_ranges_hold_the_same_numbers(pairs: list[tuple[int, int]]) -> None:
    ranges = [range(start, start + length) for start, length in pairs]
    assert numbers(merge(ranges)) == sorted({n for block in ranges for n in block})


def test_fan_out_rules_by_example(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        sheet:
          size: 1
          total_items: 6
          fan_out: {2: 3, 3: 3, 4: 2}
          dependencies: {2: [1], 3: [2], 4: [3], 5: [4]}
        """
    )
    waits = {sheet.num: numbers(sheet.deps) for sheet in plan.sheets}
    assert waits == {
        1: [],
        2: [1],
        3: [1],
        4: [1],
        5: [2],  # equal fan-outs: instance by instance
        6: [3],
        7: [4],
        8: [5, 6, 7],  # different ones: all to all
        9: [5, 6, 7],
        10: [8, 9],
        11: [],  # no entry, and others have one
    }
    assert [(s.movement, s.instance, s.fan_count) for s in plan.sheets[1:4]] == [
        (2, 1, 3),
        (2, 2, 3),
        (2, 3, 3),
    ]
    assert levels(plan)[0] == (range(1, 2), range(11, 12))
    assert levels(plan)[1] == (range(2, 5),)
    assert plan.total_stages == 6


def test_no_dependencies_at_all_is_a_chain_of_whole_stages(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("sheet: {size: 1, total_items: 3, fan_out: {1: 2, 2: 2}}")
    assert [numbers(s.deps) for s in plan.sheets] == [[], [], [1, 2], [1, 2], [3, 4]]


def test_an_empty_entry_means_none(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("sheet: {size: 1, total_items: 3, dependencies: {3: []}}")
    assert [s.deps for s in plan.sheets] == [(), (), ()]


def test_voices_of_a_movement_fan_out(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("movements: {2: {voices: 3}}")
    assert [(s.movement, s.instance, s.fan_count) for s in plan.sheets] == [
        (1, 1, 1),
        (2, 1, 3),
        (2, 2, 3),
        (2, 3, 3),
        (3, 1, 1),
    ]


def test_voices_that_contradict_fan_out_are_refused(
    problems_of: Callable[..., list[Problem]],
) -> None:
    found = problems_of(
        "movements: {2: {voices: 3}}\nsheet: {size: 1, total_items: 2, fan_out: {2: 2}}"
    )
    assert [(p.code, p.severity) for p in found] == [("V114", "error")]


def test_an_expanded_score_keeps_its_stages(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        """
        sheet:
          size: 1
          total_items: 3
          dependencies: {2: [1], 3: [1]}
          fan_out_stage_map:
            1: {stage: 1, instance: 1, fan_count: 1}
            2: {stage: 2, instance: 1, fan_count: 2}
            3: {stage: 2, instance: 2, fan_count: 2}
        """
    )
    assert [(s.movement, s.instance, s.fan_count) for s in plan.sheets] == [
        (1, 1, 1),
        (2, 1, 2),
        (2, 2, 2),
    ]
    assert plan.total_stages == 2


@pytest.mark.parametrize(
    ("stage", "size", "start", "total", "items"),
    [
        (1, 1, 1, 3, (1, 1)),
        (2, 10, 1, 25, (11, 20)),
        (3, 10, 1, 25, (21, 25)),
        (1, 5, 7, 20, (7, 11)),
        (3, 5, 7, 20, (17, 20)),
    ],
)
def test_items_of_a_stage(
    stage: int, size: int, start: int, total: int, items: tuple[int, int]
) -> None:
    assert items_of(stage, size, start, total) == items


def test_a_cycle_is_refused_with_its_path_and_line(plan_of: Callable[..., Plan]) -> None:
    with pytest.raises(PlanError) as caught:
        plan_of(
            """
            sheet:
              size: 1
              total_items: 4
              dependencies:
                1: [3]
                2: [1]
                3: [2]
            """
        )
    [problem] = caught.value.problems
    assert "1 → 3 → 2 → 1" in problem.message
    assert problem.line is not None
    assert problem.file.endswith("tested.yaml")


def test_self_and_phantom_are_faults_of_the_graph() -> None:
    needs, faults = stage_needs(3, {2: [2, 9], 5: [1]}, chain=True)
    assert needs == {}
    assert [(f.stage, f.place) for f in faults] == [(2, 0), (2, 1), (5, None)]


def test_a_long_chain_needs_no_deep_recursion() -> None:
    needs = {n: (n - 1,) for n in range(2, 30_001)}
    assert find_cycle(needs) == []
    assert len(find_cycle({**needs, 1: (30_000,)})) == 30_001
