"""`mzt completion SHELL`: the script that makes the shell complete commands, options and jobs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'add to ~/.bashrc:  eval "$(mzt completion bash)"',
    "zsh": 'add to ~/.zshrc after compinit:  eval "$(mzt completion zsh)"; or write it to a file'
    " _mzt in a folder of $fpath",
    "fish": "write it to ~/.config/fish/completions/mzt.fish",
}

_AFTER = {
    "bash": """
        elif [[ $type == 'file' ]]; then""",
    "zsh": """
        elif [[ "$type" == "file" ]]; then""",
    "fish": """
        else if test $metadata[1] = "file";""",
}
"""Before this line of click's script stands what completes scores."""
_SCORES = {
    "bash": """
        elif [[ $type == 'score' ]]; then
            compopt -o filenames
            COMPREPLY+=($(compgen -d -- "$value"; compgen -f -X '!*.yaml' -- "$value"
                compgen -f -X '!*.yml' -- "$value"))""",
    "zsh": """
        elif [[ "$type" == "score" ]]; then
            _files -g '*.(yaml|yml)'""",
    "fish": r"""
        else if test $metadata[1] = "score";
            __fish_complete_path $metadata[2] | string match -r '^[^\t]*(?:/|\.ya?ml)(?:\t.*)?$';""",
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
    template = maker.source_template.replace(_AFTER[shell], _SCORES[shell] + _AFTER[shell], 1)
    script = (template % maker.source_vars()).strip("\n")
    if shell == "zsh":
        # By its first line zsh knows a file in its fpath for what it is.
        first, _, script = script.partition("\n")
        click.echo(first)
    click.echo(f"# {_HOW[shell]}")
    click.echo(script)
