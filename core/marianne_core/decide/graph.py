"""The dependencies of one run's sheets, compressed: 50,000 sheets that wait for 50,000 cost 100,000.

Sheets name what they wait for as blocks of consecutive numbers. The borders of all blocks cut the
numbers into *segments*; a block is one segment or several. A `Gate` stands for a block (or for a
segment that no block equals) and counts what is missing: a segment counts unfinished sheets, a block
of several segments counts unfinished segments. So a finished sheet touches one counter, and a gate
that opens is walked once. The cost is linear in the number of sheets, distinct blocks and the
segments they span. A failure is told to gates, not to sheets: behind a gate that many wait for they
are blocked together, in one step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise

from marianne_core.decide.blocks import blocks_of, joined
from marianne_core.decide.dispatch import Blocked
from marianne_core.decide.messages import SheetTask
from marianne_core.decide.reached import Reached

WAITING = 0
"""Some gate is closed, or nobody looked yet."""
READY = 1
"""In its lane's heap."""
DELAYED = 2
"""Ready but for the time of its next attempt."""
RUNNING = 3
DONE = 4
"""Finished in a way that releases its dependents."""
DEAD = 5
"""Failed, or counted as such from the start: its dependents never run."""


MANY = 64
"""From so many waiters on a gate's sheets are reached by blocks, not one by one."""


class Gate:
    """A block of consecutive sheets that must all be done, and who waits for it."""

    __slots__ = ("broken_by", "cursor", "parents", "remaining", "start", "stop", "tail", "waiters")

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.remaining = 0
        """Unfinished sheets (of a segment) or unfinished segments (of a block of several)."""
        self.waiters: list[Node] = []
        self.parents: list[Gate] | None = None
        """Blocks that this segment is a part of, besides the one it equals."""
        self.broken_by: int | None = None
        """Number of a sheet that failed, so that the gate can never open."""
        self.cursor = start
        """All sheets before it are done; it only moves forward."""
        self.tail = -1
        """Longest path that begins behind the gate, in sheets; -1 = not known yet."""


class Node:
    """One sheet in the graph."""

    __slots__ = ("depth", "gate", "state", "task", "waiting")

    def __init__(self, task: SheetTask) -> None:
        self.task = task
        self.gate: Gate | None = None
        """The segment that contains the sheet; None = nobody waits for it."""
        self.waiting = 0
        """Closed gates in front of it."""
        self.depth = 1
        """Sheets on the longest path from here to the end, this one included."""
        self.state = WAITING


