"""Time from one sheet of a chain to the next, against a bare spawn and wait."""

from __future__ import annotations

import argparse

from _bare import seconds_per_run
from _mzt import CHAIN, TRUE, add_dir_option, room, run
from _report import machine, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheets", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    add_dir_option(parser)
    options = parser.parse_args()
    for folder in options.dirs or [None]:
        print(machine(folder))
        measure(folder, options.sheets, options.rounds)


def measure(folder: str | None, sheets: int, rounds: int) -> None:
    """Measure on the file system of one folder and print the ratio."""
    ours, bare = [], []
    for _ in range(rounds):
        bare.append(seconds_per_run([TRUE], sheets, 1))
        with room(folder) as path:
            ran = run(path, CHAIN, sheets=sheets)
        ours.append(ran.seconds / ran.sheets)
    ratio("hop in a chain", ours, bare, target="2")


if __name__ == "__main__":
    main()
