"""Cost of a trivial sheet, everything on, against a bare asyncio loop with the identical argv."""

from __future__ import annotations

import argparse

from _bare import seconds_per_run
from _mzt import TRUE, WIDE, room, run
from _report import machine, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheets", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the state lies (default: the temporary folder)")
    options = parser.parse_args()
    print(machine(options.folder))
    for at_once, target in ((4, "1.5"), (8, "")):
        ours, bare = [], []
        for _ in range(options.rounds):
            bare.append(seconds_per_run([TRUE], options.sheets, at_once))
            with room(options.folder) as path:
                ran = run(path, WIDE, sheets=options.sheets, at_once=at_once)
            ours.append(ran.seconds / ran.sheets)
        ratio(f"sheet, {at_once} at once", ours, bare, target=target)


if __name__ == "__main__":
    main()
