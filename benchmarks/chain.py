"""Time from one sheet of a chain to the next, against a bare spawn and wait."""

from __future__ import annotations

import argparse

from _bare import seconds_per_run
from _mzt import CHAIN, TRUE, add_dir_option, on_the_last, room, run
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
    """Measure on the file system of one folder and print the ratios."""
    bare: list[float] = []
    kinds = {
        "hop, one sheet after another": "{}",
        "hop, each sheet depending on the last": on_the_last(sheets),
    }
    ours: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        bare.append(seconds_per_run([TRUE], sheets, 1))
        for kind, dependencies in kinds.items():
            with room(folder) as path:
                ran = run(path, CHAIN, sheets=sheets, dependencies=dependencies)
            ours[kind].append(ran.seconds / ran.sheets)
    for kind, seconds in ours.items():
        ratio(kind, seconds, bare, target="2")


if __name__ == "__main__":
    main()
