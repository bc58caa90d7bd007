"""Why a sheet that could run has no slot: the first reason that holds, from its instrument upwards."""

from __future__ import annotations

from marianne_core.decide.instruments import name_of
from marianne_core.decide.lanes import Job, Pool
from marianne_core.model.waits import Wait, WaitReason


def wait_for_slot(job: Job, pool: Pool, now: float, active: int, most: int) -> Wait | None:
    """What keeps a ready sheet of a job from its instrument's pool; None when nothing does.

    `active` of `most` sheets of all jobs run.
    """
    meter = pool.meter
    if pool.park is not None:
        return Wait(pool.park.reason, pool.park.until, name_of(pool.key))
    if job.not_before > now:
        return Wait(WaitReason.PACING if job.pacing else WaitReason.STAGGER, job.not_before)
    if job.running >= job.policy.max_concurrent:
        return Wait(WaitReason.JOB_SLOT, None, str(job.policy.max_concurrent))
    if not meter.free:
        taken = f"{meter.name} ({meter.running} of {meter.limit})"
        return Wait(WaitReason.INSTRUMENT_SLOT, None, taken)
    if active >= most:
        return Wait(WaitReason.SLOT, None, f"{active} of {most}")
    return None
