"""How files looked before an attempt, so that `file_modified` can tell what the attempt changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_EARLY_NS = 20_000_000
"""File systems stamp files with a clock that lags the wall clock by up to a timer tick."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from another."""

    mtime_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, state: os.stat_result) -> Stamp:
        """The stamp of a file in this state."""
        return cls(state.st_mtime_ns, state.st_size, state.st_ino)


class HasPath(Protocol):
    """A rule, as far as a baseline needs it."""

    @property
    def type(self) -> str: ...

    @property
    def path(self) -> Path | None: ...


@dataclass(frozen=True, slots=True)
class Baseline:
    """The files of an attempt's `file_modified` rules as they were before it.

    An attempt outlives its conductor, so a baseline can be stored (`to_dict`, `from_dict`). Where
    it was not, `since` says when the attempt began, and times decide.
    """

    stamps: Mapping[str, Stamp | None] = field(default_factory=dict)
    """Absolute path -> its stamp; None = there was no file."""
    since_ns: int = 0
    """Wall clock, nanoseconds: decides for files that `stamps` does not know."""

    def __bool__(self) -> bool:
        """True when it holds files, so that it is worth storing."""
        return bool(self.stamps)

    @classmethod
    def since(cls, started: float) -> Baseline:
        """A baseline for an attempt of which only the start is known (wall clock, seconds)."""
        return cls(since_ns=int(started * 1e9))

    def with_earlier(self, earlier: Baseline) -> Baseline:
        """The same files, as `earlier` saw them where it knows them."""
        stamps = {path: earlier.stamps.get(path, stamp) for path, stamp in self.stamps.items()}
        return Baseline(stamps, self.since_ns)

    def change(self, path: Path, state: os.stat_result) -> str:
        """How a file that is now in `state` differs from before, in words; "" if it does not."""
        if str(path) not in self.stamps:
            return "changed" if state.st_mtime_ns >= self.since_ns - _EARLY_NS else ""
        before = self.stamps[str(path)]
        now = Stamp.of(state)
        if before is None:
            return f"new, {now.size} bytes"
        if now == before:
            return ""
        if now.size != before.size:
            return f"changed, {before.size} to {now.size} bytes"
        return "replaced" if now.inode != before.inode else "changed"

    def to_dict(self) -> dict[str, list[int] | None]:
        """The stamps in a JSON-safe form."""
        return {
            path: None if stamp is None else [stamp.mtime_ns, stamp.size, stamp.inode]
            for path, stamp in self.stamps.items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, list[int] | None]) -> Baseline:
        """The baseline that `to_dict` gave."""
        return cls({path: None if stamp is None else Stamp(*stamp) for path, stamp in data.items()})


def read_baseline(file: str) -> Baseline | None:
    """The baseline that an attempt stored in this file as JSON; None if it is gone or incomplete."""
    try:
        with open(file, encoding="utf-8") as stored:
            return Baseline.from_dict(json.load(stored))
    except (OSError, ValueError):
        return None


EMPTY = Baseline()
"""For attempts without `file_modified` rules."""


def take_baseline(rules: Iterable[HasPath]) -> Baseline:
    """Look at the files of the `file_modified` rules; call it just before the attempt starts.

    A file that cannot be looked at counts as not there. Costs nothing without such rules.
    """
    stamps: dict[str, Stamp | None] = {}
    for rule in rules:
        if rule.type == "file_modified" and rule.path is not None:
            try:
                stamps[str(rule.path)] = Stamp.of(os.stat(rule.path))
            except (OSError, ValueError):
                stamps[str(rule.path)] = None
    return Baseline(stamps) if stamps else EMPTY
