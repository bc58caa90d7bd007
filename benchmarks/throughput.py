"""Cost of a trivial sheet, everything on, against a bare asyncio loop with the identical argv."""

from __future__ import annotations

from _bare import seconds_per_run
from _mzt import TRUE, WIDE, room, run
from _options import options
from _report import machine, ratio


def main() -> None:
    given = options(__doc__, sheets=1000, rounds=3, dirs=True)
    for folder in given.dirs or [None]:
        print(machine(folder))
        measure(folder, given.sheets, given.rounds)


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
