"""`python -I -S .../marianne_core/ask/__main__.py OPTION VALUE ...`: the prompt comes through stdin."""

from __future__ import annotations

import sys
from os.path import abspath, dirname


def _start() -> int:
    # Last, so that nothing beside the package stands before the standard library.
    sys.path.append(dirname(dirname(dirname(abspath(__file__)))))
    from marianne_core.ask.turn import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_start())
