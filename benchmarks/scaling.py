"""Cost of a trivial sheet in small and large jobs, and what the store grows by."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from statistics import median

from _bare import seconds_per_run
from _mzt import TRUE, WIDE, room, run
from _options import options
from _report import machine


def main() -> None:
    given = options(__doc__, rounds=3, dirs=True)
    for folder in given.dirs or [None]:
        print(machine(folder))
        measure(folder, given.rounds)


def measure(folder: str | None, rounds: int) -> None:
    """Measure on the file system of one folder and print the ratios."""
    ratios: dict[int, float] = {}
    for sheets in (100, 1000, 5000):
        ours, bare = [], []
        for _ in range(rounds):
            bare.append(seconds_per_run([TRUE], min(sheets, 1000), 4))
            with room(folder) as path:
                ran = run(path, WIDE, sheets=sheets, at_once=4)
                if sheets == 1000:
                    size = _store_size(path)
            ours.append(ran.seconds / ran.sheets)
        ratios[sheets] = median(ours) / median(bare)
        print(
            f"{sheets} sheets: {median(ours) * 1e3:.2f} ms a sheet against"
            f" {median(bare) * 1e3:.2f} ms bare = {ratios[sheets]:.2f} x",
            flush=True,
        )
    growth = ratios[5000] / ratios[100]
    print(f"5000 sheets against 100 sheets, each by its bare: {growth:.2f} x  (target 1.2)")
    print(f"store of a job of 1000 sheets: {size / 1e6:.2f} MB  (target 5)")


def _store_size(path: Path) -> int:
    database = path / "state" / "marianne.db"
    with closing(sqlite3.connect(database)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.stat().st_size


if __name__ == "__main__":
    main()
