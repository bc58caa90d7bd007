"""What programs printed, kept as fixtures: made by the proof, told by the tests of parsing.

`<instrument>/<case>.out`, `.err`, `.status` and beside them `<case>.json`: what must be read from them.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from marianne_core.config.profiles import load_profiles
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.run.attempt_files import AttemptFiles, read_end
from marianne_core.run.instrument.failures import outcome_of
from marianne_core.run.instrument.result import InstrumentResult, ResultReader

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"
PROOF = "proof-"
"""How the cases are called that the proof writes anew; the others were made by hand."""
RECORDED = 1767200000.0
"""When the programs are pretended to have printed that: 2025-12-31, 16:53:20 UTC."""

_PROFILES = load_profiles()
_VERSION = re.compile(r"-\d[\d.]*\Z")


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded turn."""

    instrument: str
    """Name of the folder: of the instrument, or of an older version of it."""
    name: str

    def __str__(self) -> str:
        return f"{self.instrument}-{self.name}"

    def path(self, ending: str) -> Path:
        """Its file with this ending."""
        return RECORDINGS / self.instrument / f"{self.name}.{ending}"

    @property
    def expected(self) -> dict[str, Any]:
        """What must be read from it."""
        told: dict[str, Any] = json.loads(self.path("json").read_text(encoding="utf-8"))
        return told


def cases() -> list[Case]:
    """All recordings."""
    found = RECORDINGS.glob("*/*.status")
    return sorted((Case(path.parent.name, path.stem) for path in found), key=str)


def reader_of(instrument: str) -> ResultReader:
    """What the built-in profile of a program, or of an older version of it, reads output with."""
    profile = _PROFILES.get(_VERSION.sub("", instrument))
    assert profile is not None
    assert profile.cli is not None
    return ResultReader(profile.cli)


def read(case: Case, folder: Path) -> tuple[InstrumentResult, Outcome]:
    """The result and the outcome of a recorded turn, by the built-in profile."""
    files = AttemptFiles(folder, 1, 1)
    for ending, path in (("out", files.stdout), ("err", files.stderr)):
        if case.path(ending).exists():
            shutil.copy(case.path(ending), path)
        else:
            path.write_bytes(b"")
        os.utime(path, (RECORDED, RECORDED))
    status = case.path("status").read_text().strip()
    files.status.write_text(f"77\n={status}\n")
    end = read_end(files, "recorded", None)
    assert end.exit_status == int(status)
    result = reader_of(case.instrument).read_now(end.exit_status, files.stdout, files.stderr)
    return result, outcome_of(end, result)


def told(result: InstrumentResult, outcome: Outcome) -> dict[str, Any]:
    """What was read, as it stands beside a recording."""
    used = {
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "cost_usd": None if outcome.cost_usd is None else round(outcome.cost_usd, 9),
    }
    if outcome.ended is Ended.OK:
        return {"ended": "ok", "text": result.text, **used}
    reset = None
    if result.reset is not None:
        reset = {"seconds": result.reset.at - RECORDED, "by_clock": result.reset.by_clock}
    failed = {"ended": str(outcome.ended), "code": outcome.code, "reason": outcome.reason}
    return {**failed, "signal": outcome.signal, "reset": reset, **used}


