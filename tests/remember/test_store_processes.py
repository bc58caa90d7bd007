"""The store across processes: readers beside a writer, a writer killed, how large it grows."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import marianne_core
from marianne_core.model.outcome import Ended, Outcome, ValidationResult
from marianne_core.model.runs import JobRef
from marianne_core.model.states import AttemptMode, JobStatus, SheetStatus
from marianne_core.remember.changes import (
    AttemptBegun,
    AttemptFinished,
    AttemptIntended,
    RunDraft,
    RunSaved,
    SheetDraft,
    SheetSaved,
)
from marianne_core.remember.journal import Journal
from marianne_core.remember.queries import open_reader

CORE = str(Path(marianne_core.__file__).parents[1])
RUN, SHEETS = 1, 50

LEAVES_WITHOUT_CLOSING = """
import asyncio, sys
sys.path.insert(0, {core!r})
from pathlib import Path
from marianne_core.model.events import Event
from marianne_core.remember.changes import *
from marianne_core.remember.journal import Journal

async def main():
    journal = await Journal.open(Path({database!r}))
    await journal.commit([EventHappened(0, Event("one"))])
    journal.add([EventHappened(0, Event("two"))])
    await asyncio.sleep(0)

asyncio.run(main())
"""

FULL_DISK = """
import asyncio, os, sys
sys.path.insert(0, {core!r})
from pathlib import Path
from marianne_core.model.errors import StateError
from marianne_core.model.events import Event
from marianne_core.remember.changes import *
from marianne_core.remember.home import Home
from marianne_core.remember.journal import Journal
from marianne_core.remember.queries import open_reader

