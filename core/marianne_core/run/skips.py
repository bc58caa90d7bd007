"""Whether a sheet is skipped before anything of it starts: `skip_when` and `skip_when_command`."""

from __future__ import annotations

from collections.abc import Mapping

from marianne_core.model.errors import MztError
from marianne_core.model.states import SheetStatus
from marianne_core.plan.expressions import ExpressionError
from marianne_core.plan.placeholders import expand_known
from marianne_core.plan.sheets import Plan
from marianne_core.plan.shell_quoting import quoter
from marianne_core.plan.skip import JobFacts, SheetFacts, SheetTable, parse_skip
from marianne_core.run.active import ActiveRun, Playing
from marianne_core.run.command import run_command
from marianne_core.run.launcher import LaunchError
from marianne_core.run.system_errors import shortage_of, words_of

_OUTPUT_CHARS = 100_000
"""How much of an output an expression sees."""


class _OutputError(Exception):
    """An output that an expression asks about is not to be had."""


def may_be_skipped(plan: Plan, num: int) -> bool:
    """Whether the score asks, before the sheet's first try, if it is skipped."""
    sheet = plan.config.sheet
    if not sheet.skip_when and not sheet.skip_when_command:
        return False
    return plan.skip_condition(num) is not None or plan.skip_command(num) is not None


def has_skip_command(attempt: Playing) -> bool:
    """Whether a command of the score is run to find out if the sheet is skipped."""
    return attempt.run.plan.skip_command(attempt.num) is not None


async def reason_to_skip(attempt: Playing, env: Mapping[str, str]) -> tuple[str, str]:
    """Why the sheet is skipped, or ""; and a warning about a command that could not answer, or "".

    A command that fails, times out or cannot be started does not skip (field reference, section
    1.2). Raises MztError for a `skip_when` that cannot be worked out, LaunchError or OSError when
    the system is short of what the command needs: that must not make a sheet run.
    """
    run, num = attempt.run, attempt.num
    text = run.plan.skip_condition(num)
    if text is not None and _holds(run, text):
        return f"skip_when: {text}", ""
    command = run.plan.skip_command(num)
    if command is None:
        return "", ""
    shown = command.description or command.command
    run.plan.workspace.mkdir(exist_ok=True)
    line = expand_known(command.command, {"workspace": str(run.plan.workspace)}, quoter)
    try:
        ran = await run_command(
            line,
            cwd=run.plan.workspace,
            env=env,
            token=attempt.token,
            timeout=command.timeout_seconds,
        )
    except LaunchError as error:
        if shortage_of(error) is not None:
            raise
        return "", f"skip_when_command could not be started: {error.what}; the sheet runs"
    if ran.timed_out:
        return "", f"skip_when_command took over {command.timeout_seconds:g} s; the sheet runs"
    return (f"skip_when_command: {shown}", "") if ran.ok else ("", "")


def _holds(run: ActiveRun, text: str) -> bool:
    plan = run.plan
    table = SheetTable(plan.total_sheets, lambda num: _facts(run, num))
    job = JobFacts(
        job_id=run.job_id,
        run=run.number,
        name=plan.config.name,
        total_sheets=plan.total_sheets,
        total_movements=plan.total_stages,
        workspace=str(plan.workspace),
        variables=plan.variables,
    )
    try:
        return parse_skip(text).holds(table, job)
    except (ExpressionError, _OutputError) as error:
        raise MztError(f"skip_when cannot be worked out: {error}", where=text) from error


def _facts(run: ActiveRun, num: int) -> SheetFacts:
    sheet = run.plan.sheet(num)
    last = run.lasts.get(num)
    return SheetFacts(
        num=num,
        movement=sheet.movement,
        instance=sheet.instance,
        status=run.status_of(num),
        attempts=last.attempt if last else 0,
        exit_code=last.exit_code if last else None,
        pass_rate=last.pass_rate if last else None,
        instrument=sheet.instrument,
        read_output=lambda: _output(run, num),
    )


def _output(run: ActiveRun, num: int) -> str:
    path = run.stdout_of(num)
    if path is None or run.status_of(num) is not SheetStatus.COMPLETED:
        return ""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_OUTPUT_CHARS)
    except OSError as error:
        if shortage_of(error) is not None:
            raise
        raise _OutputError(
            f"the output of sheet {num} cannot be read: {words_of(error)}"
        ) from error
