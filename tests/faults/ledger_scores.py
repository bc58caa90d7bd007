"""Scores whose every effect is counted, and what they promise: made from a seed, for the kill tests.

A sheet writes `N begin` and `N end` into a ledger, each once an attempt, and nothing else of it is an
effect. From what the score says follows how many attempts each sheet makes and how it ends, however
often its conductor dies.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import yaml

_SCRIPT = """\
mkdir working-{{ sheet_num }} || echo {{ sheet_num }} >> twice-at-once
touch ledger
tries=$(grep -cx "{{ sheet_num }} end" ledger)
echo "{{ sheet_num }} begin" >> ledger
{% set part = parts[sheet_num - 1] %}
{% for other in part.takes %}rm -f made-{{ other }}-*
{% endfor %}
{% if part.leaves %}sleep 97 & {% endif %}
sleep {{ part.nap }}
echo "{{ sheet_num }} end" >> ledger
rmdir working-{{ sheet_num }}
if [ "$tries" -lt {{ part.fails }} ]; then exit 1; fi
touch made-{{ sheet_num }}-$((tries - {{ part.fails }} + 1))
"""


@dataclass
class Part:
    """What one sheet does."""

    nap: float
    """Seconds it works."""
    fails: int = 0
    """So many tries fail before one succeeds."""
    steps: int = 1
    """So many tries that succeed make all that is validated."""
    skips: bool | None = None
    """What its `skip_when_command` says; None: it has none."""
    leaves: bool = False
    """It leaves a process behind."""
    takes: list[int] = field(default_factory=list)
    """Sheets whose validated files it removes: they would not pass again."""


@dataclass
class Ledger:
    """A score and what it promises."""

    text: str
    parts: list[Part]
    needs: dict[int, list[int]]
    """What each sheet depends on."""
    attempts: dict[int, int]
    """How often each sheet is played."""
    statuses: dict[int, str]
    at_once: int
    base_delay: float = 0.0
    """Of retries: seconds, doubled with each, and at least half of it is waited."""
    stagger: float = 0.0
    """Seconds between two starts."""

    @property
    def status(self) -> str:
        """How the job ends."""
        return "failed" if "failed" in self.statuses.values() else "completed"


@dataclass
class _Sketch:
    """A score before its promise is worked out."""

    fan_out: dict[int, int]
    parts: list[Part]
    dependencies: dict[int, list[int]] = field(default_factory=dict)
    at_once: int = 4
    stagger_ms: int = 0
    max_retries: int = 0
    base_delay: float = 0.0
    max_completions: int = 5


def _naps(chance: random.Random, sheets: int, shortest: float, longest: float) -> list[Part]:
    return [Part(round(chance.uniform(shortest, longest), 2)) for _ in range(sheets)]


def _plain(chance: random.Random) -> _Sketch:
    """Four stages of six, one after another."""
    return _Sketch({1: 6, 2: 6, 3: 6, 4: 6}, _naps(chance, 24, 0.2, 0.6))


def _chain(chance: random.Random) -> _Sketch:
    """One short sheet at once, so that many of the kills fall between two of them."""
    return _Sketch({1: 6, 2: 6, 3: 6, 4: 6}, _naps(chance, 24, 0.0, 0.06), at_once=1)


def _retries(chance: random.Random) -> _Sketch:
    """Sheets that fail and are tried again after a while; some fail for good, and block others."""
    parts = _naps(chance, 12, 0.05, 0.3)
    for part in parts:
        part.fails = chance.choice((0, 1, 1, 2))
    chance.choice(parts).fails = 9
    needs = {2: [1], 3: [2]}
    return _Sketch({1: 4, 2: 4, 3: 4}, parts, needs, max_retries=2, base_delay=0.4)


def _completion(chance: random.Random) -> _Sketch:
    """Sheets that do a part of their work, and are asked for the rest."""
    parts = _naps(chance, 12, 0.05, 0.3)
    for part in parts:
        part.steps = chance.choice((1, 2, 3))
        part.fails = chance.choice((0, 0, 1))
    return _Sketch({1: 6, 2: 6}, parts, max_retries=1, base_delay=0.2)


def _skips(chance: random.Random) -> _Sketch:
    """Commands decide whether sheets are skipped, and leave something behind."""
    parts = _naps(chance, 16, 0.05, 0.4)
    for part in parts:
        part.skips = chance.choice((True, False, None))
        part.leaves = chance.random() < 0.2
    return _Sketch({}, parts, {n: [n - 4] for n in range(5, 17)})


def _staggered(chance: random.Random) -> _Sketch:
    """Sheets that start at a distance."""
    return _Sketch({1: 12}, _naps(chance, 12, 0.2, 0.9), stagger_ms=150)


def _dependent(chance: random.Random) -> _Sketch:
    """Sheets destroy what those they build on were validated by."""
    parts = _naps(chance, 16, 0.0, 0.25)
    needs = {2: [1], 3: [1], 4: [2, 3]}
    for num, others in _sheet_needs([4, 4, 4, 4], needs).items():
        parts[num - 1].takes = list(others)
    return _Sketch({1: 4, 2: 4, 3: 4, 4: 4}, parts, needs)


def _mixed(chance: random.Random) -> _Sketch:
    """All of it in one score, on a random graph."""
    parts = _naps(chance, 16, 0.0, 0.4)
    needs: dict[int, list[int]] = {}
    for num, part in enumerate(parts, 1):
        part.fails = chance.choice((0, 0, 0, 1, 2, 9) if num > 8 else (0, 0, 1))
        part.steps = chance.choice((1, 1, 2))
        part.leaves = chance.random() < 0.1
        if chance.random() < 0.25:
            part.skips = chance.random() < 0.5
        if num > 3 and chance.random() < 0.8:
            needs[num] = sorted(chance.sample(range(1, num), chance.choice((1, 1, 2))))
            part.takes = [other for other in needs[num] if chance.random() < 0.5]
    at_once, stagger = chance.choice(((1, 0), (3, 0), (5, 80)))
    return _Sketch(
        {}, parts, needs, at_once, stagger, max_retries=2, base_delay=0.2, max_completions=3
    )


KINDS: dict[str, Callable[[random.Random], _Sketch]] = {
    "plain": _plain,
    "chain": _chain,
    "retries": _retries,
    "completion": _completion,
    "skips": _skips,
    "staggered": _staggered,
    "dependent": _dependent,
    "mixed": _mixed,
}
"""What kinds of scores there are."""


def make(kind: str, seed: int) -> Ledger:
    """The score of this kind and seed, with its promise."""
    sketch = KINDS[kind](random.Random(f"{kind} {seed}"))
    counts = list(sketch.fan_out.values()) or [1] * len(sketch.parts)
    stages = sketch.dependencies
    if sketch.fan_out and not stages:
        stages = {stage: [stage - 1] for stage in range(2, len(counts) + 1)}
        needs = _sheet_needs(counts, stages, matched=False)
    else:
        needs = _sheet_needs(counts, stages)
    attempts, statuses = _promise(sketch, needs)
    text = _score(kind, sketch)
    return Ledger(
        text,
        sketch.parts,
        needs,
        attempts,
        statuses,
        sketch.at_once,
        sketch.base_delay,
        sketch.stagger_ms / 1000,
    )


def _sheet_needs(
    counts: Sequence[int], stages: dict[int, list[int]], *, matched: bool = True
) -> dict[int, list[int]]:
    """What each sheet waits for: its fellow of an equal fan-out, else all of the stage."""
    first = [1 + sum(counts[:place]) for place in range(len(counts))]
    needs: dict[int, list[int]] = {}
    for stage, others in stages.items():
        for voice in range(counts[stage - 1]):
            num = first[stage - 1] + voice
            for other in others:
                start, count = first[other - 1], counts[other - 1]
                fellow = matched and count == counts[stage - 1]
                needs.setdefault(num, []).extend(
                    [start + voice] if fellow else range(start, start + count)
                )
    return needs


def _promise(sketch: _Sketch, needs: dict[int, list[int]]) -> tuple[dict[int, int], dict[int, str]]:
    attempts: dict[int, int] = {}
    statuses: dict[int, str] = {}
    blocked: set[int] = set()
    for num, part in enumerate(sketch.parts, 1):
        if any(statuses[other] == "failed" or other in blocked for other in needs.get(num, ())):
            blocked.add(num)
        if num in blocked or part.skips:
            attempts[num], statuses[num] = 0, "skipped"
        elif part.fails > sketch.max_retries:
            attempts[num], statuses[num] = sketch.max_retries + 1, "failed"
        else:
            attempts[num], statuses[num] = part.fails + part.steps, "completed"
    return attempts, statuses


def _score(kind: str, sketch: _Sketch) -> str:
    parts = sketch.parts
    sheet: dict[str, object] = {
        "size": 1,
        "total_items": len(sketch.fan_out) or len(parts),
    }
    if sketch.fan_out:
        sheet["fan_out"] = sketch.fan_out
    if sketch.dependencies:
        sheet["dependencies"] = sketch.dependencies
    elif not sketch.fan_out:
        sheet["dependencies"] = {1: []}  # no chain
    asked = {num: part.skips for num, part in enumerate(parts, 1) if part.skips is not None}
    if asked:
        sheet["skip_when_command"] = {
            # What it leaves behind is ended; what it prints or writes is nobody's effect.
            num: {"command": f"sleep 98 & sleep 0.1; {'true' if skips else 'false'}"}
            for num, skips in asked.items()
        }
    rules: list[dict[str, object]] = [
        {"type": "command_succeeds", "command": "grep -qx '{sheet_num} end' ledger"}
    ]
    for num, part in enumerate(parts, 1):
        rules += [
            {"type": "file_exists", "path": f"made-{num}-{step}", "sheet": num, "retry_count": 0}
            for step in range(1, part.steps + 1)
        ]
    document = {
        "name": kind,
        "workspace": "./workspace",
        "instrument": "cli",
        "sheet": sheet,
        "parallel": {
            "enabled": True,
            "max_concurrent": sketch.at_once,
            "fail_fast": False,
            "stagger_delay_ms": sketch.stagger_ms,
        },
        "retry": {
            "max_retries": sketch.max_retries,
            "base_delay_seconds": sketch.base_delay or 1,
            "exponential_base": 2,
            "max_completion_attempts": sketch.max_completions,
            "completion_delay_seconds": 0.2,
            "completion_threshold_percent": 50,
        },
        "prompt": {
            "variables": {"parts": [vars(part) for part in parts]},
            "template": _SCRIPT,
        },
        "validations": rules,
    }
    return yaml.safe_dump(document, sort_keys=False)