def fill(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return

async def main():
    home = Home(Path(sys.argv[1]) / "state")
    home.prepare()
    troubled, well = asyncio.Event(), asyncio.Event()
    journal = await Journal.open(
        home.database, on_trouble=lambda reason: (troubled if reason else well).set()
    )
    fill(home.root / "filler")
    number = 0
    while not troubled.is_set():
        number += 1
        journal.add([EventHappened(0, Event("e", data={{"number": number, "fill": "x" * 900}}))])
        await journal.written()
    refused = 0
    for sync in Sync:
        try:
            await journal.commit([EventHappened(0, Event("refused"))], sync=sync)
        except StateError as error:
            assert "the disk is full" in error.what, error
            refused += 1
    os.unlink(home.root / "filler")
    await asyncio.wait_for(well.wait(), 20)
    await journal.commit([EventHappened(0, Event("last"))], sync=Sync.DISK)
    await journal.close()
    with open_reader(home) as reader:
        events = reader.events()
    assert [event.data.get("number") for event in events] == [*range(1, number + 1), None]
    print("whole", refused)

asyncio.run(main())
"""

WRITER = """
import asyncio, sys
sys.path.insert(0, {core!r})
from pathlib import Path
from marianne_core.model.events import Event
from marianne_core.model.states import SheetStatus
from marianne_core.remember.changes import *
from marianne_core.remember.journal import Journal

async def main():
    journal = await Journal.open(Path({database!r}))
    sheets = [SheetDraft(num, "cli") for num in range(1, {sheets} + 1)]
    run = await journal.submit(RunDraft("/s/hello.yaml", "", "hello", "/w", 1.0), sheets)
    number = 0
    while True:
        for _ in range(7):
            # Each call: an event with a number, and that number in one sheet.
            number += 1
            num = number % {sheets} + 1
            changes = [
                EventHappened(run.run_id, Event("tick", data={{"number": number}})),
                SheetSaved(run.run_id, num, SheetStatus.IN_PROGRESS, 1.0, attempts=number),
            ]
            if number % 7:
                journal.add(changes, sync=Sync(number % 2))
            else:
                await journal.commit(changes, sync=Sync.DISK if number % 49 == 0 else Sync.WRITE)
                print(number, flush=True)

asyncio.run(main())
"""


def start_writer(database: Path) -> subprocess.Popen[bytes]:
    script = WRITER.format(core=CORE, database=str(database), sheets=SHEETS)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)


def expected_attempts(numbers: int) -> list[int]:
    """`attempts` of each sheet after so many calls."""
    last = dict.fromkeys(range(1, SHEETS + 1), 0)
    for number in range(1, numbers + 1):
        last[number % SHEETS + 1] = number
    return [last[num] for num in range(1, SHEETS + 1)]


@pytest.mark.parametrize("acknowledged", [1, 40, 300])
def test_a_killed_writer_leaves_a_whole_beginning(home, acknowledged: int) -> None:
    with start_writer(home.database) as writer:
        assert writer.stdout is not None
        for _ in range(acknowledged):
            line = writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
    said = int((rest or [line])[-1])
    with open_reader(home) as reader:
        numbers = [event.data["number"] for event in reader.events(RUN)]
        sheets = reader.sheets(RUN)
        runs = reader.list_runs()
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= said
    assert [sheet.attempts for sheet in sheets] == expected_attempts(len(numbers))
    assert [run.sheets_total for run in runs] == [SHEETS]
    connection = sqlite3.connect(home.database)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_the_next_writer_goes_on_where_a_killed_one_stopped(home, event) -> None:
    with start_writer(home.database) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()
    journal = await Journal.open(home.database)
    await journal.commit([event("next", RUN)])
    await journal.close()
    with open_reader(home) as reader:
        assert reader.events(RUN)[-1].kind == "next"


def test_a_reader_sees_whole_calls_while_another_process_writes(home) -> None:
    with start_writer(home.database) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            last = dict.fromkeys(range(1, SHEETS + 1), 0)
            seen = seq = 0
            with open_reader(home) as reader:
                for _ in range(60):
                    acknowledged = int(writer.stdout.readline())
                    with reader.snapshot():
                        events = reader.events(RUN, after_seq=seq)
                        attempts = [sheet.attempts for sheet in reader.sheets(RUN)]
                    for event in events:
                        seen, seq = seen + 1, event.seq
                        assert event.data["number"] == seen
                        last[seen % SHEETS + 1] = seen
                    assert attempts == list(last.values())
                    assert seen >= acknowledged
        finally:
            writer.kill()


async def test_a_job_of_a_thousand_sheets_stays_small(store, event) -> None:
    """Below 5 MB in all, with a retry for every sheet, three rules, and six events a sheet."""
    await store.journal.close()
    before = store.home.database.stat().st_size
    store.journal = journal = await Journal.open(store.home.database)
    score = "name: wide\n" + "# a line of the score that somebody wrote\n" * 500
    drafts = [SheetDraft(n, "cli", 1, n, description=f"part {n} of 1000") for n in range(1, 1001)]
    run_id = (await journal.submit(_draft(score), drafts)).run_id
    boot = "6f1b1a3e-0000-4000-8000-000000000001"
    for num in range(1, 1001):
        for attempt in (1, 2):
            passed = attempt == 2
            mode = AttemptMode.NORMAL if attempt == 1 else AttemptMode.COMPLETION
            status = SheetStatus.COMPLETED if passed else SheetStatus.RETRY_SCHEDULED
            reason = "" if passed else "completion after 5 s: 2 of 3 validations passed"
            results = [_result(rule, num, passed or rule > 0) for rule in range(3)]
            token = os.urandom(8).hex()
            intent = AttemptIntended(
                run_id, num, attempt, 1e9, token, boot, "cli", None, mode, "d" * 64, "p" * 64
            )
            details = {"instrument": "cli", "attempt": attempt, "validation_pass_rate": 66.7}
            journal.add(
                [
                    intent,
                    SheetSaved(run_id, num, SheetStatus.IN_PROGRESS, 1e9, attempts=attempt),
                    AttemptBegun(run_id, num, attempt, 1e9, 5000.123456),
                    event("sheet.started", run_id, num, **details),
                ]
            )
            journal.add(
                [
                    AttemptFinished(run_id, num, attempt, 1e9, Outcome(Ended.OK), results),
                    SheetSaved(run_id, num, status, 1e9, reason, attempts=attempt),
                    event("sheet.completed", run_id, num, duration_seconds=0.123456, **details),
                    event("sheet.retrying", run_id, num, reason=reason, **details),
                ]
            )
    await journal.commit([RunSaved(run_id, JobStatus.COMPLETED, 1e9)])
    await journal.close()
    grown = store.home.database.stat().st_size - before
    assert grown < 5_000_000
    with store.reader() as reader:
        assert reader.get_run(JobRef("wide")).completed == 1000


def _draft(score: str) -> RunDraft:
    return RunDraft("/home/somebody/scores/wide.yaml", score, "wide", "/home/somebody/w", 1e9)


def _result(rule: int, num: int, passed: bool) -> ValidationResult:
    return ValidationResult(
        rule,
        "file_exists",
        f"rule {rule} wants an output file",
        passed,
        path=f"/home/somebody/workspaces/wide/output-{num}.txt",
        expected="the file exists",
        actual="it exists" if passed else "no such file",
        reason="" if passed else "the file was not made",
        suggested_fix="" if passed else f"write the result to output-{num}.txt",
    )


async def test_a_reader_that_stays_does_not_stop_the_writer(store, event) -> None:
    with store.reader() as reader, reader.snapshot():
        assert reader.events() == []
        for _ in range(50):
            await store.journal.commit([event("e", fill="x" * 5000)])
        assert reader.events() == []
    assert len(store.kinds()) == 50


def test_a_program_may_leave_without_closing(home) -> None:
    script = LEAVES_WITHOUT_CLOSING.format(core=CORE, database=str(home.database))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    with open_reader(home) as reader:
        assert [event.kind for event in reader.events()][:1] == ["one"]


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1)")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=2m,mode=700 none "$0" && echo mounted && exec "$@" "$0"'
    script = FULL_DISK.format(core=CORE)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, str(tmp_path), sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "mounted" not in done.stdout:
        pytest.skip(f"no mounts here: {done.stderr.strip()[:80]}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "whole 3"
