"""Options of the benchmarks. A wrong one is a sentence and exit status 2."""

from __future__ import annotations

import argparse
import os


def options(
    doc: str | None, *, sheets: int | None = None, rounds: int | None = None, dirs: bool = False
) -> argparse.Namespace:
    """What the command line says. Numbers are the defaults of options that a benchmark has."""
    parser = argparse.ArgumentParser(description=doc)
    if sheets is not None:
        text = "sheets of a measured job (default: %(default)s)"
        parser.add_argument("--sheets", type=whole_number, default=sheets, metavar="N", help=text)
    if rounds is not None:
        text = "how often each thing is measured (default: %(default)s)"
        parser.add_argument("--rounds", type=whole_number, default=rounds, metavar="N", help=text)
    if dirs:
        text = "where the state lies; once for each file system (default: the temporary folder)"
        parser.add_argument(
            "--dir",
            dest="dirs",
            action="append",
            default=[],
            type=_folder,
            metavar="FOLDER",
            help=text,
        )
    return parser.parse_args()


def whole_number(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return number


def _folder(text: str) -> str:
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    if not os.access(text, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"the folder {text!r} cannot be written")
    return text
