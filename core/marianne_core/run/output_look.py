"""What the store says about a sheet whose output is asked for: its attempts, and whether it is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from marianne_core.model.errors import InputError, StateError
from marianne_core.model.output import OutputEnd, OutputRequest
from marianne_core.model.runs import JobRef
from marianne_core.model.states import SheetStatus
from marianne_core.remember.home import Home
from marianne_core.remember.queries import Reader, open_reader
from marianne_core.remember.rows import AttemptRow, RunRow, SheetRow
from marianne_core.run.attempt_files import AttemptFiles


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the store. What is over in it has written all that it ever writes."""

    run: RunRow
    sheet: SheetRow
    attempts: tuple[AttemptRow, ...]
    """Those of which something was started, in order."""

    @property
    def newest(self) -> AttemptRow | None:
        """The last attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def over(self) -> bool:
        """No further attempt comes by itself."""
        return self.run.status.terminal or self.sheet.status.terminal

    @property
    def coming(self) -> bool:
        """An attempt is being started of which the store has nothing yet."""
        playing = self.sheet.status is SheetStatus.IN_PROGRESS and not self.run.status.terminal
        return playing and (self.newest is None or self.newest.ended is not None)

    def after(self, number: int) -> AttemptRow | None:
        """The first attempt after that one."""
        return next((row for row in self.attempts if row.attempt > number), None)

    def attempt(self, number: int) -> AttemptRow | None:
        """The attempt of that number."""
        return next((row for row in self.attempts if row.attempt == number), None)

    def end(self) -> OutputEnd:
        """Why nothing more comes."""
        return OutputEnd(str(self.sheet.status), self.sheet.reason)


def first_look(home: Home, request: OutputRequest) -> Look:
    """Find what is asked for. Raises UnknownJobError, and InputError for a sheet or an attempt that
    there is not. Blocks."""
    ref = JobRef.parse(request.job)
    with open_reader(home) as reader, reader.snapshot():
        run = reader.get_run(ref)
        look = _look(reader, run, request.sheet)
    where = f"{run.job_id}#{run.run}"
    if look is None:
        raise InputError(
            f"there is no sheet {request.sheet}",
            where=where,
            hint=f"it has sheets 1 to {run.sheets_total}",
        )
    if request.attempt is not None and look.attempt(request.attempt) is None:
        count = len(look.attempts)
        raise InputError(
            f"there is no attempt {request.attempt}",
            where=f"{where}, sheet {request.sheet}",
            hint=f"{count} were made; mzt history {run.job_id} lists them",
        )
    return look


def look_again(home: Home, run_id: int, num: int) -> Look | None:
    """The same sheet now; None when its run was cleared. Blocks."""
    with open_reader(home) as reader, reader.snapshot():
        run = reader.run(run_id)
        return None if run is None else _look(reader, run, num)


def file_of(home: Home, run_id: int, row: AttemptRow, *, stderr: bool) -> Path:
    """The file that an attempt writes."""
    files = AttemptFiles(home.run_dir(run_id), row.num, row.attempt)
    return files.stderr if stderr else files.stdout


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Read a file inside: raises StateError, with its name, where the system does not let it be read."""
    try:
        yield
    except OSError as error:
        what = f"the output cannot be read: {error.strerror or error}"
        raise StateError(what, where=str(path)) from error


def _look(reader: Reader, run: RunRow, num: int) -> Look | None:
    sheets = reader.sheets(run.run_id, after=num - 1, limit=1)
    if not sheets or sheets[0].num != num:
        return None
    return Look(run, sheets[0], tuple(reader.attempts(run.run_id, num)))
