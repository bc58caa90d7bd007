"""Time from one sheet of a chain to the next, against a bare spawn and wait."""

from __future__ import annotations

from _bare import seconds_per_run
from _mzt import CHAIN, TRUE, on_the_last, room, run
from _options import options
from _report import machine, ratio


def main() -> None:
    given = options(__doc__, sheets=300, rounds=3, dirs=True)
    for folder in given.dirs or [None]:
        print(machine(folder))
        measure(folder, given.sheets, given.rounds)


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