class SheetGraph:
    """All sheets of one run with their gates; good for one registration with the scheduler.

    Building it touches nothing else, so a large one may be built in a thread. Raises ValueError for
    a sheet number given twice, a dependency on a sheet that does not exist, a block that is not
    consecutive, and a cycle (the message shows its path).
    """

    def __init__(self, tasks: Iterable[SheetTask]) -> None:
        self.tasks: dict[int, SheetTask] = {}
        """By number, in the order given."""
        for task in tasks:
            if task.num in self.tasks:
                raise ValueError(f"sheet {task.num} is given twice")
            self.tasks[task.num] = task
        self.nodes = {num: Node(task) for num, task in self.tasks.items()}
        """By number, in the order given."""
        self.sheets = blocks_of(self.tasks)
        """All numbers, as blocks."""
        self._ascending = all(a < b for a, b in pairwise(self.tasks))
        blocks, forward = self._collect_blocks()
        self.free = [node for node in self.nodes.values() if not node.waiting]
        """Those that wait for no other."""
        self._segments: list[Gate] = self._cut(blocks)
        self._starts = [segment.start for segment in self._segments]
        order = self._numeric_order() if forward else self._topological_order()
        self._measure(order)
        self._apart = Reached(self.sheets)
        """Sheets to which a failure before them makes no difference: they are blocked by another one
        already, or they were over, or alive, before what they depend on was done."""

    # --- building -------------------------------------------------------------------------------

    def _collect_blocks(self) -> tuple[dict[range, list[Node]], bool]:
        """Who waits for each distinct block; and whether all dependencies point to lower numbers."""
        blocks: dict[range, list[Node]] = {}
        forward = True
        last_deps: tuple[range, ...] = ()
        last_lists: list[list[Node]] = []
        for num, node in self.nodes.items():
            deps = node.task.deps
            if not deps:
                continue
            if deps is not last_deps:  # the sheets of a stage share one tuple
                last_deps, last_lists = deps, []
                for block in dict.fromkeys(deps):  # given twice, it is waited for once
                    if block.step != 1:
                        raise ValueError(
                            f"sheet {num}: {block} is not a block of consecutive sheets"
                        )
                    if block:
                        last_lists.append(blocks.setdefault(block, []))
            for waiters in last_lists:
                waiters.append(node)
            node.waiting = len(last_lists)
            if forward and any(block.stop > num for block in deps):
                forward = False
        return blocks, forward

    def _cut(self, blocks: dict[range, list[Node]]) -> list[Gate]:
        """Cut the numbers at the borders of all blocks; make the gates. Sorted by start."""
        cuts = sorted({b.start for b in blocks} | {b.stop for b in blocks})
        place = {cut: i for i, cut in enumerate(cuts)}
        segments: list[Gate | None] = [None] * len(cuts)
        for block, waiters in blocks.items():
            first, last = place[block.start], place[block.stop]
            gate = Gate(block.start, block.stop) if last - first > 1 else None
            for i in range(first, last):
                segment = segments[i]
                if segment is None:
                    segment = segments[i] = Gate(cuts[i], cuts[i + 1])
                    self._fill(segment, waiters[0])
                if gate is None:
                    segment.waiters = waiters
                else:
                    segment.parents = segment.parents or []
                    segment.parents.append(gate)
            if gate is not None:
                gate.waiters = waiters
                gate.remaining = last - first
        return [s for s in segments if s is not None]

    def _fill(self, segment: Gate, waiter: Node) -> None:
        """Tell the sheets of a segment that it contains them."""
        nodes = self.nodes
        for num in range(segment.start, segment.stop):
            node = nodes.get(num)
            if node is None:
                raise ValueError(
                    f"sheet {waiter.task.num} depends on sheet {num}, which does not exist"
                )
            node.gate = segment
        segment.remaining = segment.stop - segment.start

    def _numeric_order(self) -> Sequence[Node]:
        if self._ascending:
            return list(self.nodes.values())
        return [self.nodes[num] for num in sorted(self.nodes)]

    def _topological_order(self) -> Sequence[Node]:
        """Each sheet after all it depends on. Raises ValueError on a cycle."""
        waiting = {num: node.waiting for num, node in self.nodes.items() if node.waiting}
        missing: dict[int, int] = {}
        order = [node for node in self.nodes.values() if not node.waiting]
        for node in order:  # grows while it is walked
            for gate in _gates_of(node):
                left = missing.get(id(gate), gate.remaining) - 1
                missing[id(gate)] = left
                if left and gate is node.gate:
                    break  # the segment is not finished, so its blocks do not hear of it
                if left:
                    continue
                for waiter in gate.waiters:
                    num = waiter.task.num
                    waiting[num] -= 1
                    if not waiting[num]:
                        order.append(waiter)
        if len(order) < len(self.nodes):
            raise ValueError(f"the sheets wait for each other: {self._cycle(waiting)}")
        return order

    def _cycle(self, waiting: dict[int, int]) -> str:
        """A path through sheets that never become free, until one comes again."""
        stuck = {num for num, count in waiting.items() if count}
        path: list[int] = []
        seen: dict[int, int] = {}
        num = min(stuck)
        while num not in seen:
            seen[num] = len(path)
            path.append(num)
            num = next(n for block in self.nodes[num].task.deps for n in block if n in stuck)
        return " → ".join(str(n) for n in [*path[seen[num] :], num])

    def _measure(self, order: Sequence[Node]) -> None:
        """Set the depth of every sheet, from the last to the first."""
        for node in reversed(order):
            gate = node.gate
            if gate is None:
                continue
            if gate.tail < 0:
                tail = max((w.depth for w in gate.waiters), default=0)
                for parent in gate.parents or ():
                    if parent.tail < 0:
                        parent.tail = max(w.depth for w in parent.waiters)
                    tail = max(tail, parent.tail)
                gate.tail = tail
            node.depth = 1 + gate.tail

    # --- while it runs --------------------------------------------------------------------------

    def finish(self, node: Node) -> list[Gate]:
        """Mark a sheet done; the gates that open by it. Their waiters are the caller's to count down."""
        node.state = DONE
        return [] if node.gate is None else _advance(node.gate, 1)

    def require(self, block: range) -> None:
        """Raise KeyError unless all sheets of a block are in the graph."""
        if not any(s.start <= block.start and block.stop <= s.stop for s in self.sheets):
            raise KeyError(next((num for num in block if num not in self.nodes), block.start))

    def finish_all(self, block: range) -> list[Gate]:
        """Mark all sheets of a block done, as `finish` does."""
        nodes = self.nodes
        for num in block:
            nodes[num].state = DONE
        opened: list[Gate] = []
        for segment in self._segments_of(block):
            done = min(segment.stop, block.stop) - max(segment.start, block.start)
            opened += _advance(segment, done)
        return opened

    def fail(self, node: Node, root: int) -> list[Blocked]:
        """Mark a sheet failed because of sheet `root` (itself, or one before it).

        The sheets that can never run because of it come back.
        """
        node.state = DEAD
        self._apart.add(node.task.num)
        return self._break(list(_gates_of(node)), root)

    def fail_all(self, block: range) -> list[Blocked]:
        """Mark all sheets of a block failed, as `fail` does, but for those that are blocked already."""
        nodes = self.nodes
        blocked: list[Blocked] = []
        for part in self._apart.add_block(block):
            for num in part:
                nodes[num].state = DEAD
            for segment in self._segments_of(part):
                gates = [segment, *(segment.parents or ())]
                blocked += self._break(gates, max(part.start, segment.start))
        return blocked

    def set_apart(self, nums: Iterable[int]) -> None:
        """These are over or alive, although not all that they depend on is done."""
        for num in nums:
            self._apart.add(num)

    def put_back(self, node: Node) -> None:
        """The sheet, which was alive, waits again; what fails before it concerns it from now on."""
        node.state = WAITING
        self._apart.discard(node.task.num)

    def free_behind(self, opened: Iterable[Gate]) -> Iterator[Node]:
        """The sheets that wait for nothing, those behind these gates included; looked for when
        asked, so that a long score starts at once."""
        waiters = chain.from_iterable(gate.waiters for gate in opened)
        return (
            node
            for node in chain(self.free, waiters)
            if node.waiting == 0 and node.state == WAITING and not self.is_dead(node)
        )

    def is_dead(self, node: Node) -> bool:
        """The sheet failed or is blocked: it never runs."""
        return node.state == DEAD or (node.state == WAITING and node.task.num in self._apart)

    def downstream(self, num: int) -> list[range]:
        """The sheet and all that depend on it, directly or not: as blocks, lowest first."""
        reached = Reached(self.sheets)
        reached.add(num)
        seen: set[int] = set()

        def enter(gate: Gate) -> bool:
            new = id(gate) not in seen
            seen.add(id(gate))
            return new

        found = self._spread(list(_gates_of(self.nodes[num])), reached, enter)
        return joined([range(num, num + 1), *found])

    def _break(self, gates: list[Gate], root: int) -> list[Blocked]:
        """These gates can never open; what is blocked by that."""

        def enter(gate: Gate) -> bool:
            if gate.broken_by is not None:
                return False
            gate.broken_by = root
            return True

        return [Blocked(block, root) for block in self._spread(gates, self._apart, enter)]

    def _spread(
        self, gates: list[Gate], reached: Reached, enter: Callable[[Gate], bool]
    ) -> list[range]:
        """Reach all behind some gates, and behind those that this leads to; the new ones."""
        ones: list[int] = []
        blocks: list[range] = []
        for gate in gates:  # grows while it is walked
            if not enter(gate):
                continue
            if len(gate.waiters) < MANY:
                for node in gate.waiters:
                    num = node.task.num
                    if reached.add(num):
                        ones.append(num)
                        gates += _gates_of(node)
                continue
            for block in self._behind(gate):
                for part in reached.add_block(block):
                    blocks.append(part)
                    for segment in self._segments_of(part):
                        gates += [segment, *(segment.parents or ())]
        return joined(blocks + blocks_of(ones))

    def _behind(self, gate: Gate) -> list[range]:
        """Who waits for a gate, as blocks."""
        waiters = gate.waiters
        first, last = waiters[0].task.num, waiters[-1].task.num
        if self._ascending and last - first + 1 == len(waiters):
            return [range(first, last + 1)]  # no need to look at each
        return blocks_of(node.task.num for node in waiters)

    def first_missing(self, node: Node) -> int | None:
        """The lowest sheet of the first closed block in front of a sheet, or None."""
        for block in node.task.deps:
            for segment in self._segments_of(block):
                if segment.remaining:
                    while self.nodes[segment.cursor].state == DONE:
                        segment.cursor += 1
                    return segment.cursor
        return None

    def broken_by(self, node: Node) -> int | None:
        """Number of a failed sheet that keeps this one from ever running, or None."""
        for block in node.task.deps:
            for segment in self._segments_of(block):
                if segment.broken_by is not None:
                    return segment.broken_by
        return None

    def _segments_of(self, block: range) -> Iterator[Gate]:
        """The segments that a block is made of, or lies in."""
        segments = self._segments
        i = max(0, bisect_right(self._starts, block.start) - 1) if block else len(segments)
        while i < len(segments) and segments[i].start < block.stop:
            if segments[i].stop > block.start:
                yield segments[i]
            i += 1


def _gates_of(node: Node) -> Iterator[Gate]:
    """The gates that a sheet is in: its segment first, then the blocks around it."""
    if node.gate is not None:
        yield node.gate
        yield from node.gate.parents or ()


def _advance(segment: Gate, done: int) -> list[Gate]:
    """So many more sheets of a segment are done; the gates that open by it."""
    segment.remaining -= done
    if segment.remaining:
        return []
    opened = [segment]
    for parent in segment.parents or ():
        parent.remaining -= 1
        if not parent.remaining:
            opened.append(parent)
    return opened
