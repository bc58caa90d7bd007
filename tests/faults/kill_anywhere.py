"""Kill the conductor with SIGKILL at random moments, start it again, and look at what is left.

Each sheet's only effect is one line, appended to a ledger when it ends. However often the conductor
dies, the ledger must hold each sheet once, and no process may be left. As a program:
`python tests/faults/kill_anywhere.py --kills 1000 --seed 7`.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_MARK = "MZT_KILL_TEST"

_SCORE = """\
name: ledger
workspace: ./workspace
instrument: cli
sheet:
  size: 1
  total_items: 4
  fan_out: {{1: 6, 2: 6, 3: 6, 4: 6}}
parallel: {{enabled: true, max_concurrent: {at_once}, fail_fast: false}}
retry: {{max_retries: 0}}
prompt:
  variables:
    naps: {naps}
  template: |
    sleep {{{{ naps[sheet_num - 1] }}}}
    echo {{{{ sheet_num }}}} >> ledger
validations:
  - {{type: command_succeeds, command: "grep -qx {{sheet_num}} ledger"}}
"""
_SHEETS = 24


@dataclass
class Tally:
    """What a number of kills came to."""

    kills: int = 0
    with_living_shims: int = 0
    shims: int = 0
    rounds: int = 0


def play_round(
    seed: int, folder: Path, tally: Tally, most_kills: int, at_once: int = 4
) -> list[str]:
    """Play one score to its end under kills; returns what is wrong with the result.

    With one sheet at once they are short, so that many of the kills fall between two of them.
    """
    chance = random.Random(seed)
    mark = uuid.uuid4().hex
    shortest, longest = (0.2, 0.6) if at_once > 1 else (0.0, 0.06)
    naps = [round(chance.uniform(shortest, longest), 2) for _ in range(_SHEETS)]
    score = folder / "ledger.yaml"
    score.write_text(_SCORE.format(naps=naps, at_once=at_once))
    env = {
        **os.environ,
        _MARK: mark,
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(_ROOT / "core"), str(_ROOT)]),
    }
    argv = [sys.executable, str(_HERE / "ledger_host.py"), str(folder / "state"), str(score)]
    tally.rounds += 1
    last = ""
    while True:
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as host:
            assert host.stdout is not None
            if tally.kills < most_kills:
                if chance.random() < 0.8:
                    host.stdout.readline()  # at work
                    time.sleep(chance.uniform(0.0, longest if at_once > 1 else 0.25))
                else:
                    time.sleep(chance.uniform(0.0, 0.5))  # in start or recovery
                if host.poll() is None:
                    tally.kills += 1
                    host.send_signal(signal.SIGKILL)
                    host.wait()
                    alive = sum(1 for line in _marked(mark) if " mzt-" in line)
                    tally.shims += alive
                    tally.with_living_shims += alive > 0
                    continue
            watch = threading.Timer(60, host.kill)
            watch.start()
            # Not by communicate(), which does not see what came along with the line read above.
            last = host.stdout.read().split("\n")[-2:][0]
            watch.cancel()
            break
    return _faults(folder, mark, last)


def _faults(folder: Path, mark: str, status: str) -> list[str]:
    faults = []
    if status != "completed":
        faults.append(f"the job ended {status!r}")
    ledger = Counter((folder / "workspace" / "ledger").read_text().split())
    wrong = {n: ledger[str(n)] for n in range(1, _SHEETS + 1) if ledger[str(n)] != 1}
    if wrong:
        faults.append(f"sheets that did not run exactly once: {wrong}")
    if left := _marked(mark):
        faults.append(f"processes left: {left}")
    return faults


def _marked(mark: str) -> list[str]:
    """Command lines of living processes that carry the round's mark."""
    found = []
    needle = f"{_MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if needle in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    tally, seed = Tally(), options.seed
    while tally.kills < options.kills:
        with tempfile.TemporaryDirectory() as folder:
            faults = play_round(seed, Path(folder), tally, options.kills, options.at_once)
        if faults:
            print(f"seed {seed}: {'; '.join(faults)}")
            return 1
        print(
            f"seed {seed}: {tally.kills} kills, {tally.with_living_shims} with living shims"
            f" ({tally.shims} in all), {tally.rounds} rounds, nothing lost, nothing twice",
            flush=True,
        )
        seed += 1
    return 0 if tally.with_living_shims * 3 >= tally.kills else 1


if __name__ == "__main__":
    sys.exit(main())
