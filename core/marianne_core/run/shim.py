"""The shim: a few words of POSIX shell that outlive the conductor and write down how an attempt ended.

The shim is started in a session of its own with these descriptors: 0, 1 and 2 are the attempt's
input, output and errors; 3 is its status file, opened for appending and locked (flock) by the
conductor. It writes its pid as the first line, runs the instrument with descriptor 3 closed, and
appends `=<exit status>` as the last line. Nothing but the shim keeps descriptor 3, so the lock is
held exactly as long as the shim lives.

Why each word stands where it stands:

* The trap comes first: a TERM sent to the whole session must end the instrument, not the shim that
  has to report it. A trap with a command is not inherited by programs, so the instrument gets the
  default action.
* 125 and 124 tell "no status file" and "no working directory"; they mean that only when no `=`
  line follows.
* `"$@"` is an absolute path, or the shell would run its own `true`, `kill` or `test`.

A shim that is started ahead (`run/warm.py`) differs in one thing: its order, which the ordinary one
has as its arguments, comes through a pipe, and it writes no pid before it has it. An order that
never comes (the pipe ends) lets it leave as if it had never been.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

SHELL = "/bin/sh"
"""Any POSIX shell will do; tried with dash and bash."""

TOKEN_VARIABLE = "MARIANNE_ATTEMPT"
"""Environment variable that marks every process of an attempt with the attempt's token."""

STATUS_DESCRIPTOR = 3
"""Where the shim finds its status file."""

ORDER_DESCRIPTOR = 4
"""Where a shim that is started ahead finds the pipe that its order comes through."""

NO_STATUS_FILE = 125
NO_DIRECTORY = 124

_TRAP = "trap : HUP INT QUIT TERM;"
_AWAIT_ORDER = f". /dev/fd/{ORDER_DESCRIPTOR};exec {ORDER_DESCRIPTOR}<&-;[ $# -gt 0 ]||exit 0;"
_PLAY = (
    f"echo $$ >&{STATUS_DESCRIPTOR}||exit {NO_STATUS_FILE};"
    f'cd "$1"||exit {NO_DIRECTORY};shift;'
    f'"$@" {STATUS_DESCRIPTOR}>&-;s=$?;'
    f'echo "=$s">&{STATUS_DESCRIPTOR};exit $s'
)
SHIM_TEXT = _TRAP + _PLAY
WAITING_TEXT = _TRAP + _AWAIT_ORDER + _PLAY

_TOKEN = re.compile(r"[A-Za-z0-9_.:-]+(/[A-Za-z0-9_.:-]+)*")


def shim_name(token: str) -> str:
    """The name the shell gives itself in messages (`$0`): they are recognised by it."""
    return f"mzt-{token}"


def shim_argv(token: str, cwd: str, argv: Sequence[str]) -> list[str]:
    """The shim's own command line for an instrument's: `cwd` and `argv[0]` are absolute paths."""
    return ["sh", "-c", SHIM_TEXT, shim_name(token), cwd, *argv]


def waiting_argv(token: str) -> list[str]:
    """The command line of a shim that waits for its order."""
    return ["sh", "-c", WAITING_TEXT, shim_name(token)]


def order_text(cwd: str, argv: Sequence[str], *, stdin: bool) -> bytes:
    """What a waiting shim is told: the arguments that the ordinary one is started with.

    Without `stdin` the instrument reads nothing. The end of the pipe must follow the text.
    """
    read_nothing = "" if stdin else "exec </dev/null\n"
    return os.fsencode(f"set -- {shlex.join([cwd, *argv])}\n{read_nothing}")


def check_token(token: str) -> str:
    """The token itself. Raises ValueError unless it is plain letters, digits, `_ . : -`, with
    slashes between the parts of a derived token."""
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{token!r} is not a token")
    return token


def derived_token(token: str, part: str) -> str:
    """A token of something that belongs to `token` and can be told apart from it.

    Whoever looks for `token` finds its derived tokens as well, never the other way round.
    """
    return f"{token}/{part}"


def token_owners(token: str) -> list[str]:
    """The token and every token it is derived from: `a/b/c` belongs to itself, `a/b` and `a`."""
    parts = token.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
