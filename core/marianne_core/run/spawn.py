"""Starting programs: one `posix_spawn`, in this thread or beside the event loop.

`posix_spawn` stands still until the child has become the other program. On a busy machine that is
as long as the child waits for a processor, half a millisecond and more, and Python's own function
holds the interpreter all the while. So the loop hands its spawns to threads that call the C
library's function, which lets the interpreter go on. Where that function cannot be called as it is
known from Linux, a spawn takes place in the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

THREADS = 2
"""Spawns at once: each is mostly a wait for a processor."""

DEFAULT_SIGNALS = frozenset(
    {
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGCHLD,
        signal.SIGALRM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    }
)
"""Signals whose default action is restored in what we start: Python ignores PIPE and XFSZ, nohup
ignores HUP, and a shell cannot un-ignore what it inherited."""

_SETSID_FIRST = (
    "import os,signal,sys\n"
    "for s in signal.SIGPIPE,signal.SIGXFSZ:signal.signal(s,signal.SIG_DFL)\n"
    "os.setsid();os.execv(sys.argv[1],sys.argv[2:])"
)
"""What the interpreter does in our place where `posix_spawn` cannot make a session."""

_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80
"""Flags of `posix_spawn` on Linux, in glibc and musl alike."""

_OPAQUE_BYTES = 1024
"""Room for the C library's own structures; glibc and musl need up to 336."""

_SIGSET_BYTES = 256
_ENVIRONMENTS = 64
"""Environments that are kept ready."""

FileAction = tuple[Any, ...]
"""As `os.posix_spawn` takes it: `(os.POSIX_SPAWN_OPEN, fd, path, flags, mode)`, `(os.POSIX_SPAWN_DUP2, fd, new_fd)`."""


def spawn(
    path: str, argv: Sequence[str], env: Mapping[str, str], file_actions: Sequence[FileAction]
) -> int:
    """Start a program in a session of its own with default signals; returns its pid.

    The signal mask is emptied and ignored signals are restored, whatever the host did. Descriptors
    named in `file_actions` as sources must be 10 or more (`lift_descriptor`). Raises OSError, and
    ValueError for a NUL byte in an argument or a `=` in a variable's name.
    """
    try:
        return os.posix_spawn(
            path,
            list(argv),
            env,
            file_actions=file_actions,
            setsid=True,
            setsigmask=(),
            setsigdef=DEFAULT_SIGNALS,
        )
    except NotImplementedError:
        # A C library without POSIX_SPAWN_SETSID: the session is made by our interpreter, which
        # costs some 15 ms. A fork in this process would keep a copy of an attempt's lock.
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", _SETSID_FIRST, path, *argv],
            env,
            file_actions=file_actions,
            setsigmask=(),
            setsigdef=DEFAULT_SIGNALS,
        )


