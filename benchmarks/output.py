"""Formatting what an agent prints: recorded streams, repeated, against a bare loop of json.loads."""

from __future__ import annotations

import json
import time
from pathlib import Path

from _options import options
from _report import machine, ratio

from marianne_core.config.profiles import load_profiles
from marianne_core.read.dialects import formatter_of

_RECORDINGS = Path(__file__).resolve().parent.parent / "tests" / "recordings"
_INSTRUMENTS = ("claude-code", "codex-cli", "opencode", "gemini-cli", "cline-cli")
_SIZE = 8 * 1024 * 1024
_PIECE = 1 << 16


def main() -> None:
    rounds = options(__doc__, rounds=5).rounds
    print(machine())
    profiles = load_profiles()
    for name in _INSTRUMENTS:
        profile = profiles.by_name[name]
        assert profile.cli is not None
        _measure(name, profile.cli.output.dialect, _stream(name), rounds)
    _measure("claude-code as plain text", "text", _stream("claude-code"), rounds)


def _stream(name: str) -> bytes:
    """All that was recorded of a program's stdout, again and again, of about `_SIZE` bytes."""
    once = b"".join(path.read_bytes() for path in sorted((_RECORDINGS / name).glob("*.out")))
    return once * (_SIZE // len(once) + 1)


def _measure(name: str, dialect: str, stream: bytes, rounds: int) -> None:
    lines = stream.count(b"\n")
    ours, bare = [], []
    for _ in range(rounds):
        bare.append(_parse(stream))
        ours.append(_format(dialect, stream))
    best = min(ours)
    print(
        f"{name}: {len(stream) / best / 1e6:.1f} MB/s, {lines / best:,.0f} lines/s,"
        f" {len(stream) / lines:.0f} bytes a line",
        flush=True,
    )
    ratio("  formatted against json.loads of each line", ours, bare)


def _parse(stream: bytes) -> float:
    start = time.perf_counter()
    for line in stream.splitlines():
        json.loads(line)
    return time.perf_counter() - start


def _format(dialect: str, stream: bytes) -> float:
    start = time.perf_counter()
    formatter = formatter_of(dialect)
    for at in range(0, len(stream), _PIECE):
        formatter.feed(stream[at : at + _PIECE])
    formatter.finish()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
