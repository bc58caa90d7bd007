"""The table of docs/instruments.md: which program passed which case of the proof, when, which version.

Pytest collects what the tests report (`tests/conftest.py` loads the hooks) and writes the rows of the
programs that were played. What was not played keeps its row, and reads "never run" from the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

PROPERTY = "real_cli"
"""Name of the property of a test: program, name of the test function, version ("" = not there)."""

PAGE = Path(__file__).resolve().parents[2] / "docs/instruments.md"
BEGIN, END = "<!-- proof: written by pytest -m real_cli -->", "<!-- end of proof -->"

CASES: Mapping[str, str] = {
    "test_plain": "plain turn",
    "test_writes": "writes a file",
    "test_limit": "limit",
    "test_overload": "overload",
    "test_refused": "refused",
    "test_cancel": "cancel",
    "test_output_grows": "output grows",
    "test_adopted": "adoption",
}
"""Test functions and the heads of their columns."""

INSTRUMENTS = (
    *("claude-code", "codex-cli", "opencode", "gemini-cli"),
    *("aider", "cline-cli", "goose", "crush"),
)
"""Instruments in the order of their rows."""

NEVER = "never run"
_HEADS = ("instrument", "version", "date", *CASES.values())


@dataclass
class Row:
    """What is known about one instrument."""

    version: str = ""
    date: str = ""
    """ISO; "" = never run."""
    cases: dict[str, str] = field(default_factory=dict)
    """pass, fail or skip, by the name of the test function."""


def read_rows(page: str) -> dict[str, Row]:
    """The rows of a page's table; none where it has no table."""
    rows = {}
    for line in _between(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == len(_HEADS) and cells[0] in INSTRUMENTS and cells[2] != NEVER:
            known = zip(CASES, cells[3:], strict=True)
            cases = {name: cell for name, cell in known if cell != NEVER}
            rows[cells[0]] = Row(cells[1], cells[2], cases)
    return rows


def add_result(rows: dict[str, Row], told: list[str], outcome: str, date: str) -> None:
    """Note how a case ended. What another version of the program did counts no more."""
    instrument, case, version = told
    if not version:
        return  # it is not there: what is known stays
    row = rows.setdefault(instrument, Row())
    if row.version != version:
        row.cases.clear()
    row.version, row.date = version, date
    row.cases[case] = outcome


def write_page(page: str, rows: Mapping[str, Row]) -> str:
    """The page with these rows in its table. Raises ValueError for a page without marks."""
    _between(page)
    lines = [_line(_HEADS), _line(["---"] * len(_HEADS))]
    for instrument in INSTRUMENTS:
        row = rows.get(instrument, Row())
        cases = [row.cases.get(case, NEVER) for case in CASES]
        lines.append(_line([instrument, row.version or "–", row.date or NEVER, *cases]))
    table = "\n".join([BEGIN, "", *lines, "", END])
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: table, page, flags=re.DOTALL)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _between(page: str) -> str:
    found = re.search(f"{re.escape(BEGIN)}(.*?){re.escape(END)}", page, flags=re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no table between {BEGIN!r} and {END!r}")
    return found[1]


class Recorder:
    """Pytest's hooks: collects the reports of the proof, and writes the page at the end."""

    def __init__(self, page: Path = PAGE) -> None:
        self._page = page
        self._told: dict[str, tuple[list[str], str]] = {}
        """Program, case and version, and how it ended so far, by the test's name."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test is over; with several processes this comes to the first of them."""
        told: Any = dict(report.user_properties).get(PROPERTY)
        if told is None:
            return
        _, before = self._told.get(report.nodeid, (told, ""))
        worst = "fail" if "fail" in (before, report.outcome[:4]) else ""
        outcome = worst or ("skip" if report.skipped else before)
        if report.when == "call" and report.passed:
            outcome = "pass"
        self._told[report.nodeid] = (list(told), outcome)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write what was learnt, once, and only if something was played."""
        if not self._told or hasattr(session.config, "workerinput"):
            return
        page = self._page.read_text(encoding="utf-8")
        rows = read_rows(page)
        date = datetime.now(UTC).date().isoformat()
        for told, outcome in self._told.values():
            if outcome:
                add_result(rows, told, outcome, date)
        self._page.write_text(write_page(page, rows), encoding="utf-8")
