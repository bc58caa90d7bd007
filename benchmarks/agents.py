"""What agents cost their conductor: its CPU for a turn, and how late its loop is while fifty of them
stream, unwatched and watched; against a bare loop beside the same programs."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from _host import SETTLED_SECONDS, Probe, cpu_seconds, measured
from _options import whole_number
from _report import machine

from marianne_core.model.errors import MztError
from marianne_core.model.output import OutputRequest
from marianne_core.serve.socket_client import SocketClient

T = TypeVar("T")
HERE = Path(__file__).resolve().parent
WATCHERS = 2
MOST_AT_ONCE = 20
"""Sheets of one score at once."""

_PROFILE = """\
name: {name}
display_name: {name}
kind: cli
raw_prompt: true
default_timeout_seconds: 600
cli:
  command:
    executable: {python}
    prompt_via_stdin: true
    extra_flags: ["-I", "-S", "{program}", "{lines}", "{rate}"{go}]
  output:
    format: jsonl
    dialect: claude
    completion_event_type: result
    result_path: result
    error_path: errors[0]
    input_tokens_path: modelUsage.*.inputTokens
    output_tokens_path: modelUsage.*.outputTokens
    more_input_tokens_paths:
      [modelUsage.*.cacheReadInputTokens, modelUsage.*.cacheCreationInputTokens]
    cost_path: total_cost_usd
    aggregate_tokens: true
    usage_of_last_event: true
  errors:
    success_event_type: result
    success_event_filter: {{is_error: false}}
    status_path: api_error_status
    rate_limit_event_type: rate_limit_event
    rate_limit_event_filter: {{rate_limit_info.status: rejected}}
