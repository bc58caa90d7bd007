"""`mzt completion SHELL`: the script that makes the shell complete commands, options and jobs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'add to ~/.bashrc:  eval "$(mzt completion bash)"',
    "zsh": 'add to ~/.zshrc after compinit:  eval "$(mzt completion zsh)"',
    "fish": "write it to ~/.config/fish/completions/mzt.fish",
}


@click.command("completion", help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(sorted(_HOW)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script, and on a terminal also where it belongs."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click cannot complete for {shell}")
    root = ctx.find_root().command
    # The script itself, without click's check of the installed shell: it may be made for a shell
    # of another machine, and starting one here would cost time.
    maker = kind(root, {}, "mzt", "_MZT_COMPLETE")
    click.echo(f"# {_HOW[shell]}")
    click.echo(maker.source_template % maker.source_vars())
