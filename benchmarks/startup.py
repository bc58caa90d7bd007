"""Start of the fast commands against `python -c pass` of the same interpreter."""

from __future__ import annotations

import subprocess
import sys
import time

from _mzt import WIDE, environment, room, run
from _options import options
from _report import machine, ratio


def main() -> None:
    rounds = options(__doc__, rounds=15).rounds
    print(machine())
    with room() as path:
        run(path, WIDE, sheets=20, at_once=4)
        env = environment(path)
        bare, version, listing, status = [], [], [], []
        for _ in range(rounds):
            bare.append(_seconds([sys.executable, "-c", "pass"], env))
            version.append(_seconds([sys.executable, "-m", "marianne_tui", "--version"], env))
            listing.append(_seconds([sys.executable, "-m", "marianne_tui", "list", "--all"], env))
            status.append(_seconds([sys.executable, "-m", "marianne_tui", "status", "bench"], env))
    ratio("mzt --version", version, bare, target="4")
    ratio("mzt list", listing, bare, target="6")
    ratio("mzt status", status, bare)


def _seconds(argv: list[str], env: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
