"""Around every command: errors become one or two lines and an exit status, never a traceback."""

from __future__ import annotations

import contextlib
import os
import sys

from marianne_core.model.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, MztError
from marianne_tui.cli.fast import fast_call
from marianne_tui.cli.sanitize import clean, one_line


def run_guarded(arguments: list[str]) -> int:
    """Run a command line; returns the exit status.

    `--debug` anywhere before a `--` (or MARIANNE_DEBUG=1) shows tracebacks too. A reader that
    goes away (`mzt logs x | head`) is not an error.
    """
    _open_missing_streams()
    _be_lenient_about_encodings()
    arguments, debug = _take_debug(arguments)
    try:
        status = _run(arguments, debug)
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_stdout()
        return 0
    except OSError as error:
        if debug:
            _show_traceback()
        _let_go_of_stdout()
        complain(f"cannot write the output: {error.strerror or error}")
        return EXIT_FAILED
    return status


def _run(arguments: list[str], debug: bool) -> int:
    try:
        if "_MZT_COMPLETE" not in os.environ and (call := fast_call(arguments)) is not None:
            call()
            return 0
        # Click is imported only for what the fast way does not know.
        from marianne_tui.cli.app import run_click

        return run_click(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except MztError as error:
        if debug:
            _show_traceback()
        show_error(error)
        return error.exit_code
    except OSError as error:
        if debug:
            _show_traceback()
        if _here_is_gone():
            complain("the current directory does not exist any more", hint="cd to another one")
            return EXIT_INPUT
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
        return EXIT_FAILED
    except Exception as error:
        if debug:
            _show_traceback()
        complain(
            f"internal error: {type(error).__name__}: {error}",
            hint="this is a fault of mzt"
            + ("" if debug else "; the same command with --debug shows where"),
        )
        return EXIT_FAILED


def _show_traceback() -> None:
    import traceback  # slow to import, and seldom wanted

    with contextlib.suppress(OSError):
        print(clean(traceback.format_exc()), end="", file=sys.stderr, flush=True)


def show_error(error: MztError) -> None:
    """Print an error as people read it, on stderr."""
    complain(f"{error.where}: {error.what}" if error.where else error.what, hint=error.hint)


def complain(what: str, *, hint: str = "") -> None:
    """`mzt: what` and, below it, what to do."""
    lines = [f"mzt: {one_line(what)}"]
    if hint:
        lines.append(f"  hint: {one_line(hint)}")
    with contextlib.suppress(OSError):
        print(clean("\n".join(lines)), file=sys.stderr, flush=True)


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [a for a in arguments[:end] if a != "--debug"] + arguments[end:]
    asked = len(kept) < len(arguments) or os.environ.get("MARIANNE_DEBUG", "") not in ("", "0")
    return kept, asked


def _here_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _open_missing_streams() -> None:
    """Standard streams that the caller closed lead nowhere instead.

    A file that was opened in their place (the database, an agent's output) would otherwise get
    what is meant for the terminal.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _be_lenient_about_encodings() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _let_go_of_stdout() -> None:
    """Point stdout elsewhere, so that the interpreter's own flush at exit stays quiet."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
