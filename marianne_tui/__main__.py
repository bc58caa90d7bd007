"""Entry of `mzt`: nothing is imported before it is known what is asked for."""

from __future__ import annotations

import sys

from marianne_tui import __version__


def main(args: list[str] | None = None) -> int:
    """Run one command line and return its exit status.

    `--version` is answered here, before click is imported: programs ask for it often, and it
    must cost little more than the interpreter's own start.
    """
    arguments = sys.argv[1:] if args is None else args
    if arguments in (["--version"], ["-V"]) and sys.stdout is not None:
        sys.stdout.write(f"mzt {__version__}\n")
        return 0
    from marianne_tui.cli.guard import run_guarded

    return run_guarded(arguments)


if __name__ == "__main__":
    sys.exit(main())
