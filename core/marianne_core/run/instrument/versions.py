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
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def ask(question: Question, seconds: float, stop: threading.Event | None = None) -> str | None:
    """What a program says its version is; None when it says none in time, or cannot be started.

    Setting `stop` ends the waiting. It has no terminal and no input, works in a folder that is not the person's, and is ended with
    what it started when its time is over.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                [question.program, *question.arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(question.env),
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError):
            return None
        if not _ended(process, seconds, stop or threading.Event()):
            # Not reaped yet, so the number of its group is still its own.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None
        for file in (out, err):
            file.seek(0)
            text = file.read(_LONGEST_ANSWER).decode("utf-8", errors="replace")
            if version := version_in(text):
                return version
    return None


def _ended(process: subprocess.Popen[bytes], seconds: float, stop: threading.Event) -> bool:
    """Wait for its end; False when the time is over, or nobody wants to know any more."""
    deadline = time.monotonic() + seconds
    while not stop.is_set():
        left = deadline - time.monotonic()
        try:
            process.wait(timeout=max(0.0, min(_GLANCE, left)))
        except subprocess.TimeoutExpired:
            if left <= _GLANCE:
                return False
        else:
            return True
    return False


_GLANCE = 0.1
"""Seconds after which it is seen that nobody waits any more."""


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
        deadline = time.monotonic() + seconds
        stop = threading.Event()
        with ThreadPoolExecutor(max_workers=len(open_)) as pool:
            answers = pool.map(
                lambda place: ask(questions[place], deadline - time.monotonic(), stop), open_
            )
            try:
                for place, version in zip(open_, answers, strict=True):
                    found[place] = version
            finally:
                stop.set()  # after Ctrl-C too: the threads are waited for
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
