"""A score whose sheets wait for gates that a test opens, and programs that run beside the test."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from marianne_core.model.runs import JobRef
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from tests.programs import Program

from .conftest import program_env


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def started(tmp_path: Path, *arguments: str, open_at_end: bool = True) -> Iterator[Program]:
    """`mzt ARGUMENTS` in the background; what is left of it is ended, its sheets if gates may open."""
    process = Program(
        ["-m", "marianne_tui", *arguments],
        env=program_env(tmp_path / "state"),
        cwd=tmp_path,
        stderr=True,
    )
    try:
        yield process
    finally:
        if open_at_end:
            open_gates(tmp_path)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.close()


def run_status(folder: Path, job: str = "gate") -> str:
    """Status of a job in the store, "" when there is none yet."""
    with open_reader(Home(folder / "state")) as reader:
        run = reader.find_run(JobRef(job))
        return "" if run is None else str(run.status)


def sheet_statuses(folder: Path, job: str = "gate") -> list[str]:
    """Statuses of its sheets."""
    with open_reader(Home(folder / "state")) as reader:
        run = reader.find_run(JobRef(job))
        return [] if run is None else [str(sheet.status) for sheet in reader.sheets(run.run_id)]


def wait_for_sheet(folder: Path, job: str = "gate") -> None:
    """Wait until the first sheet of a job runs."""
    until(lambda: sheet_statuses(folder, job)[:1] == ["in_progress"])


def open_gates(folder: Path) -> None:
    """Let every sheet end."""
    for number in (1, 2, 3):
        (folder / f"open-{number}").touch()


def shim_of(folder: Path, job: str = "gate") -> int:
    """Pid of the shim of a job's first attempt."""
    home = Home(folder / "state")
    with open_reader(home) as reader:
        run = reader.get_run(JobRef(job))
    file = home.run_dir(run.run_id) / "1.1.st"
    until(lambda: file.exists() and file.read_text() != "")
    return int(file.read_text().split()[0])


def alive(pid: int) -> bool:
    """True while the process runs; one that nobody has waited for yet does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
