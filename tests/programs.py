"""Programs of this house in processes of their own, started in a fifth of the time.

Most of what `mzt` needs to start is importing. So one process imports once, and each program is a
fork of it, taken before it did anything: a process of its own, with its own signals, files, folder
and environment, that ends as an interpreter ends. Where an interpreter's own start makes a
difference, a test starts the program itself. `/proc/PID/environ` of such a program is not its own;
of what it starts it is.

With `MZT_TEST_FORKS=0` every program is an interpreter that starts anew.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_ROOT = Path(__file__).resolve().parent.parent
FORKS = os.environ.get("MZT_TEST_FORKS") != "0"
"""Programs are forks; False: interpreters of their own."""
_LARGEST = 1 << 20
"""Bytes of a request: a command line and an environment."""
_SCORE = """\
name: warm
workspace: .
instrument: cli
sheet: {size: 1, total_items: 1}
prompt: {template: "true"}
validations: [{type: command_succeeds, command: "true"}]
"""
"""Read once, since pydantic makes its validators when they are first needed."""


class Program:
    """A running program; has what tests need of `subprocess.Popen`."""

    def __init__(
        self,
        target: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str | None = None,
        stdin: bool = False,
        stderr: bool = False,
    ) -> None:
        """`target`: the path of a program in Python, or `-m` and a module, with its arguments. What it
        prints is read from `stdout`; with `stdin` and `stderr` there are pipes for these, too (else an
        empty input, and the errors of the test)."""
        theirs: list[int] = []
        files: list[IO[str] | None] = []
        for wanted, mode in ((stdin, "w"), (True, "r"), (stderr, "r")):
            if wanted:
                ends = os.pipe()
                theirs.append(ends[mode == "r"])
                files.append(os.fdopen(ends[mode == "w"], mode, encoding="utf-8"))
            else:
                theirs.append(os.dup(2) if mode == "r" else os.open(os.devnull, os.O_RDONLY))
                files.append(None)
        self._word, word = os.pipe()
        request = {"target": list(target), "env": dict(env), "cwd": str(cwd or os.getcwd())}
        socket.send_fds(_server(), [json.dumps(request).encode()], [*theirs, word])
        for fd in (*theirs, word):
            os.close(fd)
        self.stdin, stdout, self.stderr = files
        assert stdout is not None
        self.stdout: IO[str] = stdout
        self._heard = b""
        while b"\n" not in self._heard:
            piece = os.read(self._word, 64)
            assert piece, "the program could not be started"
            self._heard += piece
        pid, _, self._heard = self._heard.partition(b"\n")
        self.pid = int(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        self._hear(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        self._hear(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"program {self.pid}", timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All the rest that it writes, and `close`. Raises subprocess.TimeoutExpired."""
        texts = ["", ""]

        def read(at: int, file: IO[str] | None) -> None:
            texts[at] = file.read() if file is not None else ""

        readers = [
            threading.Thread(target=read, args=(at, file), daemon=True)
            for at, file in enumerate((self.stdout, self.stderr))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(f"program {self.pid}", timeout or 0.0)
        self.wait(timeout)
        self.close()
        return texts[0], texts[1]

    def close(self) -> None:
        """Close what is open of it on this side."""
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                with contextlib.suppress(BrokenPipeError):
                    file.close()
        if self._word >= 0:
            os.close(self._word)
            self._word = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.returncode is None and self._word >= 0:
            self.wait()
        self.close()

    def _hear(self, timeout: float | None) -> None:
        """Wait for the word of its end, at most so many seconds."""
        while self.returncode is None and b"\n" not in self._heard:
            readable, _, _ = select.select([self._word], [], [], timeout)
            if not readable:
                return
            piece = os.read(self._word, 64)
            assert piece, "whoever waits for the program was killed"
            self._heard += piece
        if self.returncode is None:
            self.returncode = int(self._heard)


# --- the process that is forked ------------------------------------------------------------------

_control: socket.socket | None = None


def _server() -> socket.socket:
    """Where requests go; the process that takes them is started with the first one."""
    global _control
    if _control is None:
        _control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # It is nobody's child but that of these tests, and ends when they do.
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(str(_ROOT / name) for name in ("core", ".")),
                "PYTHONUTF8": "1",
            },
        )
        theirs.close()
        atexit.register(process.wait)
        atexit.register(_control.close)
    return _control


def _serve(control: socket.socket) -> Sequence[str] | None:
    """Take requests; returns in the process of a program, with what it is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while True:
        data, fds, _, _ = socket.recv_fds(control, _LARGEST, 8)
        if not data:
            return None
        if os.fork() == 0:
            break
        for fd in fds:
            os.close(fd)
    # The keeper: tells the program's pid, and how it ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control.close()
    *stdio, word = fds
    pid = os.fork()
    if pid:
        for fd in stdio:
            os.close(fd)
        os.write(word, b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            os.write(word, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(word)
    request = json.loads(data)
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = sys.__stdin__ = _text(0, "rb", "surrogateescape")
    sys.stdout = sys.__stdout__ = _text(1, "wb", "surrogateescape")
    sys.stderr = sys.__stderr__ = _text(2, "wb", "backslashreplace")
    # It hears every signal, also where the tests themselves run under nohup.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None
    random.seed()
    target: Sequence[str] = request["target"]
    if not FORKS:
        os.execve(sys.executable, [sys.executable, *target], request["env"])
    return target


def _text(fd: int, mode: str, errors: str) -> io.TextIOWrapper:
    """A standard stream as the interpreter makes it in UTF-8 mode."""
    file = os.fdopen(fd, mode, closefd=False)
    line_by_line = fd == 2 or os.isatty(fd)
    return io.TextIOWrapper(file, "utf-8", errors, line_buffering=line_by_line)


def _import() -> None:
    """All that programs need, and nothing that depends on where they run."""
    for name in (
        "marianne_tui.cli.app",
        "marianne_tui.cli.commands.run",
        "marianne_tui.cli.conducting",
    ):
        importlib.import_module(name)
    from marianne_core.config.daemon import DaemonConfig
    from marianne_core.config.load import score_from_text
    from marianne_core.config.profiles import load_profiles

    score_from_text(_SCORE, Path("/warm.yaml"))
    load_profiles([])
    DaemonConfig()


def main() -> None:
    """Be forked, and run programs in the forks."""
    control = socket.socket(fileno=int(sys.argv[1]))
    if FORKS:
        _import()
    target = _serve(control)
    if target is None:
        return
    first, *rest = target
    if first == "-m":
        sys.argv[:] = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = list(target)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    main()
