"""Peak memory of a conductor per 10,000 sheets, and against a bare loop that runs the same programs."""

from __future__ import annotations

from _bare import peak_memory_mb
from _mzt import TRUE, WIDE, room, run
from _options import options
from _report import machine


def main() -> None:
    sheets = options(__doc__, sheets=10_000).sheets
    print(machine())
    with room() as path:
        small = run(path, WIDE, sheets=10, at_once=8, name="small")
    with room() as path:
        large = run(path, WIDE, sheets=sheets, at_once=8, name="large")
    bare = peak_memory_mb([TRUE], sheets, 8)
    per = (large.peak_memory_mb - small.peak_memory_mb) * 10_000 / sheets
    print(
        f"peak: {small.peak_memory_mb:.0f} MB with 10 sheets, {large.peak_memory_mb:.0f} MB with"
        f" {sheets}: {per:.1f} MB per 10,000 sheets"
    )
    peak = large.peak_memory_mb
    print(f"memory: {peak:.0f} MB against {bare:.0f} MB bare = {peak / bare:.2f} x")


if __name__ == "__main__":
    main()