def record(
    case: Case, files: AttemptFiles, status: int, *, places: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    """Write what a program printed as a recording, with what is read from it, which is returned.

    `places` are the paths that the program saw, and what is to stand there instead. What differs
    from run to run becomes the same.
    """
    case.path("out").parent.mkdir(exist_ok=True)
    for ending, path in (("out", files.stdout), ("err", files.stderr)):
        text = normal(path.read_text(encoding="utf-8", errors="replace"), places)
        if text:
            case.path(ending).write_text(text, encoding="utf-8")
        else:
            case.path(ending).unlink(missing_ok=True)
    case.path("status").write_text(f"{status}\n")
    folder.mkdir(exist_ok=True)
    found = told(*read(case, folder))
    write_expected(case, found)
    return found


def write_expected(case: Case, found: Mapping[str, Any]) -> None:
    """Write what must be read from a recording."""
    text = json.dumps(found, ensure_ascii=False, indent=1)
    case.path("json").write_text(f"{text}\n", encoding="utf-8")


_ID = re.compile(
    r"\b(ses|prt|msg|call|toolu|agent|conv|run|task|req|chatcmpl|resp|thread|write_file__write_file)"
    r"[_-](?=\w*\d)[A-Za-z0-9_-]{6,}"
)
"""Identifiers: each of them gets a number, in the order in which they come."""
_SAME: tuple[tuple[str, str], ...] = (
    (
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        "00000000-0000-4000-8000-000000000000",
    ),
    (
        r"\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d[.,]\d{3,9}(Z|\+00:00)?",
        r"2026-01-01\g<1>00:00:00.000\g<2>",
    ),
    (r"\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d(Z|\+00:00)?", r"2026-01-01\g<1>00:00:00\g<2>"),
    (
        r"\b20\d\d-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z",
        "2026-01-01T00-00-00-000Z",
    ),
    (
        r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} 20\d\d \d\d:\d\d:\d\d GMT",
        "Thu, 01 Jan 2026 00:00:00 GMT",
    ),
    (r"\b1[789]\d{11}\b", "1767225600000"),
    (r"\b1[789]\d{8}\b", "1767225600"),
    (
        r"(?i)(\"\w*(?:duration|elapsed|latency|ttft)\w*\":|\"\w+(?:_ms|Ms)\":) ?[\d.]+",
        r"\g<1>42",
    ),
    (r"(127\.0\.0\.1|localhost):\d{4,5}", r"\g<1>:8080"),
    (r"\bpid=\d+", "pid=1"),
    (r"\brun=[0-9a-f]{8}\b", "run=0"),
    (r"\bPython/3\.[\d.]*\d", "Python/3"),
    (r"(?<=/\$bunfs/)root(?=/)", "code"),  # of the program itself, on every machine
    (r"(?<=created in )\n(?=/song)", ""),  # the program wraps lines by the length of the path
    (r"(?<=/cc-socks/)\d+", "1"),
)
_SAME_EVERYWHERE = [(re.compile(pattern), text) for pattern, text in _SAME]

_NOW_AND_THEN = "[STARTUP] "
"""Gemini says so or does not, as it happens."""

_LIKE = 3
"""Equal lines in a row that are kept: how often a program tries again depends on the machine."""


def normal(text: str, places: Mapping[str, str]) -> str:
    """The text without what differs from run to run, or names a machine, a person or a path."""
    for path in sorted(places, key=len, reverse=True):
        # Some programs leave out the slash at its beginning.
        place = re.compile(
            rf"(?<![\w.-]){re.escape(path)}|(?<=\"){re.escape(path.lstrip('/'))}(?=/)"
        )
        text = place.sub(places[path], text)
    for name, instead in ((socket.gethostname(), "machine"), (getpass.getuser(), "player")):
        if len(name) > 2:
            text = re.sub(rf"(?<![\w./-]){re.escape(name)}(?![\w/-])", instead, text)
    numbers: dict[str, int] = {}
    text = _ID.sub(lambda found: _numbered(found, numbers), text)
    for pattern, instead in _SAME_EVERYWHERE:
        text = pattern.sub(instead, text)
    return "".join(_without_repeats(text))


def _numbered(found: re.Match[str], numbers: dict[str, int]) -> str:
    """The same number for the same identifier; each prefix counts for itself."""
    kind = found[1]
    mine = sum(1 for known in numbers if known.startswith(kind))
    return f"{kind}_{numbers.setdefault(found[0], mine)}"


def _without_repeats(text: str) -> Iterator[str]:
    for line, repeats in groupby(text.splitlines(keepends=True)):
        if line.startswith(_NOW_AND_THEN):
            continue
        yield from [line] * min(_LIKE, sum(1 for _ in repeats))
