"""The records of a run's sheets: kept once for many sheets that are alike, else one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from marianne_core.decide.blocks import Spans, count, joined
from marianne_core.decide.messages import PRISTINE, SheetRecord
from marianne_core.model.states import SheetStatus


class Kind(Enum):
    """What a record means for its run."""

    OPEN = "open"
    """It is not over, and has no living attempt."""
    ALIVE = "alive"
    DONE = "done"
    """Its dependents run: it is completed, or skipped because the score said so."""
    FAILED = "failed"
    """It failed or was cancelled: its dependents never run."""
    BLOCKED = "blocked"
    """Like FAILED, but because something else failed."""


OVER = (Kind.DONE, Kind.FAILED, Kind.BLOCKED)


def kind_of(record: SheetRecord) -> Kind:
    """The kind of a record."""
    if record.alive:
        return Kind.ALIVE
    if not record.status.terminal:
        return Kind.OPEN
    if record.blocked:
        return Kind.BLOCKED
    done = record.status in (SheetStatus.COMPLETED, SheetStatus.SKIPPED)
    return Kind.DONE if done else Kind.FAILED


def is_bare(record: SheetRecord) -> bool:
    """It says nothing about the sheet but where it stands and why: no attempt, nothing used."""
    return record == SheetRecord(record.status, blocked=record.blocked, reason=record.reason)


class Chosen(NamedTuple):
    """Some sheets of a run."""

    own: list[range]
    """Those with a record of their own, as blocks, lowest first."""
    shared: list[tuple[range, SheetRecord]]
    """Those that share a record, as blocks, lowest first."""

    def blocks(self) -> list[range]:
        """All of them, as blocks, lowest first."""
        return joined([*self.own, *(block for block, _ in self.shared)])

    def nums(self) -> Iterator[int]:
        """All their numbers, in order."""
        return (num for block in self.blocks() for num in block)


class Records:
    """A record for every sheet, and how many there are of each status.

    To take over an earlier conductor's run of many sheets, make it beforehand (in a thread) and give
    it to `RunAdded.restored`; it serves one run then. Getting and setting by number is as with a
    dict; an unknown number raises KeyError.
    """

    def __init__(
        self, sheets: Iterable[range], restored: Mapping[int, SheetRecord] | None = None
    ) -> None:
        """`sheets` are all numbers, as disjoint blocks in order; those not `restored` are untouched.

        What `restored` says of other numbers is left out.
        """
        sheets = list(sheets)
        self.total = count(sheets)
        """Number of sheets."""
        self.tally = dict.fromkeys(SheetStatus, 0)
        """Sheets of each status."""
        self.tally[SheetStatus.PENDING] = self.total
        self.blocked = 0
        """Sheets that are skipped because something failed."""
        self._own: dict[int, SheetRecord] = {}
        self._spans: Spans[SheetRecord | Kind] = Spans(sheets, PRISTINE)
        """The record that sheets share, or the kind of those that have one of their own."""
        self._restore(restored or {})

    def __getitem__(self, num: int) -> SheetRecord:
        record = self._own.get(num)
        if record is None:
            shared = self._spans[num]
            assert isinstance(shared, SheetRecord)
            return shared
        return record

    def put(self, num: int, record: SheetRecord) -> SheetRecord:
        """Give a sheet a record of its own; returns the one before."""
        own = self._own.get(num)
        old = self[num] if own is None else own
        self._own[num] = record
        self._count(old, -1)
        self._count(record, 1)
        kind = kind_of(record)
        if own is None or kind_of(own) is not kind:
            self._spans.set(range(num, num + 1), kind)
        return old

    def __setitem__(self, num: int, record: SheetRecord) -> None:
        self.put(num, record)

    def set_all(self, block: range, record: SheetRecord) -> None:
        """Let the sheets of a block, none of which has a record of its own, share one."""
        for part, old in self._spans.parts(block):
            assert isinstance(old, SheetRecord)
            self._count(old, -len(part))
        self._count(record, len(block))
        self._spans.set(block, record)

    def choose(self, kinds: Collection[Kind], within: Iterable[range] | None = None) -> Chosen:
        """The sheets of some kinds; of some disjoint blocks only, lowest first, if those are given."""
        if within is None:
            spans = list(self._spans.items())
        else:
            spans = [part for block in within for part in self._spans.parts(block)]
        own = [block for block, held in spans if isinstance(held, Kind) and held in kinds]
        shared = [
            (block, held)
            for block, held in spans
            if isinstance(held, SheetRecord) and kind_of(held) in kinds
        ]
        return Chosen(own, shared)

    def unsettled(self) -> list[tuple[int, SheetRecord]]:
        """The sheets with a record of their own that are not over, lowest first."""
        own = self.choose((Kind.OPEN, Kind.ALIVE)).own
        return [(num, self._own[num]) for block in own for num in block]

    def first_failed(self) -> tuple[int, SheetRecord] | None:
        """The lowest sheet that failed or was cancelled."""
        blocks = self.choose((Kind.FAILED,)).blocks()
        return (blocks[0].start, self[blocks[0].start]) if blocks else None

    # --- inside ---------------------------------------------------------------------------------

    def _count(self, record: SheetRecord, sheets: int) -> None:
        self.tally[record.status] += sheets
        if record.blocked:
            self.blocked += sheets

    def _restore(self, restored: Mapping[int, SheetRecord]) -> None:
        """Take over records; neighbours that stand alike, and do not run, share theirs."""
        start = stop = 0
        shared = PRISTINE
        for num in sorted(restored):
            record = restored[num]
            if num == stop and record == shared:
                stop += 1
                continue
            self._take_over(range(start, stop), shared)
            start, stop, shared = num, num + 1, record
        self._take_over(range(start, stop), shared)

    def _take_over(self, block: range, record: SheetRecord) -> None:
        alike = len(block) > 1 and (kind_of(record) in OVER or is_bare(record))
        for part, _ in self._spans.parts(block):
            if alike:
                self.set_all(part, record)
                continue
            for num in part:
                self[num] = record
