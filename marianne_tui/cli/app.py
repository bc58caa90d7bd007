"""The command group: a command's module is imported only when it is called."""

from __future__ import annotations

import importlib
from typing import Any

import click

from marianne_core.model.errors import EXIT_INTERRUPTED, EXIT_OK
from marianne_tui import __version__
from marianne_tui.cli.catalogue import ENTRIES, SECTIONS
from marianne_tui.cli.guard import complain

_ADVICE = "\n"
"""Between a mistake and what to do about it."""

_ABOUT = """Conduct command-line agents: a score says what, mzt plans it, runs it, checks what was
made, and remembers everything."""


class LazyGroup(click.Group):
    """A group that knows its commands from a table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = ENTRIES.get(name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.target), "command", None)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} has no command")
        command.short_help = entry.summary
        command.epilog = f"\b\nExample:\n  {entry.example}"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in ENTRIES or name.startswith("-"):
            return super().resolve_command(ctx, args)
        import difflib

        near = difflib.get_close_matches(name, ENTRIES, n=1)
        if near:
            advice = f"did you mean '{near[0]}'?"
        elif name.endswith((".yaml", ".yml")):
            advice = f"to run a score: mzt run {name}"
        else:
            advice = "mzt --help lists them"
        raise click.UsageError(f"no such command '{name}'{_ADVICE}{advice}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, ENTRIES))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                for entry in entries:
                    formatter.write(f"  {entry.name:<{width}}  {entry.summary}\n")
                    formatter.write(f"  {'':<{width}}  $ {entry.example}\n")


@click.group(
    cls=LazyGroup,
    help=_ABOUT,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    __version__, "-V", "--version", prog_name="mzt", message="%(prog)s %(version)s"
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors (anywhere on the line).")
@click.pass_context
def cli(ctx: click.Context, /, **_options: Any) -> None:
    """Show the help when no command is given."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _in_one_line(message: str) -> tuple[str, str]:
    """Click's sentence the way ours look, and the advice that a command of ours put behind it."""
    what, _, advice = message.partition(_ADVICE)
    what = what.strip().removesuffix(".")
    return what[:1].lower() + what[1:], advice


def run_click(arguments: list[str]) -> int:
    """Run a command line through click; returns the exit status. Errors of ours pass through."""
    try:
        result = cli.main(arguments, prog_name="mzt", standalone_mode=False)
    except SystemExit:
        # Click's own way to end when the reader of the output has gone away.
        return EXIT_OK
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as mistake:
        what, hint = _in_one_line(mistake.format_message())
        where = mistake.ctx if isinstance(mistake, click.UsageError) else None
        complain(what, hint=hint or (f"{where.command_path} --help" if where else ""))
        return mistake.exit_code
    return result if isinstance(result, int) else 0
