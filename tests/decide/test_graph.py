"""Compressed dependencies: correct for blocks that overlap, linear for blocks that are wide."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.decide.blocks import blocks_of
from marianne_core.decide.dispatch import Blocked
from marianne_core.decide.graph import RUNNING, WAITING, SheetGraph
from marianne_core.decide.messages import SheetTask


def tasks_of(deps: dict[int, tuple[range, ...]]) -> list[SheetTask]:
    return [SheetTask(num, blocks) for num, blocks in deps.items()]


def finish(graph: SheetGraph, num: int) -> set[int]:
    """Finish a sheet; the sheets that become free by it."""
    free = set()
    for gate in graph.finish(graph.nodes[num]):
        for waiter in gate.waiters:
            waiter.waiting -= 1
            if not waiter.waiting:
                free.add(waiter.task.num)
    return free


@st.composite
def scores(draw: st.DrawFn) -> dict[int, tuple[range, ...]]:
    """Sheets 1..n, each waiting for some blocks of lower numbers, then renumbered at random."""
    n = draw(st.integers(1, 12))
    score: dict[int, tuple[range, ...]] = {}
    for num in range(1, n + 1):
        blocks = []
        for _ in range(draw(st.integers(0, 3)) if num > 1 else 0):
            low = draw(st.integers(1, num - 1))
            blocks.append(range(low, draw(st.integers(low, num - 1)) + 1))
        score[num] = tuple(blocks)
    return score


@settings(deadline=None, max_examples=150)
@given(score=scores(), seed=st.randoms(use_true_random=False))
def test_a_sheet_is_free_exactly_when_all_its_dependencies_are_done(score, seed) -> None:
    graph = SheetGraph(tasks_of(score))
    done: set[int] = set()
    free = {n for n, node in graph.nodes.items() if not node.waiting}
    while free:
        expected = {
            n for n in score if n not in done and all(d in done for b in score[n] for d in b)
        }
        assert free == expected
        for num in set(score) - done - free:
            missing = graph.first_missing(graph.nodes[num])
            assert missing is not None
            assert missing not in done
            assert any(missing in block for block in score[num])
        num = seed.choice(sorted(free))
        free.remove(num)
        done.add(num)
        free |= finish(graph, num)
    assert done == set(score)


@settings(deadline=None, max_examples=150)
@given(score=scores(), data=st.data())
def test_a_failure_blocks_exactly_what_is_downstream(score, data) -> None:
    root = data.draw(st.sampled_from(sorted(score)))
    downstream: set[int] = set()
    for num in sorted(score):
        if any(d == root or d in downstream for b in score[num] for d in b):
            downstream.add(num)
    graph = SheetGraph(tasks_of(score))
    assert graph.downstream(root) == blocks_of(downstream | {root})
    blocked = graph.fail(graph.nodes[root], root)
    assert [each.sheets for each in blocked] == blocks_of(downstream)
    assert {each.by for each in blocked} <= {root}
    assert {num for num, node in graph.nodes.items() if graph.is_dead(node)} == downstream | {root}
    assert all(graph.broken_by(graph.nodes[n]) == root for n in downstream)


@settings(deadline=None, max_examples=100)
@given(score=scores())
def test_depth_is_the_longest_path_to_the_end(score) -> None:
    depth = dict.fromkeys(score, 1)
    for num in sorted(score, reverse=True):
        for dep in {d for block in score[num] for d in block}:
            depth[dep] = max(depth[dep], depth[num] + 1)
    mirrored = {  # the same score with all dependencies pointing to higher numbers
        -num: tuple(range(-b.stop + 1, -b.start + 1) for b in blocks)
        for num, blocks in score.items()
    }
    for graph, sign in ((SheetGraph(tasks_of(score)), 1), (SheetGraph(tasks_of(mirrored)), -1)):
        assert {n * sign: node.depth for n, node in graph.nodes.items()} == depth


def test_a_sheet_that_runs_is_not_blocked() -> None:
    graph = SheetGraph(tasks_of({1: (), 2: (range(1, 2),), 3: (range(1, 2),)}))
    graph.nodes[2].state = RUNNING
    graph.set_apart([2])
    assert graph.fail(graph.nodes[1], 1) == [Blocked(range(3, 4), 1)]
    assert not graph.is_dead(graph.nodes[2])


def test_fan_in_of_thousands_on_thousands_makes_one_gate() -> None:
    block = (range(1, 50_001),)
    tasks = [SheetTask(n) for n in range(1, 50_001)]
    tasks += [SheetTask(n, block) for n in range(50_001, 100_001)]
    graph = SheetGraph(tasks)
    assert len({id(node.gate) for node in graph.nodes.values() if node.gate}) == 1
    assert {node.waiting for node in graph.nodes.values()} == {0, 1}
    assert graph.nodes[1].depth == 2
    assert not any(finish(graph, n) for n in range(1, 50_000))
    assert graph.first_missing(graph.nodes[60_000]) == 50_000
    assert len(finish(graph, 50_000)) == 50_000


def test_a_block_that_is_given_twice_counts_once() -> None:
    """Else those who wait for it look like more, and like neighbours of each other."""
    twice = (range(1, 2), range(1, 2))
    waiting = (4, 6, 7)
    tasks = [SheetTask(n, twice if n in waiting else ()) for n in range(1, 8)]
    graph = SheetGraph(tasks)
    assert [graph.nodes[n].waiting for n in waiting] == [1, 1, 1]
    assert finish(graph, 1) == set(waiting)


def test_an_empty_block_holds_nobody_up() -> None:
    graph = SheetGraph([SheetTask(1, (range(5, 5),))])
    assert graph.nodes[1].waiting == 0
    assert graph.nodes[1].state == WAITING
    assert graph.first_missing(graph.nodes[1]) is None


@pytest.mark.parametrize(
    ("deps", "words"),
    [
        ({1: (range(2, 3),), 2: (range(3, 4),), 3: (range(1, 2),), 4: ()}, "1 → 2 → 3 → 1"),
        ({1: (), 2: (range(1, 3),)}, "2 → 2"),
        ({1: (range(2, 4),), 2: (), 3: (range(1, 2),)}, "1 → 3 → 1"),
        ({1: (), 2: (range(1, 2),), 3: (range(4, 6),)}, "sheet 3 depends on sheet 4"),
        ({1: (range(0, 1),)}, "sheet 1 depends on sheet 0, which does not exist"),
        ({1: (), 2: (), 3: (range(1, 3, 2),)}, "not a block of consecutive sheets"),
    ],
)
def test_impossible_scores_are_refused(deps: dict[int, tuple[range, ...]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SheetGraph(tasks_of(deps))


def test_a_number_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="sheet 7 is given twice"):
        SheetGraph([SheetTask(7), SheetTask(7)])