"""
_SCORE = """\
name: {name}
workspace: ./workspace
instrument: {name}
sheet: {{size: 1, total_items: 1, fan_out: {{1: {sheets}}}}}
parallel: {{enabled: true, max_concurrent: {at_once}}}
prompt: {{template: "play"}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--turns", type=whole_number, default=200, help="turns whose cost is measured"
    )
    parser.add_argument(
        "--agents", type=whole_number, default=50, help="agents that stream at once"
    )
    parser.add_argument(
        "--rate", type=whole_number, default=1000, help="lines a second of each of them"
    )
    parser.add_argument("--seconds", type=whole_number, default=10, help="how long they stream")
    parser.add_argument("--rounds", type=whole_number, default=3)
    parser.add_argument("--watch", nargs=2, metavar=("SOCKET", "SHEET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        asyncio.run(watch(Path(options.watch[0]), int(options.watch[1])))
        return
    if options.rate % 10:
        parser.error("--rate must be a multiple of 10: the agents write ten times a second")
    print(machine())
    turns(options.turns, options.rounds)
    lag(options.agents, options.rate, options.seconds, options.rounds)


def turns(count: int, rounds: int) -> None:
    """CPU of a turn of 200 events in a second."""
    ours, bare = [], []
    for _ in range(rounds):
        bare.append(asyncio.run(bare_turns(count)) / count)
        told = play("turn", sheets=count, lines=200, rate=200, idle=2.0)
        idle = told["idle"]["cpu"] / told["idle"]["seconds"]
        ours.append((told["work"]["cpu"] - idle * told["work"]["seconds"]) / count)
    a, b = median(ours) * 1e3, median(bare) * 1e3
    print(
        f"CPU of a turn of 200 events: {a:.2f} ms against {b:.2f} ms of a loop that only runs it"
        f" = {a / b:.2f} x  (target 5 ms)",
        flush=True,
    )


async def bare_turns(count: int) -> float:
    """CPU seconds of a loop that runs the same turns with pipes and parses nothing."""
    pending = iter(range(count))

    async def worker() -> None:
        for _ in pending:
            process = await asyncio.create_subprocess_exec(
                *agent(200, 200), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
            )
            await process.communicate()

    used = cpu_seconds()
    await asyncio.gather(*(worker() for _ in range(MOST_AT_ONCE)))
    return cpu_seconds() - used


def lag(agents: int, rate: int, seconds: int, rounds: int) -> None:
    """How late the loop is while agents stream."""
    lines = rate * seconds
    bare, cases = [], {"unwatched": 0, f"with {WATCHERS} watchers": WATCHERS}
    ours: dict[str, list[dict[str, Any]]] = {case: [] for case in cases}
    for _ in range(rounds):
        bare.append(asyncio.run(bare_lag(agents, lines, rate)))
        for case, watchers in cases.items():
            about = {"sheets": agents, "per_score": MOST_AT_ONCE, "lines": lines, "rate": rate}
            about["together"] = True
            ours[case].append(play("stream", idle=0.5, watchers=watchers, **about)["work"])
    for case, told in ours.items():
        a, b = (median(one["p99"] for one in many) * 1e3 for many in (told, bare))
        share = median(one["cpu"] / one["seconds"] for one in told)
        print(
            f"loop lag of {agents} agents at {rate:,} lines a second, {case}: p99 {a:.1f} ms against"
            f" {b:.1f} ms of a bare loop beside them = {a / b:.1f} x  (target 20 ms);"
            f" conductor {share:.0%} of a core",
            flush=True,
        )
        longest = median(one["step"] for one in told) * 1e3
        print(f"  longest step of the loop: {longest:.1f} ms of CPU  (target 10 ms)", flush=True)


async def bare_lag(agents: int, lines: int, rate: int) -> dict[str, float]:
    """How late a loop is that does nothing beside the same programs."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mzt-bench-"))
        paths = [Path(folder, f"{number}.out") for number in range(agents)]
        files = [stack.enter_context(path.open("wb")) for path in paths]
        probe = Probe()
        probing = asyncio.create_task(probe.run())

        argv = [*agent(lines, rate), f"{folder}/go"]
        processes = [
            await asyncio.create_subprocess_exec(*argv, stdin=subprocess.DEVNULL, stdout=file)
            for file in files
        ]
        await asyncio.sleep(SETTLED_SECONDS)

        begin = Path(folder, "go").touch

        async def work() -> None:
            begin()
            await asyncio.gather(*(process.wait() for process in processes))

        told = await measured(work(), probe)
        probing.cancel()
    return told


def agent(lines: int, rate: int) -> list[str]:
    """The command line of a stand-in."""
    return [sys.executable, "-I", "-S", str(HERE / "_stand_in.py"), str(lines), str(rate)]


def play(
    name: str,
    *,
    sheets: int,
    lines: int,
    rate: int,
    idle: float,
    per_score: int = 0,
    together: bool = False,
    watchers: int = 0,
) -> dict[str, Any]:
    """Play sheets, in one score or in several, under a conductor of its own; what that measured.

    `together`: they begin when all are there, and only that is measured.
    """
    with tempfile.TemporaryDirectory(prefix="mzt-bench-") as place:
        folder = Path(place)
        (folder / "instruments").mkdir()
        profile = _PROFILE.format(
            name=name,
            python=sys.executable,
            program=HERE / "_stand_in.py",
            lines=lines,
            rate=rate,
            go=f', "{folder / "go"}"' if together else "",
        )
        # The profile of what is played first does not wait.
        (folder / "instruments" / "warm.yaml").write_text(
            _PROFILE.format(
                name="warm",
                python=sys.executable,
                program=HERE / "_stand_in.py",
                lines=9,
                rate=0,
                go="",
            )
        )
        (folder / "instruments" / f"{name}.yaml").write_text(profile)
        (folder / "warm.yaml").write_text(_SCORE.format(name="warm", sheets=2, at_once=2))
        scores = []
        for start in range(0, sheets, per_score or sheets):
            count = min(per_score or sheets, sheets - start)
            scores.append(folder / f"{name}{len(scores)}.yaml")
            scores[-1].write_text(_SCORE.format(name=name, sheets=count, at_once=MOST_AT_ONCE))
        argv = [
            sys.executable,
            str(HERE / "_host.py"),
            place,
            str(idle),
            str(sheets if together else 0),
        ]
        argv += map(str, scores)
        host = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=folder)
        watching = [_watcher(folder, sheet + 1) for sheet in range(watchers)]
        said, _ = host.communicate()
        for process in watching:
            if process.wait():
                raise SystemExit(f"a watcher left with {process.returncode}")
        if host.returncode:
            raise SystemExit(f"{' '.join(argv)} left with {host.returncode}")
    told: dict[str, Any] = json.loads(said)
    if told["completed"] != sheets:
        raise SystemExit(f"{told['completed']} of {sheets} sheets were completed")
    return told


def _watcher(folder: Path, sheet: int) -> subprocess.Popen[bytes]:
    socket = folder / "state" / "run" / "mzt.sock"
    return subprocess.Popen([sys.executable, __file__, "--watch", str(socket), str(sheet)])


async def watch(socket: Path, sheet: int) -> None:
    """Follow what a sheet writes, to its end."""
    client = await _in_time(lambda: SocketClient.connect(socket))
    pieces = await _in_time(lambda: client.follow_output(OutputRequest("stream0", sheet)))
    async for _ in pieces:
        pass
    assert pieces.outcome is not None
    await client.close()


async def _in_time(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: the host, or its job, may not be there yet."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await ask()
        except MztError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    main()
