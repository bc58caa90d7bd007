"""Kill the conductor with SIGKILL at random moments, start it again, and look at what is left.

All effects of a sheet are lines in a ledger (`ledger_scores`). However often the conductor dies, the
ledger must hold what the score promises, the store must tell the same, and no process may be left.
As a program: `python tests/faults/kill_anywhere.py --kills 1000 --seed 7` plays all kinds of scores
in turn, `--kind retries` one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(_ROOT), str(_ROOT / "core")]

from marianne_core.remember.home import Home  # noqa: E402
from marianne_core.remember.lock import StateLock  # noqa: E402
from marianne_core.remember.queries import open_reader  # noqa: E402
from tests.faults.ledger_scores import KINDS, Ledger, make  # noqa: E402
from tests.programs import Program  # noqa: E402

_MARK = "MZT_KILL_TEST"

_AT_WORK = {"plain": 0.6, "staggered": 0.6, "retries": 0.5}
"""Seconds after its start in which a conductor is killed; others live at most 0.25 s longer."""

_KILLS_A_ROUND = 8
"""At most, so that the next kind has its turn."""

_SURELY = 0.5
"""Part of a promised distance in time that is demanded: a busy machine looks at its clocks late."""


@dataclass
class Tally:
    """What a number of kills came to."""

    kills: int = 0
    with_living_shims: int = 0
    shims: int = 0
    rounds: int = 0


def play_round(kind: str, seed: int, folder: Path, tally: Tally, most_kills: int) -> list[str]:
    """Play one score to its end under kills; returns what is wrong with the result."""
    chance = random.Random(f"kills {kind} {seed}")
    ledger = make(kind, seed)
    mark = uuid.uuid4().hex
    score = folder / f"{kind}.yaml"
    score.write_text(ledger.text)
    env = {
        **os.environ,
        _MARK: mark,
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(_ROOT / "core"), str(_ROOT)]),
    }
    argv = [str(_HERE / "ledger_host.py"), str(folder / "state"), str(score)]
    tally.rounds += 1
    while True:
        with Program(argv, env=env) as host:
            if tally.kills < most_kills:
                if chance.random() < 0.8:
                    host.stdout.readline()  # at work
                    time.sleep(chance.uniform(0.0, _AT_WORK.get(kind, 0.25)))
                else:
                    time.sleep(chance.uniform(0.0, 0.1))  # in start or recovery
                if host.poll() is None:
                    tally.kills += 1
                    host.send_signal(signal.SIGKILL)
                    host.wait()
                    _until_free(folder / "state")
                    alive = sum(1 for line in _marked(mark) if " mzt-" in line)
                    tally.shims += alive
                    tally.with_living_shims += alive > 0
                    continue
            watch = threading.Timer(60, host.kill)
            watch.start()
            # Not by communicate(), which does not see what came along with the line read above.
            lines = host.stdout.read().split("\n")
            watch.cancel()
            break
    left = _marked(mark)
    try:
        status = json.loads(lines[-2] if len(lines) > 1 else "")
    except ValueError:
        return [f"the host did not end well: {lines}"]
    faults = [*_in_status(ledger, status), *_in_ledger(ledger, folder / "workspace")]
    faults += _in_store(ledger, folder / "state")
    if left:
        faults.append(f"processes left: {left}")
    return faults


def _until_free(state: Path) -> None:
    """A program that was just being started holds a copy of the state's lock for a moment."""
    lock, deadline = StateLock(Home(state).lock), time.monotonic() + 5.0
    while lock.holder() is not None and time.monotonic() < deadline:
        time.sleep(0.002)


def _in_status(ledger: Ledger, status: dict[str, object]) -> list[str]:
    faults = []
    if status["status"] != ledger.status:
        faults.append(f"the job ended {status['status']!r}, not {ledger.status!r}")
    found = {int(num): each for num, each in dict(status["sheets"]).items()}  # type: ignore[call-overload]
    wrong = {n: found.get(n) for n, each in ledger.statuses.items() if found.get(n) != each}
    if wrong:
        faults.append(f"sheets that are not as promised: {wrong}")
    return faults


