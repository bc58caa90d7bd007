"""`mzt logs JOB`: what the sheets wrote, from the files of their attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from marianne_core.model.errors import InputError
from marianne_core.model.runs import JobRef
from marianne_core.read.dialects import PLAIN
from marianne_core.remember.home import Home
from marianne_core.remember.queries import open_reader
from marianne_core.remember.rows import AttemptRow, RunRow
from marianne_tui.cli.guard import complain
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import COUNT, JOB, json_option, sheet_option
from marianne_tui.cli.reading import check_sheet, conductor_of, find_home
from marianne_tui.cli.tailing import Part, Printer, follow_parts

if TYPE_CHECKING:
    from marianne_core.config.profiles import Profiles

_LINES_OF_MANY = 20
"""Lines shown of every sheet when no sheet is named."""


@click.command(
    "logs", help="What a sheet wrote; without --sheet, the end of what each sheet wrote."
)
@click.argument("job", type=JOB)
@sheet_option("Only this sheet.")
@click.option(
    "--attempt",
    type=COUNT,
    metavar="N",
    help="This attempt instead of the last one.",
)
@click.option("--stderr", is_flag=True, help="Standard error instead of standard output.")
@click.option(
    "-f", "-F", "--follow", is_flag=True, help="Go on until the sheet (or the job) has ended."
)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the last N lines (default: all of one sheet, {_LINES_OF_MANY} of each of many).",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Unchanged bytes: an agent's events as they are, escape sequences, credentials.",
)
@json_option
def command(
    job: JobRef,
    sheet: int | None,
    attempt: int | None,
    stderr: bool,
    follow: bool,
    lines: int | None,
    raw: bool,
    as_json: bool,
) -> None:
    """Print, or follow, attempt files: events of agents as readable lines, all else as it is, cleaned
    and without credentials. `--raw` does neither, `--json` keeps events as they are."""
    if attempt is not None and sheet is None:
        raise click.UsageError("--attempt needs --sheet")
    if raw and as_json:
        raise click.UsageError("--raw and --json exclude each other")
    if lines is None and sheet is None:
        lines = _LINES_OF_MANY
    home = find_home()
    run, rows = _attempts(home, job, sheet, attempt)
    folder, dialects = home.run_dir(run.run_id), _Dialects()

    def part_of(row: AttemptRow) -> Part:
        dialect = PLAIN if raw or as_json else dialects.of(row.instrument)
        return Part.of(folder, row, stderr, dialect)

    parts = list(map(part_of, rows))
    # Sheets that write at the same time are told apart line by line.
    prefixed = follow and sheet is None and not raw and not as_json
    printer = Printer(
        headers=sheet is None,
        raw=raw,
        as_json=as_json and follow,
        prefix=len(str(run.sheets_total)) if prefixed else None,
    )
    if follow:
        if run.status.active and conductor_of(home) is None:
            complain("no conductor is running: the job does not move, only its files are followed")
        follow_parts(
            home, run, parts, printer, part_of=part_of, sheet=sheet, attempt=attempt, lines=lines
        )
        return
    if as_json:
        print_json(
            {
                "job_id": run.job_id,
                "run": run.run,
                "logs": [part.as_dict(lines) for part in parts],
            }
        )
        return
    if not parts:
        complain("no sheet has run yet" if sheet is None else f"sheet {sheet} has not run")
    for part in parts:
        if not part.path.exists():
            complain(f"the output of sheet {part.sheet}, attempt {part.attempt} is not there")
            continue
        printer.begin(part, lines, over=True)
        if part.offset == 0 and sheet is not None and lines != 0:
            stream = "stderr" if stderr else "stdout"
            complain(f"sheet {sheet}, attempt {part.attempt}: nothing on {stream}")


class _Dialects:
    """Whose events the instruments print, as their profiles say it now."""

    def __init__(self) -> None:
        self._profiles: Profiles | None = None

    def of(self, instrument: str) -> str:
        """The dialect of an instrument; plain text for one without a profile."""
        if self._profiles is None:
            # Imported here: `--raw` and `--json` need no profiles, and reading them takes a moment.
            from marianne_tui.cli.checking import find_profiles

            self._profiles = find_profiles()
        profile = self._profiles.get(instrument)
        return profile.cli.output.dialect if profile is not None and profile.cli else PLAIN


def _attempts(
    home: Home, job: JobRef, sheet: int | None, attempt: int | None
) -> tuple[RunRow, list[AttemptRow]]:
    """The last attempt of every sheet, or the one that was asked for. Raises InputError."""
    with open_reader(home) as reader, reader.snapshot():
        run = reader.get_run(job)
        check_sheet(run, sheet)
        rows = reader.attempts(run.run_id, sheet)
    last = {row.num: row for row in rows if attempt is None or row.attempt == attempt}
    if attempt is not None and not last:
        raise InputError(
            f"there is no attempt {attempt}",
            where=f"{run.job_id}#{run.run}",
            hint=f"{len(rows)} were made; mzt history {run.job_id} lists them",
        )
    return run, [row for _, row in sorted(last.items())]
