"""Cost of a trivial sheet, everything on, against a bare asyncio loop with the identical argv."""

from __future__ import annotations

import argparse

from _bare import seconds_per_run
from _mzt import TRUE, WIDE, add_dir_option, room, run
from _report import machine, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheets", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    add_dir_option(parser)
    options = parser.parse_args()
    for folder in options.dirs or [None]:
        print(machine(folder))
        measure(folder, options.sheets, options.rounds)


def measure(folder: str | None, sheets: int, rounds: int) -> None:
    """Measure on the file system of one folder and print the ratio."""
    for at_once, target in ((4, "1.5"), (8, "")):
        ours, bare = [], []
        for _ in range(rounds):
            bare.append(seconds_per_run([TRUE], sheets, at_once))
            with room(folder) as path:
                ran = run(path, WIDE, sheets=sheets, at_once=at_once)
            ours.append(ran.seconds / ran.sheets)
        ratio(f"sheet, {at_once} at once", ours, bare, target=target)


if __name__ == "__main__":
    main()