def _in_ledger(ledger: Ledger, workspace: Path) -> list[str]:
    """Each effect as often as promised, after what it builds on, and never too many at once."""
    faults = []
    lines = (workspace / "ledger").read_text().split("\n")[:-1]
    written = Counter(lines)
    for what in ("begin", "end"):
        wrong = {
            num: f"{written[f'{num} {what}']}, not {promised}"
            for num, promised in ledger.attempts.items()
            if written[f"{num} {what}"] != promised
        }
        if wrong:
            faults.append(f"sheets whose {what} was not written as promised: {wrong}")
    if (workspace / "twice-at-once").exists():
        faults.append(f"played twice at once: {(workspace / 'twice-at-once').read_text().split()}")
    first = {line: place for place, line in reversed(list(enumerate(lines)))}
    last = {line: place for place, line in enumerate(lines)}
    for num, others in ledger.needs.items():
        began = first.get(f"{num} begin", len(lines))
        early = [other for other in others if last.get(f"{other} end", -1) > began]
        if early:
            faults.append(f"sheet {num} began before the end of {early}")
    working = most = 0
    for line in lines:
        working += 1 if line.endswith("begin") else -1
        most = max(most, working)
    if most > ledger.at_once:
        faults.append(f"{most} sheets at once instead of {ledger.at_once}")
    return faults


def _in_store(ledger: Ledger, state: Path) -> list[str]:
    """Attempts as in the ledger, and kept apart in time as the score says."""
    faults = []
    with open_reader(Home(state)) as reader:
        (run,) = reader.list_runs(limit=None)
        attempts = reader.attempts(run.run_id)
        events = reader.events(run.run_id)
    for num, promised in ledger.attempts.items():
        rows = [row for row in attempts if row.num == num]
        if [row.attempt for row in rows] != list(range(1, promised + 1)):
            faults.append(f"attempts of sheet {num} in the store: {[r.attempt for r in rows]}")
        for before, row in pairwise(rows):
            if before.finished_at is None:
                faults.append(f"attempt {before.attempt} of sheet {num} has no end")
                continue
            if row.started_at is None:
                continue  # it began and ended while no conductor was there to look
            failed = before.attempt <= ledger.parts[num - 1].fails
            least = ledger.base_delay * 2 ** (before.attempt - 1) / 2 if failed else 0.0
            if row.started_at < before.finished_at + _SURELY * least:
                gap = row.started_at - before.finished_at
                faults.append(f"sheet {num} was tried again after {gap:.2f} s, not {least:.2f} s")
    if open_rows := [(row.num, row.attempt) for row in attempts if row.ended is None]:
        faults.append(f"attempts that never ended in the store: {open_rows}")
    # The moment of the decision; of a sheet that may be skipped it is not told.
    asked = any(part.skips is not None for part in ledger.parts)
    starts = sorted(event.time for event in events if event.kind == "sheet.started")
    close = [round(b - a, 3) for a, b in pairwise(starts) if b - a < _SURELY * ledger.stagger]
    if close and not asked:
        faults.append(f"started closer than {ledger.stagger} s: {close}")
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
    parser.add_argument("--kind", choices=list(KINDS), help="only this kind of score")
    options = parser.parse_args()
    tally, seed = Tally(), options.seed
    for kind in cycle([options.kind] if options.kind else KINDS):
        if tally.kills >= options.kills:
            break
        most = min(options.kills, tally.kills + _KILLS_A_ROUND)
        with tempfile.TemporaryDirectory() as folder:
            faults = play_round(kind, seed, Path(folder), tally, most)
        if faults:
            print(f"--kind {kind} --seed {seed}: {'; '.join(faults)}")
            return 1
        print(
            f"{kind}, seed {seed}: {tally.kills} kills, {tally.with_living_shims} with living shims"
            f" ({tally.shims} in all), {tally.rounds} rounds, nothing lost, nothing twice",
            flush=True,
        )
        seed += 1
    return 0 if tally.with_living_shims * 4 >= tally.kills else 1


if __name__ == "__main__":
    sys.exit(main())
