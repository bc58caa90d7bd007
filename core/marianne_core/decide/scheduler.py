"""Which sheet runs next, over all jobs: pure, exact about limits, O(log n) per decision.

Registered jobs bring their sheets as a `SheetGraph`. A sheet whose dependencies are done enters the
lane of its job and instrument, where the longest remaining path goes first. Among the lanes that may
start, the job with the least virtual time wins: shares are kept over the jobs that could run
something, and no slot stays empty while one could. A job that could not run earns one turn at the
most, since its time is lifted to the clock (the time of the last start) when it is served.

Instruments are few, so each decision looks once at each of them; everything that grows with jobs or
sheets is a heap, and entries that became untrue are dropped when they reach the top. The dependents
of one sheet are released in portions, so that a fan-out of 50,000 does not stop the loop.

A slot is taken at the start and given back by `report` alone: whoever reports knows that the
processes are gone. A job registered again has a new generation; its earlier sheets keep their slots
until they are reported, and the same sheet does not start while its earlier self still runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heapreplace
from itertools import chain, count

from marianne_core.decide.dispatch import Blocked, Dispatch, SheetEnd
from marianne_core.decide.graph import (
    DELAYED,
    DONE,
    READY,
    RUNNING,
    WAITING,
    Node,
    SheetGraph,
)
from marianne_core.decide.instruments import Instruments
from marianne_core.decide.lanes import Job, Lane, LaneEntry, Park, Pool
from marianne_core.decide.lookahead import likely
from marianne_core.decide.messages import Limits, RunPolicy, SheetTask
from marianne_core.decide.releasing import Releases
from marianne_core.decide.slots import wait_for_slot
from marianne_core.model.waits import Wait, WaitReason


@dataclass(frozen=True, slots=True)
class _Ticket:
    """A taken slot."""

    job: Job
    pool: Pool


class Scheduler:
    """All jobs, all slots, one decision at a time. Times never go back between calls."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._instruments = Instruments(limits or Limits())
        self._releases = Releases(self._instruments)
        self._jobs: dict[Hashable, Job] = {}
        self._tickets: dict[tuple[Hashable, int], _Ticket] = {}
        self._generation = count(1)
        self._clock = 0.0
        """Virtual time of the last start."""
        self._wait: Wait | None = None

    # --- state ----------------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        return self._instruments.limits

    @property
    def active(self) -> int:
        """Taken slots, those of earlier registrations included."""
        return len(self._tickets)

    @property
    def queued(self) -> int:
        """Sheets whose dependencies are done and that do not run yet.

        Of a fan-out of thousands, those that were not looked at yet are missing for a moment.
        """
        return self._releases.queued

    @property
    def jobs(self) -> Iterable[Hashable]:
        """Registered jobs, in order of registration."""
        return self._jobs.keys()

    def running_of(self, job: Hashable) -> int:
        """Sheets of the job that run, those of its earlier registrations included."""
        return self._jobs[job].running if job in self._jobs else 0

    def queued_of(self, job: Hashable) -> int:
        """Sheets of the job whose dependencies are done and that do not run yet."""
        return self._jobs[job].queued if job in self._jobs else 0

    def waits(self, job: Hashable, num: int) -> bool:
        """The sheet is registered, and neither runs nor is over."""
        entry = self._jobs.get(job)
        node = entry.graph.nodes.get(num) if entry is not None else None
        if entry is None or node is None or entry.stopped or entry.graph.is_dead(node):
            return False
        return node.state in (WAITING, READY, DELAYED)

    def task_of(self, job: Hashable, num: int) -> SheetTask:
        """The sheet as it was registered. Raises KeyError for an unknown one."""
        return self._jobs[job].graph.nodes[num].task

    # --- jobs -----------------------------------------------------------------------------------

    def register(
        self,
        job: Hashable,
        sheets: SheetGraph | Iterable[SheetTask],
        *,
        now: float,
        policy: RunPolicy | None = None,
        completed: Sequence[range] = (),
        failed: Sequence[range] = (),
        running: Iterable[int] = (),
        not_before: Mapping[int, float] | None = None,
        wait: Wait | None = None,
        last_start: float | None = None,
        last_end: float | None = None,
    ) -> list[Blocked]:
        """Add a job, or put a new registration in the place of an earlier one.

        `completed` sheets count as done; `failed` ones block their dependents, which are returned
        (one that is blocked itself by then counts as that); both are disjoint blocks;
        `running` ones are alive and take their slots at once (above the limits, if need be);
        `not_before` has times for sheets that wait for a retry; `wait` registers the job paused;
        `last_start` and `last_end` are when a sheet of it started and ended last, before it was
        known here: stagger and the pause between sheets count from there. What an earlier
        registration waits for, the new one does.
        A graph must not be used twice. Raises ValueError as `SheetGraph` does, and KeyError for a
        number that is not in the graph; nothing is changed then.
        """
        graph = sheets if isinstance(sheets, SheetGraph) else SheetGraph(sheets)
        for block in chain(completed, failed):
            graph.require(block)
        running_nodes = [graph.nodes[num] for num in running]
        earlier = self._jobs.get(job)
        self.deregister(job)
        entry = Job(job, next(self._generation), graph, policy or RunPolicy(), now)
        entry.vt = self._clock
        entry.wait = wait
        entry.delayed.update(not_before or {})
        self._jobs[job] = entry
        for node in running_nodes:
            self._adopt(entry, node)
        for (key, num), ticket in self._tickets.items():
            if key == job and ticket.job is not entry:
                entry.running += 1  # the job's own limit holds over all its registrations
                if num in graph.nodes and graph.nodes[num].state == WAITING:
                    graph.nodes[num].waiting += 1  # its earlier self is one more gate
        self._releases.carry_over(entry, earlier, last_start, last_end, now)
        opened = [gate for block in completed for gate in graph.finish_all(block)]
        for gate in opened:
            for waiter in gate.waiters:
                waiter.waiting -= 1
        graph.set_apart(node.task.num for node in running_nodes if node.waiting > 0)
        graph.set_apart(n for block in completed for n in block if graph.nodes[n].waiting > 0)
        blocked = [each for block in failed for each in graph.fail_all(block)]
        self._releases.open(entry, graph.free_behind(opened), now)
        return blocked

    def deregister(self, job: Hashable) -> None:
        """Forget a job. Slots of sheets that still run stay taken until they are reported."""
        entry = self._jobs.pop(job, None)
        if entry is not None:
            self._stop(entry)

    def withdraw(self, job: Hashable) -> None:
        """Start nothing more of a job, for good. Running sheets go on; what ends blocks nothing."""
        entry = self._jobs.get(job)
        if entry is not None:
            self._stop(entry)

    def hold_job(self, job: Hashable, wait: Wait | None, now: float) -> None:
        """Pause a job with a reason, or let it go on with None. Unknown jobs are ignored."""
        entry = self._jobs.get(job)
        if entry is not None:
            entry.wait = wait
            self._releases.relist(entry, now)

    # --- limits ---------------------------------------------------------------------------------

    def hold(self, wait: Wait | None) -> None:
        """Start nothing at all, with a reason, or go on with None."""
        self._wait = wait

    def set_limits(self, limits: Limits) -> None:
        """Use other limits from now on; what runs above them goes on."""
        self._instruments.set_limits(limits)

    def park(
        self,
        instrument: str,
        until: float | None,
        *,
        model: str | None = None,
        reason: WaitReason = WaitReason.RATE_LIMIT,
    ) -> None:
        """Start nothing on an instrument (or one model of it) until a time, or until `unpark`."""
        self._releases.park((instrument, model), Park(reason, until))

    def is_parked(self, instrument: str, model: str | None, until: float) -> bool:
        """Whether an instrument and model are parked already, until this time or longer."""
        park = self._instruments.park_of((instrument, model))
        return park is not None and (park.until is None or park.until >= until)

    def only_limits_hold(self, job: Hashable) -> bool:
        """Nothing of the job runs, and rate limits alone keep what is ready from it."""
        entry = self._jobs.get(job)
        if entry is None or entry.running or entry.delayed or self._wait is not None:
            return False
        parks = [lane.pool.park for lane in entry.lanes.values() if lane.head() is not None]
        return bool(parks) and all(park and park.reason is WaitReason.RATE_LIMIT for park in parks)

    @property
    def parks(self) -> bool:
        """Some instrument is parked."""
        return self._instruments.parks

    def unpark(self, instrument: str | None = None, model: str | None = None) -> None:
        """Lift what `park` set for the same instrument and model; None lifts everything."""
        self._instruments.unpark(None if instrument is None else (instrument, model))

    # --- decisions ------------------------------------------------------------------------------

    def next(self, now: float) -> Dispatch | None:
        """Take a slot for the next sheet, or None when nothing may start at this time."""
        lane = self._choose(now)
        if lane is None:
            return None
        job, pool = lane.job, lane.pool
        num = heappop(lane.heap)[2]
        job.queued -= 1
        self._releases.queued -= 1
        start = max(job.vt, self._clock)
        self._clock = start
        job.vt = start + 1.0 / job.weight
        if lane.heap:
            heapreplace(pool.heap, (job.vt, job.age, pool.heap[0][2], lane))
        else:
            heappop(pool.heap)
            lane.listed = False
        self._seat(job, job.graph.nodes[num], pool)
        if job.policy.stagger > 0:
            self._releases.delay_job(job, now + job.policy.stagger, pacing=False)
        return Dispatch(job.key, num, job.generation)

    def candidate(self, now: float) -> Dispatch | None:
        """What `next` would answer at this time, without taking it."""
        lane = self._choose(now)
        if lane is None:
            return None
        return Dispatch(lane.job.key, lane.heap[0][2], lane.job.generation)

    def next_wake(self) -> float | None:
        """When `next` may answer differently although nothing is reported; None = never."""
        return self._releases.next_wake()

    def report(
        self,
        job: Hashable,
        num: int,
        end: SheetEnd,
        now: float,
        *,
        not_before: float | None = None,
        generation: int | None = None,
    ) -> list[Blocked]:
        """Give back a sheet's slot and say how it stands; the sheets that are blocked by it.

        A sheet that does not run is ignored, and so is a `generation` that is not the slot's. The
        report of a sheet of an earlier registration gives back the slot and does nothing else.
        """
        ticket = self._tickets.get((job, num))
        if ticket is None or generation not in (None, ticket.job.generation):
            return []
        self._leave(num, ticket)
        entry = ticket.job
        if self._jobs.get(job) is not entry:
            self._leave_to_successor(job, num, now)
        if entry.stopped:
            return []
        pause = entry.policy.pause_between
        if pause > 0 and not entry.running and end is not SheetEnd.SKIPPED:
            self._releases.delay_job(entry, now + pause, pacing=True)
        node = entry.graph.nodes[num]
        blocked: list[Blocked] = []
        if end is SheetEnd.FAILED:
            blocked = entry.graph.fail(node, num)
        elif end is SheetEnd.RETRY:
            blocked = self._again(entry, node, now, not_before)
        else:
            gates = entry.graph.finish(node)
            if gates:
                waiters = chain.from_iterable(gate.waiters for gate in gates)
                self._releases.open(entry, waiters, now)
        self._releases.relist(entry, now)
        return blocked

    def peek(self, n: int) -> list[Dispatch]:
        """The next `n` sheets that are likely to start, in order, without taking them.

        Limits and times are not looked at: these are the sheets to prepare for.
        """
        if self._wait is not None:
            return []
        busy = {id(ticket.job): ticket.job for ticket in self._tickets.values()}
        found = likely(self._instruments.pools(), busy.values(), n)
        return [Dispatch(job.key, num, job.generation) for job, num in found]

    def next_after(self, job: Hashable, num: int, n: int) -> list[int]:
        """Up to `n` sheets for which this running sheet is the last thing they wait for."""
        entry = self._jobs.get(job)
        node = entry.graph.nodes.get(num) if entry is not None else None
        gate = node.gate if node is not None else None
        if entry is None or entry.stopped or gate is None or gate.remaining != 1:
            return []
        return [
            each.task.num
            for each in gate.waiters[:n]
            if each.waiting == 1 and each.state == WAITING  # one put back by a retry may still run
        ]

    def wait_of(self, job: Hashable, num: int, now: float) -> Wait | None:
        """Why a sheet does not run now; None when it runs, is over, or is unknown."""
        entry = self._jobs.get(job)
        node = entry.graph.nodes.get(num) if entry is not None else None
        if entry is None or node is None or node.state in (RUNNING, DONE):
            return None
        if entry.stopped or entry.graph.is_dead(node):
            return None
        missing = entry.graph.first_missing(node)
        if missing is not None:
            return Wait(WaitReason.DEPENDENCY, None, f"sheet {missing}")
        if entry.wait is not None:
            return entry.wait
        if self._wait is not None:
            return self._wait
        if (job, num) in self._tickets:
            return Wait(WaitReason.DEPENDENCY, None, f"the earlier attempt of sheet {num}")
        until = entry.delayed.get(num)
        if until is not None and until > now:
            return Wait(WaitReason.RETRY, until, "a failed attempt")
        pool = self._instruments.pool_of(node.task)
        return wait_for_slot(entry, pool, now, self.active, self.limits.max_concurrent_sheets)

    # --- inside ---------------------------------------------------------------------------------

    def _choose(self, now: float) -> Lane | None:
        """The lane whose turn it is; it is the first of its pool's heap, its sheet that of its own."""
        releases = self._releases
        releases.advance(now)
        if releases.pending:
            releases.open_some(now)
        if self._wait is not None or self.active >= self.limits.max_concurrent_sheets:
            return None
        while True:
            best: LaneEntry | None = None
            for pool in self._instruments.pools():
                if pool.heap and pool.park is None and pool.meter.free:
                    entry = pool.top(now)
                    if entry is not None and (best is None or entry < best):
                        best = entry
            if best is not None:
                return best[3]
            if not releases.open_useful(now):
                return None

    def _again(self, job: Job, node: Node, now: float, not_before: float | None) -> list[Blocked]:
        job.graph.put_back(node)
        if not_before is not None and not_before > now:
            job.delayed[node.task.num] = not_before
        if node.waiting <= 0:
            self._releases.make_ready(job, node, now)
            return []
        # A sheet that it depends on was opened again while it ran; it may have failed by now.
        root = job.graph.broken_by(node)
        if root is None:
            return []
        num = node.task.num
        return [Blocked(range(num, num + 1), root), *job.graph.fail(node, root)]

    def _stop(self, job: Job) -> None:
        job.stopped = True
        self._releases.drop(job)

    def _seat(self, job: Job, node: Node, pool: Pool) -> None:
        node.state = RUNNING
        self._tickets[job.key, node.task.num] = _Ticket(job, pool)
        job.running += 1
        pool.running += 1
        pool.meter.running += 1

    def _leave(self, num: int, ticket: _Ticket) -> None:
        del self._tickets[ticket.job.key, num]
        ticket.job.running -= 1
        ticket.pool.running -= 1
        ticket.pool.meter.running -= 1

    def _adopt(self, job: Job, node: Node) -> None:
        """Seat a living sheet, in the place of its earlier registration if it has one."""
        ticket = self._tickets.get((job.key, node.task.num))
        if ticket is not None:
            self._leave(node.task.num, ticket)
        self._seat(job, node, self._instruments.pool_of(node.task))

    def _leave_to_successor(self, job: Hashable, num: int, now: float) -> None:
        """A sheet of an earlier registration has ended: the present one counted it, and waited."""
        entry = self._jobs.get(job)
        if entry is None:
            return
        entry.running -= 1
        node = entry.graph.nodes.get(num)
        if node is not None:
            self._releases.open(entry, iter((node,)), now)
        self._releases.relist(entry, now)
