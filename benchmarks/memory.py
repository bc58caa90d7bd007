"""Peak memory of a conductor per 10,000 sheets, against one with hardly any."""

from __future__ import annotations

import argparse

from _mzt import WIDE, room, run
from _report import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheets", type=int, default=10_000)
    options = parser.parse_args()
    print(machine())
    with room() as path:
        small = run(path, WIDE, sheets=10, at_once=8, name="small")
    with room() as path:
        large = run(path, WIDE, sheets=options.sheets, at_once=8, name="large")
    per = (large.peak_memory_mb - small.peak_memory_mb) * 10_000 / options.sheets
    print(
        f"peak: {small.peak_memory_mb:.0f} MB with 10 sheets, {large.peak_memory_mb:.0f} MB with"
        f" {options.sheets}: {per:.1f} MB per 10,000 sheets"
    )


if __name__ == "__main__":
    main()
