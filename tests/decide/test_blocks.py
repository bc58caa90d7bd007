"""Blocks, spans and records against plain sets and dicts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.decide.blocks import Spans, blocks_of, count, joined, without
from marianne_core.decide.messages import PRISTINE, SheetRecord
from marianne_core.decide.reached import Reached
from marianne_core.decide.records import Kind, Records, is_bare, kind_of
from marianne_core.model.states import SheetStatus

NUMS = st.sets(st.integers(1, 40))
CANCELLED = SheetRecord(SheetStatus.CANCELLED, reason="no longer wanted")
BLOCKED = SheetRecord(SheetStatus.SKIPPED, blocked=True, reason="blocked by sheet 1")
SKIPPED = SheetRecord(SheetStatus.SKIPPED)
DONE = SheetRecord(SheetStatus.COMPLETED, attempt=1)
ALIVE = SheetRecord(SheetStatus.IN_PROGRESS, attempt=1, alive=True)
LATER = SheetRecord(SheetStatus.RETRY_SCHEDULED, attempt=1, retries_used=1, not_before=5.0)
RECORDS = (PRISTINE, CANCELLED, BLOCKED, SKIPPED, DONE, ALIVE, LATER, replace(CANCELLED))


def nums_of(blocks) -> list[int]:
    return [num for block in blocks for num in block]


def test_blocks_of_numbers() -> None:
    assert blocks_of({5, 1, 2, 3, 9}) == [range(1, 4), range(5, 6), range(9, 10)]
    assert blocks_of([3, 2, 2, 1]) == [range(1, 4)]
    assert blocks_of(()) == []


@settings(deadline=None, max_examples=100)
@given(nums=NUMS, gone=NUMS)
def test_blocks_are_the_same_numbers(nums, gone) -> None:
    blocks = blocks_of(nums)
    assert nums_of(blocks) == sorted(nums)
    assert all(a.stop < b.start for a, b in pairwise(blocks))
    assert count(blocks) == len(nums)
    assert joined(range(n, n + 1) for n in sorted(nums, reverse=True)) == blocks
    left = [part for block in blocks for part in without(block, sorted(gone))]
    assert nums_of(left) == sorted(nums - gone)


@settings(deadline=None, max_examples=200)
@given(nums=NUMS.filter(len), data=st.data())
def test_spans_are_a_dict_by_blocks(nums, data) -> None:
    spans: Spans[str] = Spans(blocks_of(nums), "a")
    plain = dict.fromkeys(sorted(nums), "a")
    for _ in range(data.draw(st.integers(1, 12))):
        whole = data.draw(st.sampled_from(blocks_of(nums)))
        first = data.draw(st.integers(whole.start, whole.stop - 1))
        block = range(first, data.draw(st.integers(first + 1, whole.stop)))
        value = data.draw(st.sampled_from("abc"))
        assert {n: v for part, v in spans.parts(block) for n in part} == {
            n: plain[n] for n in block
        }
        spans.set(block, value)
        plain |= dict.fromkeys(block, value)
        items = list(spans.items())
        assert {n: v for part, v in items for n in part} == plain
        assert [spans[n] for n in plain] == list(plain.values())
        for (a, v), (b, w) in pairwise(items):
            assert a.stop < b.start or v is not w, "neighbours of one value are one span"
    low, high = min(nums) - 3, max(nums) + 3
    assert nums_of(part for part, _ in spans.parts(range(low, high))) == sorted(nums)
    for num in set(range(low, high)) - nums:
        with pytest.raises(KeyError):
            spans[num]


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_reached_set_tells_what_is_new(data) -> None:
    reached, plain = Reached([range(1, 41)]), set[int]()
    for _ in range(data.draw(st.integers(1, 15))):
        first = data.draw(st.integers(1, 40))
        match data.draw(st.sampled_from(("one", "block", "discard"))):
            case "one":
                assert reached.add(first) is (first not in plain)
                plain.add(first)
            case "block":
                block = range(first, data.draw(st.integers(first, 40)) + 1)
                new = reached.add_block(block)
                assert nums_of(new) == sorted(set(block) - plain)
                plain |= set(block)
            case _:
                reached.discard(first)
                plain.discard(first)
        assert [num in reached for num in range(1, 41)] == [n in plain for n in range(1, 41)]


def check(records: Records, plain: dict[int, SheetRecord]) -> None:
    assert {num: records[num] for num in plain} == plain
    assert records.total == len(plain)
    assert records.blocked == sum(record.blocked for record in plain.values())
    for status in SheetStatus:
        assert records.tally[status] == sum(r.status is status for r in plain.values())
    for kind in Kind:
        chosen = records.choose((kind,))
        alike = sorted(num for num, record in plain.items() if kind_of(record) is kind)
        assert list(chosen.nums()) == alike
        assert nums_of(records.choose((kind,), within=[range(5, 12), range(20, 99)]).blocks()) == [
            num for num in alike if 5 <= num < 12 or num >= 20
        ]
    failed = [num for num, r in sorted(plain.items()) if kind_of(r) is Kind.FAILED]
    assert records.first_failed() == ((failed[0], plain[failed[0]]) if failed else None)


@settings(deadline=None, max_examples=150)
@given(
    nums=NUMS.filter(len),
    restored=st.dictionaries(st.integers(-2, 45), st.sampled_from(RECORDS)),
    data=st.data(),
)
def test_records_are_a_dict_that_counts(nums, restored, data) -> None:
    records = Records(blocks_of(nums), restored)
    plain = {num: restored.get(num, PRISTINE) for num in sorted(nums)}
    check(records, plain)
    for _ in range(data.draw(st.integers(0, 12))):
        record = data.draw(st.sampled_from(RECORDS))
        shared = [block for block, _ in records.choose(tuple(Kind)).shared]
        if shared and is_bare(record) and data.draw(st.booleans()):
            block = data.draw(st.sampled_from(shared))
            records.set_all(block, record)
            plain |= dict.fromkeys(block, record)
        else:
            num = data.draw(st.sampled_from(sorted(nums)))
            records[num] = plain[num] = record
        check(records, plain)
    open_ = [(n, r) for n, r in sorted(plain.items()) if kind_of(r) in (Kind.OPEN, Kind.ALIVE)]
    own = set(nums_of(records.choose(tuple(Kind)).own))
    assert records.unsettled() == [item for item in open_ if item[0] in own]
    assert all(is_bare(r) for n, r in open_ if n not in own), "what was used is its own"
    for num in {-2, 0, 45, 99} - nums:
        with pytest.raises(KeyError):
            records[num]
        with pytest.raises(KeyError):
            records[num] = DONE


def test_many_that_are_alike_cost_one() -> None:
    cancelled = {num: replace(CANCELLED) for num in range(1, 100_001)}
    records = Records([range(1, 100_001)], {**cancelled, 7: DONE})
    chosen = records.choose((Kind.FAILED,))
    assert [block for block, _ in chosen.shared] == [range(1, 7), range(8, 100_001)]
    assert list(records.choose((Kind.DONE,)).nums()) == [7]