class Spawner:
    """Spawns for one event loop. Its threads begin with the first spawn."""

    def __init__(self, threads: int = THREADS) -> None:
        """With `threads` 0 every spawn takes place in the loop."""
        self._wanted = threads if _library() is not None else 0
        self._threads: list[threading.Thread] = []
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._environments: dict[int, tuple[Mapping[str, str], list[bytes]]] = {}

    async def spawn(
        self,
        path: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        file_actions: Sequence[FileAction],
        *,
        marks: Mapping[str, str] | None = None,
        close: Sequence[int] = (),
    ) -> int:
        """Like the function `spawn`, without keeping the loop.

        `marks` are variables beside `env`, which must not be changed as long as this spawner is
        used (it is kept as C reads it). The descriptors of `close` are closed as soon as the child
        has its copies, whatever happens. A task that is cancelled meanwhile does not learn whether
        there is a child.
        """
        mine: Sequence[int] = close
        try:
            if not self._ready():
                # One a turn: whatever else is due comes between.
                await asyncio.sleep(0)
                return spawn(path, argv, {**env, **(marks or {})}, file_actions)
            order = _Order(
                path,
                _array([_without_nul(os.fsencode(argument)) for argument in argv]),
                _array([*self._encoded(env), *_variables(marks or {})]),
                file_actions,
                close,
            )
            mine = []  # the order's now
            self._orders.put(order)
        finally:
            for fd in mine:  # what no order took over
                os.close(fd)
        return await order.done

    def close(self) -> None:
        """End the threads once the orders they have are carried out."""
        for _ in self._threads:
            self._orders.put(None)
        self._threads.clear()

    def _ready(self) -> bool:
        """Whether there are threads; they are started here. Raises RuntimeError when none can be."""
        if not self._threads and self._wanted:
            for number in range(self._wanted):
                thread = threading.Thread(
                    target=_carry_out, args=(self._orders,), name=f"mzt-spawn-{number}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    if not self._threads:
                        raise
                    break  # fewer will do
                self._threads.append(thread)
        return bool(self._threads)

    def _encoded(self, env: Mapping[str, str]) -> list[bytes]:
        """The variables as C reads them; an instrument's environment is the same object each time."""
        known = self._environments.get(id(env))
        if known is None:
            if len(self._environments) >= _ENVIRONMENTS:
                self._environments.clear()
            # With the mapping itself, so that no other one gets its id.
            known = self._environments[id(env)] = (env, _variables(env))
        return known[1]


class _Order:
    """One spawn: made in the loop, carried out in a thread."""

    __slots__ = ("_argv", "_close", "_envp", "_file_actions", "_loop", "_path", "done")

    def __init__(
        self,
        path: str,
        argv: ctypes.Array[ctypes.c_char_p],
        envp: ctypes.Array[ctypes.c_char_p],
        file_actions: Sequence[FileAction],
        close: Sequence[int],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._argv = argv
        self._envp = envp
        self._file_actions = file_actions
        self._close = close
        self.done: asyncio.Future[int] = self._loop.create_future()
        """The pid, or the OSError."""

    def carry_out(self) -> None:
        """In a thread. An order that nobody waits for any more is not carried out."""
        try:
            if self.done.cancelled():
                return
            result: int | OSError = _spawn(self._path, self._argv, self._envp, self._file_actions)
        except OSError as error:
            result = error
        finally:
            for fd in self._close:
                os.close(fd)
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, result)

    def _tell(self, result: int | OSError) -> None:
        if self.done.done():
            return
        if isinstance(result, OSError):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


def _carry_out(orders: queue.SimpleQueue[_Order | None]) -> None:
    while (order := orders.get()) is not None:
        order.carry_out()


def _variables(env: Mapping[str, str]) -> list[bytes]:
    """`NAME=value` of each. Raises ValueError for a name that cannot be one."""
    variables = []
    for name, value in env.items():
        if not name or "=" in name:
            raise ValueError("illegal environment variable name")
        variables.append(_without_nul(os.fsencode(f"{name}={value}")))
    return variables


def _without_nul(text: bytes) -> bytes:
    """The text itself. Raises ValueError for one that C would see the beginning of only."""
    if b"\0" in text:
        raise ValueError("embedded null byte")
    return text


def _array(texts: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """An array of texts as C programs get it, with NULL at its end."""
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)


class _Library:
    """The C library's functions, and the attributes that all our spawns have."""

    def __init__(self) -> None:
        """Raises OSError or AttributeError where they are not to be had."""
        # Calls of PyDLL keep the interpreter's lock: to give it up for a few instructions, and to
        # wait for it again, costs far more than they do.
        library, letting_go = ctypes.PyDLL(None), ctypes.CDLL(None)
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p

        def function(name: str, *arguments: Any, of: ctypes.CDLL = library) -> Any:
            found = getattr(of, name)
            found.argtypes, found.restype = arguments, number
            return found

        spawn = pointer, text, pointer, pointer, pointer, pointer
        self.spawn = function("posix_spawn", *spawn, of=letting_go)
        actions = "posix_spawn_file_actions_"
        self.init = function(f"{actions}init", pointer)
        self.destroy = function(f"{actions}destroy", pointer)
        self.add_dup2 = function(f"{actions}adddup2", pointer, number, number)
        self.add_open = function(f"{actions}addopen", pointer, number, text, number, ctypes.c_uint)
        empty, add = function("sigemptyset", pointer), function("sigaddset", pointer, number)
        no_signals = ctypes.create_string_buffer(_SIGSET_BYTES)
        defaults = ctypes.create_string_buffer(_SIGSET_BYTES)
        empty(no_signals)
        empty(defaults)
        for each in DEFAULT_SIGNALS:
            add(defaults, each)
        self.attributes = ctypes.create_string_buffer(_OPAQUE_BYTES)
        function("posix_spawnattr_init", pointer)(self.attributes)
        set_flags = function("posix_spawnattr_setflags", pointer, ctypes.c_short)
        set_flags(self.attributes, _SETSIGDEF | _SETSIGMASK | _SETSID)
        function("posix_spawnattr_setsigmask", pointer, pointer)(self.attributes, no_signals)
        function("posix_spawnattr_setsigdefault", pointer, pointer)(self.attributes, defaults)


@cache
def _library() -> _Library | None:
    if sys.platform != "linux":
        return None  # the flags have other values there
    try:
        return _Library()
    except (OSError, AttributeError):
        return None


def _spawn(
    path: str,
    argv: ctypes.Array[ctypes.c_char_p],
    envp: ctypes.Array[ctypes.c_char_p],
    file_actions: Iterable[FileAction],
) -> int:
    """`posix_spawn` without the interpreter's lock; returns the pid. Raises OSError."""
    library = _library()
    assert library is not None
    actions = ctypes.create_string_buffer(_OPAQUE_BYTES)
    _check(library.init(actions), path)
    try:
        for kind, *what in file_actions:
            if kind == os.POSIX_SPAWN_OPEN:
                fd, name, flags, mode = what
                _check(library.add_open(actions, fd, os.fsencode(name), flags, mode), path)
            else:
                assert kind == os.POSIX_SPAWN_DUP2
                _check(library.add_dup2(actions, *what), path)
        pid = ctypes.c_int()
        _check(
            library.spawn(
                ctypes.byref(pid), os.fsencode(path), actions, library.attributes, argv, envp
            ),
            path,
        )
        return pid.value
    finally:
        library.destroy(actions)


def _check(number: int, path: str) -> None:
    if number:
        raise OSError(number, os.strerror(number), path)
