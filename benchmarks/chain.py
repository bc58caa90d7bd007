"""Time from one sheet of a chain to the next, against a bare spawn and wait."""

from __future__ import annotations

import argparse

from _bare import seconds_per_run
from _mzt import CHAIN, TRUE, room, run
from _report import machine, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheets", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the state lies (default: the temporary folder)")
    options = parser.parse_args()
    print(machine(options.folder))
    ours, bare = [], []
    for _ in range(options.rounds):
        bare.append(seconds_per_run([TRUE], options.sheets, 1))
        with room(options.folder) as path:
            ran = run(path, CHAIN, sheets=options.sheets)
        ours.append(ran.seconds / ran.sheets)
    ratio("hop in a chain", ours, bare, target="2")


if __name__ == "__main__":
    main()
