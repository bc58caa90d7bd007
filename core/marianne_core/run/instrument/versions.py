"""Versions of programs: asked of all at once, and remembered until a program's file is another.

Some agents take seconds to say their version, so a listing that asked every time would be slow.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import regex

from marianne_core.model.errors import StateError
from marianne_core.remember.home import private_folder

KEPT_FOR = 86_400.0
"""Seconds for which an answer counts: a wrapper (of nvm, asdf, mise) stays the same file while what
it starts is replaced."""

_VERSION = regex.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+(?:[-+][\w.+-]+)?)")
_LONGEST_ANSWER = 16_384
"""Bytes of what a program prints that are looked through."""


@dataclass(frozen=True, slots=True)
class Question:
    """A program that is to say its version."""

    program: str
    """Absolute path."""
    arguments: tuple[str, ...]
    """With which it says its version and leaves."""
    env: Mapping[str, str]
    """The whole environment it gets."""


def version_in(text: str) -> str | None:
    """The first number with a point in it (`codex-cli 0.169.0` has `0.169.0`), or None."""
    found = _VERSION.search(text)
    return found[1] if found else None


class _Asked:
    """A program that was asked and may still be thinking."""

    def __init__(self, question: Question, out: IO[bytes], err: IO[bytes]) -> None:
        """Start it: without a terminal and input, in a folder that is not the person's."""
        self._out, self._err = out, err
        self._process: subprocess.Popen[bytes] | None = None
        # One that cannot be started says nothing.
        with contextlib.suppress(OSError, ValueError):
            self._process = subprocess.Popen(
                [question.program, *question.arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env=dict(question.env),
                cwd="/",
                start_new_session=True,
            )

    @property
    def thinks(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def heard(self) -> str | None:
        """The version that it said; None for none, and while it runs."""
        if self._process is None or self.thinks:
            return None
        for file in (self._out, self._err):
            file.seek(0)
            text = file.read(_LONGEST_ANSWER).decode("utf-8", errors="replace")
            if version := version_in(text):
                return version
        return None

    def end(self) -> None:
        """End it with what it started, if it runs."""
        if self._process is not None and self.thinks:
            # Not reaped yet, so the number of its group is still its own.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait for its end."""
        if self._process is not None:
            self._process.wait()


def ask_all(questions: Sequence[Question], seconds: float) -> list[str | None]:
    """What programs say their versions are, in order; None for one that says none in time or cannot
    be started. They are asked all at once, get `seconds` together, and are ended after that.

    By one thread: a second Ctrl-C in the middle of waiting for others would leave programs behind.
    """
    deadline = time.monotonic() + seconds
    asked: list[_Asked] = []
    with contextlib.ExitStack() as files:
        try:
            for question in questions:
                out = files.enter_context(tempfile.TemporaryFile())
                err = files.enter_context(tempfile.TemporaryFile())
                asked.append(_Asked(question, out, err))
            while any(each.thinks for each in asked) and time.monotonic() < deadline:
                time.sleep(_GLANCE)
            return [each.heard() for each in asked]
        finally:
            for each in asked:
                each.end()
            for each in asked:
                each.wait()


_GLANCE = 0.01
"""Seconds after which it is looked again who has answered."""


class Versions:
    """Versions of programs, with a memory in the state directory."""

    def __init__(self, file: Path) -> None:
        """`file` holds what was heard before; it need not be there."""
        self._file = file

    def known(self, questions: Sequence[Question]) -> list[str | None]:
        """What is remembered; nothing is started."""
        memory = self._read()
        return [_remembered(memory, question) for question in questions]

    def of(
        self, questions: Sequence[Question], *, seconds: float, anew: bool = False
    ) -> list[str | None]:
        """The version of each program, in order; None where it is not known.

        Those that are not remembered are asked, all at once, and get `seconds` together; with
        `anew` all are asked.
        """
        memory = self._read()
        found = [None if anew else _remembered(memory, question) for question in questions]
        open_ = [place for place, version in enumerate(found) if version is None]
        if not open_:
            return found
        answers = ask_all([questions[place] for place in open_], seconds)
        for place, version in zip(open_, answers, strict=True):
            found[place] = version
        heard = {
            _key(questions[place]): {**mark, "version": version, "at": time.time()}
            for place in open_
            if (version := found[place]) and (mark := _mark(questions[place].program))
        }
        if heard:
            self._write({**memory, **heard})
        return found

    def _read(self) -> dict[str, Any]:
        try:
            memory = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}  # nothing was remembered, or nothing that can be read: all are asked again
        return memory if isinstance(memory, dict) else {}

    def _write(self, memory: Mapping[str, Any]) -> None:
        """Remember; where that is not possible the programs are asked again the next time."""
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with contextlib.suppress(OSError, StateError):
            private_folder(self._file.parent)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(memory, file)
            part.replace(self._file)


def _key(question: Question) -> str:
    return "\0".join((os.path.realpath(question.program), *question.arguments))


def _mark(program: str) -> dict[str, int]:
    """What changes when a program is replaced. Packages carry the time of their making, so the
    modification alone would not tell; the change of the file's entry does."""
    try:
        found = os.stat(program)
    except OSError:
        return {}
    return {"inode": found.st_ino, "size": found.st_size, "changed": found.st_ctime_ns}


def _remembered(memory: Mapping[str, Any], question: Question) -> str | None:
    entry = memory.get(_key(question))
    mark = _mark(question.program)
    if not isinstance(entry, dict) or not mark or any(entry.get(k) != v for k, v in mark.items()):
        return None
    version, at = entry.get("version"), entry.get("at")
    if not isinstance(version, str) or not isinstance(at, int | float):
        return None
    return version if 0 <= time.time() - at < KEPT_FOR else None
