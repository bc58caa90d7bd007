"""`mzt run SCORE`: run a score to its end, here or at the conductor that is running already."""

from __future__ import annotations

from pathlib import Path

import click

from marianne_core.config.daemon import DaemonConfig, load_daemon_config
from marianne_core.config.profiles import Profiles
from marianne_core.config.read import FileError
from marianne_core.model.errors import EXIT_INPUT, EXIT_OK, InputError, MztError
from marianne_core.model.problem import Severity
from marianne_core.model.requests import SubmitRequest
from marianne_core.model.runs import JobRef
from marianne_core.plan.sheets import Plan
from marianne_core.remember.job_ids import stem_of
from marianne_core.remember.queries import open_reader
from marianne_core.serve.client import Client
from marianne_tui.cli.checking import Checked, check, check_request
from marianne_tui.cli.output import print_json
from marianne_tui.cli.params import COUNT, SCORE, var_option
from marianne_tui.cli.planview import head_line, level_lines, plan_dict, prompt_lines, sheet_lines
from marianne_tui.cli.problems import count_words, has_errors, print_problems
from marianne_tui.cli.reading import find_home
from marianne_tui.cli.sanitize import one_line
from marianne_tui.cli.stakes import stake_lines
from marianne_tui.cli.style import counted
from marianne_tui.cli.variables import parse_variables
from marianne_tui.cli.views import make_view


@click.command(
    "run",
    help="Run a score to its end. Exit status 0 completed, 1 failed, 2 wrong input, 4 paused, left"
    " running or cancelled, 130 ended by Ctrl-C.",
)
@click.argument("score", type=SCORE)
@click.option(
    "-w", "--workspace", metavar="DIR", help="Work there instead of the score's workspace."
)
@click.option("--fresh", is_flag=True, help="Archive or empty the workspace first.")
@click.option("--replace", is_flag=True, help="Cancel a run of this score that is not over.")
@click.option(
    "-n", "--dry-run", is_flag=True, help="Show the plan and the first prompt; run nothing."
)
@click.option("-s", "--start-sheet", type=COUNT, metavar="N", help="Skip the sheets before N.")
@var_option
@click.option(
    "--json", "as_json", is_flag=True, help="Events as NDJSON; the last line is the status."
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless the job does not complete.")
@click.pass_context
def command(
    ctx: click.Context,
    score: str,
    workspace: str | None,
    fresh: bool,
    replace: bool,
    dry_run: bool,
    start_sheet: int | None,
    pairs: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Check the score as `validate` does, then submit and follow it."""
    variables = parse_variables(pairs)
    settings = load_daemon_config()
    folder = Path(workspace).expanduser().absolute() if workspace else None
    plan, remark, profiles = _checked_plan(ctx, Path(score), folder, variables, settings)
    check_request(plan, start_sheet)
    stakes = stake_lines(plan, profiles, settings, start_sheet)
    if dry_run:
        _show(plan, start_sheet, stakes, as_json)
        ctx.exit(EXIT_OK)
    request = SubmitRequest(
        config_path=str(plan.path),
        workspace=str(folder) if folder else None,
        fresh=fresh,
        replace=replace,
        start_sheet=start_sheet,
        variables=dict(variables),
        client_cwd=str(Path.cwd()),
    )
    # Imported here: a dry run and a score with errors need no conductor.
    from marianne_tui.cli.conducting import Target, conduct

    async def submit(client: Client) -> Target:
        reply = await client.submit(request)
        if reply.status != "accepted":
            raise _rejection(reply.message, reply.exit_code)
        if other := _other_id(plan.path, reply.job_id):
            view.say(other)
        return Target(reply.job_id, reply.run)

    view = make_view(as_json=as_json, quiet=quiet)
    if remark:
        view.say(remark)
    if not as_json:
        for line in stakes:
            view.say(line)
    ctx.exit(conduct(find_home(), settings, submit, view))


def _checked_plan(
    ctx: click.Context,
    path: Path,
    workspace: Path | None,
    variables: dict[str, str | int | float | bool],
    settings: DaemonConfig,
) -> tuple[Plan, str, Profiles]:
    """The plan of a score without errors, a remark, and the instruments it was planned with; with
    errors the command ends here."""
    try:
        found: Checked = check(
            path,
            workspace=workspace,
            variables=variables,
            thinking_method=settings.default_thinking_method,
            to_run=True,
        )
    except FileError as error:
        print_problems(error.problems, err=True)
        ctx.exit(EXIT_INPUT)
    if found.plan is None or has_errors(found.problems):
        print_problems(found.problems, err=True)
        click.echo(f"mzt: {one_line(path)} was not run: {count_words(found.problems)}", err=True)
        ctx.exit(EXIT_INPUT)
    return found.plan, _remark(found, path), found.profiles


def _other_id(path: Path, job_id: str) -> str:
    """One line when the job is not named after its score, since another file came first; else ""."""
    wanted = stem_of(str(path))
    if job_id == wanted:
        return ""
    with open_reader(find_home()) as reader:
        first = reader.find_run(JobRef(wanted))
    owner = f" belongs to {first.score_path}" if first is not None else " was another file's"
    return f"its job is {job_id}: the id {wanted}{owner}"


def _remark(found: Checked, path: Path) -> str:
    """One line when the score has more to be told than fits here; "" when it has not."""
    parts = []
    warnings = sum(problem.severity is Severity.WARNING for problem in found.problems)
    if warnings:
        parts.append(counted(warnings, "warning"))
    if found.not_in_effect:
        parts.append(f"{counted(len(found.not_in_effect), 'field')} not yet in effect")
    return f"{', '.join(parts)}: mzt validate {path} shows more" if parts else ""


def _rejection(message: str, exit_code: int) -> MztError:
    """The conductor's refusal as an error: its text holds the hint on a line of its own."""
    what, _, hint = message.partition("\n  hint: ")
    error = InputError(what, hint=hint)
    error.exit_code = exit_code or EXIT_INPUT
    return error


def _show(plan: Plan, start_sheet: int | None, stakes: list[str], as_json: bool) -> None:
    first = start_sheet or 1
    if as_json:
        print_json({**plan_dict(plan, sheets=True), "start_sheet": start_sheet})
        return
    lines = [head_line(plan), *sheet_lines(plan, start_sheet), *level_lines(plan), *stakes, ""]
    lines += [*prompt_lines(plan, first, whole=False), "", "dry run: nothing was started"]
    click.echo("\n".join(lines))
