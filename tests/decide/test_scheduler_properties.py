"""Random jobs, limits and ends against a slow and obvious model of what may run."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.decide.dispatch import SheetEnd
from marianne_core.decide.messages import Limits, RunPolicy, SheetTask
from marianne_core.decide.scheduler import Scheduler

INSTRUMENTS = ("cli", "x", "y")


@st.composite
def jobs(draw: st.DrawFn) -> list[SheetTask]:
    tasks = []
    for num in range(1, draw(st.integers(1, 8)) + 1):
        deps = []
        for _ in range(draw(st.integers(0, 2)) if num > 1 else 0):
            low = draw(st.integers(1, num - 1))
            deps.append(range(low, draw(st.integers(low + 1, num))))
        instrument = draw(st.sampled_from(INSTRUMENTS))
        tasks.append(SheetTask(num, tuple(deps), instrument, raw=instrument == "cli"))
    return tasks


@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_limits_dependencies_and_full_use_of_slots(data: st.DataObject) -> None:
    limits = Limits(
        max_concurrent_sheets=data.draw(st.integers(1, 5)),
        instruments={("y", None): data.draw(st.integers(1, 2))},
        default_instrument=data.draw(st.integers(1, 3)),
    )
    scheduler = Scheduler(limits)
    score = dict(enumerate(data.draw(st.lists(jobs(), min_size=1, max_size=4))))
    width = {job: data.draw(st.integers(1, 3)) for job in score}
    for job, tasks in score.items():
        scheduler.register(job, tasks, now=0, policy=RunPolicy(max_concurrent=width[job]))
    released: dict[int, set[int]] = {job: set() for job in score}
    over: dict[int, set[int]] = {job: set() for job in score}
    running: set[tuple[int, int]] = set()
    tasks_of = {(job, t.num): t for job, tasks in score.items() for t in tasks}

    def most(instrument: str) -> float:
        if instrument == "cli":
            return float("inf")
        return limits.instruments.get((instrument, None)) or limits.default_instrument or 0

    def may_start(job: int, task: SheetTask) -> bool:
        alike = sum(tasks_of[r].instrument == task.instrument for r in running)
        return (
            (job, task.num) not in running
            and task.num not in over[job]
            and all(d in released[job] for block in task.deps for d in block)
            and len(running) < limits.max_concurrent_sheets
            and sum(j == job for j, _ in running) < width[job]
            and alike < most(task.instrument)
        )

    for _ in range(500):
        while (found := scheduler.next(0.0)) is not None:
            job = int(str(found.job))
            assert may_start(job, tasks_of[job, found.num])
            running.add((job, found.num))
        assert scheduler.active == len(running)
        idle = [key for key, task in tasks_of.items() if may_start(key[0], task)]
        assert not idle, "a slot stays empty although something could run"
        if not running:
            break
        job, num = data.draw(st.sampled_from(sorted(running)))
        end = data.draw(st.sampled_from(SheetEnd))
        running.remove((job, num))
        blocked = scheduler.report(job, num, end, 0.0)
        if end in (SheetEnd.DONE, SheetEnd.SKIPPED):
            released[job].add(num)
        if end is not SheetEnd.RETRY:
            over[job].add(num)
        assert all(b.by == num for b in blocked)
        nums = {num for b in blocked for num in b.sheets}
        assert not over[job] & nums
        over[job] |= nums
    else:
        return  # it was told to retry for ever
    assert all(over[job] == {t.num for t in tasks} for job, tasks in score.items())
    assert scheduler.queued == 0


@settings(deadline=None, max_examples=100)
@given(
    priorities=st.lists(st.integers(1, 10), min_size=2, max_size=6),
    slots=st.integers(1, 6),
    order=st.randoms(use_true_random=False),
)
def test_shares_follow_the_weights_within_one_turn(priorities, slots, order) -> None:
    """Served sheets per weight differ by no more than one turn of each of the two jobs."""
    scheduler = Scheduler(Limits(max_concurrent_sheets=slots, default_instrument=None))
    tasks = [SheetTask(n) for n in range(1, 200)]
    weights = {}
    for job, priority in enumerate(priorities):
        policy = RunPolicy(max_concurrent=1000, priority=priority)
        scheduler.register(job, tasks, now=0, policy=policy)
        weights[job] = 2.0 ** ((priority - 5) / 2)
    served = dict.fromkeys(weights, 0)
    running: list[tuple[int, int]] = []
    for _ in range(120):
        while (found := scheduler.next(0.0)) is not None:
            job = int(str(found.job))
            served[job] += 1
            running.append((job, found.num))
        for a in weights:
            for b in weights:
                gap = abs(served[a] / weights[a] - served[b] / weights[b])
                assert gap <= 1 / weights[a] + 1 / weights[b] + 1e-6
        job, num = running.pop(order.randrange(len(running)))
        scheduler.report(job, num, SheetEnd.DONE, 0.0)
