"""The machine's processes: who they are, whose they are, and a signal that cannot hit another.

Linux is read from /proc directly: it is several times faster than psutil, and field 22 of
`/proc/PID/stat` is the one start time that no change of the clock moves. Elsewhere, and when
`MARIANNE_NO_PROC=1` asks for it, psutil answers. `MARIANNE_NO_PIDFD=1` does without pidfds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from marianne_core.run.shim import TOKEN_VARIABLE, token_owners
from marianne_core.run.system_errors import shortage_of

_DEAD_STATES = frozenset("ZXx")
_TOKEN_MARK = f"\0{TOKEN_VARIABLE}=".encode()
_LONGEST_TOKEN = 256
"""Ours are shorter; an agent may set the variable to anything."""

_PR_SET_CHILD_SUBREAPER = 36
_WNOTHREAD = 0x20000000
"""Linux: only children of the calling thread."""
_LETTERS = {
    psutil.STATUS_ZOMBIE: "Z",
    psutil.STATUS_DEAD: "X",
    psutil.STATUS_STOPPED: "T",
    psutil.STATUS_DISK_SLEEP: "D",
}
"""The kernel's letters for psutil's words; all others are as good as S."""

_PSUTIL_TICKS = 100
"""Start times from psutil are given in hundredths of a second, as the kernel's ticks mostly are."""


@dataclass(frozen=True, slots=True)
class Proc:
    """One process, as one look saw it."""

    pid: int
    ppid: int
    group: int
    session: int
    state: str
    """The kernel's letter: R, S, D, T (stopped), Z (dead, not yet reaped), ..."""
    start_time: int
    """Ticks since boot (field 22 of /proc/PID/stat); with the pid it names a process for good."""
    image: int = 0
    """A number that changes when the process executes another program, and not when it forks."""

    @property
    def dead(self) -> bool:
        """It runs no more, even if nobody has reaped it."""
        return self.state in _DEAD_STATES

    @property
    def stopped(self) -> bool:
        """It was stopped (SIGSTOP, or a tracer) and handles no signal but KILL until it goes on."""
        return self.state in "Tt"


def has_proc() -> bool:
    """Whether processes are read from /proc."""
    return _PROC_IS_THERE and not os.environ.get("MARIANNE_NO_PROC")


def has_pidfd() -> bool:
    """Whether a process can be held by a descriptor that becomes readable when it ends."""
    return _PIDFD_WORKS and not os.environ.get("MARIANNE_NO_PIDFD")


def _pidfd_works() -> bool:
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        return False
    try:
        fd = os.pidfd_open(os.getpid())
    except OSError:
        return False
    try:
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return True
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


_PROC_IS_THERE = os.path.exists("/proc/self/stat")
_PIDFD_WORKS = _pidfd_works()


def boot_id() -> str:
    """A text that stays the same from one start of the machine to the next, and only so long.

    Where neither /proc nor sysctl tell one, the minute the machine was started stands in; recovery
    looks at locks and tokens first, so that a clock set anew costs nothing there.
    """
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return _sysctl_boot_session() or f"boot-{round(psutil.boot_time() / 60)}"


def _sysctl_boot_session() -> str:
    call = getattr(ctypes.CDLL(None), "sysctlbyname", None)
    if call is None:
        return ""
    value = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(len(value))
    if call(b"kern.bootsessionuuid", value, ctypes.byref(size), None, 0):
        return ""
    return value.value.decode("ascii", "replace")


def read_proc(pid: int) -> Proc | None:
    """Look at one process; None when there is none of this pid (a zombie is still one).

    Raises OSError when the system is too short of files or memory to look: that must not be taken
    for the end of the process.
    """
    return _read_stat(pid) if has_proc() else _ask_psutil(pid)


def process_start_time(pid: int) -> int | None:
    """When a process started, in ticks since boot; None when there is no such process."""
    proc = read_proc(pid)
    return proc.start_time if proc else None


def process_age(pid: int) -> float | None:
    """For how many seconds a process has run; None when there is no such process."""
    started = process_start_time(pid)
    if started is None:
        return None
    if has_proc():
        boot_clock = time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
        return max(0.0, boot_clock - started / os.sysconf("SC_CLK_TCK"))
    return max(0.0, time.time() - started / _PSUTIL_TICKS)


def process_name(pid: int) -> str:
    """What a process calls itself, for a person's eyes; "" when it is gone. Nothing is decided by it.

    A process may call itself anything: what is not printable is replaced.
    """
    try:
        if has_proc():
            name = _read_file(f"/proc/{pid}/comm").decode(errors="replace").rstrip("\n")
        else:
            name = psutil.Process(pid).name()
    except (psutil.Error, OSError):
        return ""
    return "".join(char if char.isprintable() else "?" for char in name)


def environ_token(pid: int) -> str | None:
    """The attempt's token in a process's environment; "" when it has none.

    None: the environment says nothing. It belongs to another user's process, it was cleared, or
    the process is just executing a program, which empties it for some microseconds. Raises OSError
    when the system is too short of files or memory to look.
    """
    if not has_proc():
        try:
            environ = psutil.Process(pid).environ()
        except (psutil.Error, OSError) as error:
            _raise_shortage(error)
            return None
        return environ.get(TOKEN_VARIABLE, "")[:_LONGEST_TOKEN] if environ else None
    try:
        content = b"\0" + _read_file(f"/proc/{pid}/environ")
    except OSError as error:
        _raise_shortage(error)
        return None
    if len(content) == 1:
        return None
    _, mark, rest = content.partition(_TOKEN_MARK)
    return rest.partition(b"\0")[0][:_LONGEST_TOKEN].decode("ascii", "replace") if mark else ""


def _raise_shortage(error: Exception) -> None:
    """Raise what says nothing about the process, only about the system."""
    if shortage_of(error) is not None:
        raise error


def _read_stat(pid: int) -> Proc | None:
    try:
        content = _read_file(f"/proc/{pid}/stat")
    except OSError as error:
        _raise_shortage(error)
        return None
    # The name, in parentheses, may contain anything; the fields after it are numbers.
    fields = content[content.rfind(b")") + 2 :].split(None, 26)
    if len(fields) < 26:
        return None
    state, ppid, group, session = fields[:4]
    start_time, stack = fields[19], fields[25]
    return Proc(
        pid, int(ppid), int(group), int(session), chr(state[0]), int(start_time), int(stack)
    )


def _read_file(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(fd, 65536)
        if len(content) < 4096:
            return content
        # /proc hands out an environment in pieces.
        pieces = [content]
        while pieces[-1]:
            pieces.append(os.read(fd, 65536))
        return b"".join(pieces)
    finally:
        os.close(fd)


def _ask_psutil(pid: int) -> Proc | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            status = process.status()
            return Proc(
                pid,
                process.ppid(),
                os.getpgid(pid),
                os.getsid(pid),
                _LETTERS.get(status, "S"),
                int(process.create_time() * _PSUTIL_TICKS),
                hash(tuple(process.cmdline())),
            )
    except psutil.ZombieProcess:
        return Proc(pid, 0, 0, 0, "Z", 0)
    except (psutil.Error, OSError) as error:
        _raise_shortage(error)
        return None


class Scan:
    """All processes at one moment. Environments are read when first asked for, once.

    Making one costs about 10 microseconds a process, the tokens as much again: from an event loop,
    make it in a thread.
    """

    def __init__(self) -> None:
        self.procs: dict[int, Proc] = {proc.pid: proc for proc in _all_procs()}
        """By pid; zombies included, this process left out."""
        self.procs.pop(os.getpid(), None)

    @cached_property
    def by_token(self) -> dict[str, list[Proc]]:
        """Living processes by the token they carry, and by every token that one is derived from."""
        found: defaultdict[str, list[Proc]] = defaultdict(list)
        unread = self._note_tokens(self.procs.values(), found)
        # Some may just have been executing a program: look again.
        self._note_tokens(unread, found)
        return dict(found)

    @staticmethod
    def _note_tokens(procs: Iterable[Proc], found: defaultdict[str, list[Proc]]) -> list[Proc]:
        """Add these processes under their tokens; returns those that could not be read."""
        unread = []
        for proc in procs:
            token = None if proc.dead else environ_token(proc.pid)
            if token is None:
                unread.append(proc)
            for owner in token_owners(token) if token else ():
                found[owner].append(proc)
        return unread

    @cached_property
    def by_session(self) -> dict[int, list[Proc]]:
        """All processes by their session."""
        found: defaultdict[int, list[Proc]] = defaultdict(list)
        for proc in self.procs.values():
            found[proc.session].append(proc)
        return dict(found)

    @cached_property
    def children(self) -> dict[int, list[Proc]]:
        """All processes by the pid of their parent."""
        found: defaultdict[int, list[Proc]] = defaultdict(list)
        for proc in self.procs.values():
            found[proc.ppid].append(proc)
        return dict(found)


def _all_procs() -> Iterator[Proc]:
    if has_proc():
        pids: Iterable[int] = (int(name) for name in os.listdir("/proc") if name.isdecimal())
    else:
        pids = psutil.pids()
    for pid in pids:
        # pid 0 of some systems is the kernel itself.
        if pid > 0 and (proc := read_proc(pid)):
            yield proc


def find_tokens(tokens: Iterable[str], scan: Scan | None = None) -> dict[str, list[Proc]]:
    """Which living processes carry these attempts' tokens; tokens nobody carries are left out.

    One scan serves any number of tokens. Call it in a thread, or pass a scan that was made in one.
    """
    by_token = (scan or Scan()).by_token
    return {token: by_token[token] for token in tokens if token in by_token}


def still_there(proc: Proc) -> bool:
    """Whether exactly this process still runs: same pid, same start, not a zombie."""
    now = read_proc(proc.pid)
    return now is not None and now.start_time == proc.start_time and not now.dead


def send_signal(proc: Proc, number: signal.Signals) -> bool:
    """Signal exactly this process, never a later one of the same pid; False when it is gone.

    Raises PermissionError when it belongs to somebody else now (a set-user-id program).
    """
    if not has_pidfd():
        if not still_there(proc):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(proc.pid, number)
            return True
        return False
    try:
        fd = os.pidfd_open(proc.pid)
    except ProcessLookupError:
        return False
    try:
        # Held first, looked at second: what is looked at now is what the descriptor holds.
        if not still_there(proc):
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def group_has_members(pid: int) -> bool:
    """Whether the process group that the shim `pid` led still has members: one system call.

    Ask after the shim was reaped (a zombie counts as a member). False is proof that nothing is
    left in the group; True only says that a scan is worth its price, since a stranger may have got
    the number meanwhile. Processes that left the group (daemons) are not seen; `find_tokens` finds them.
    """
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def become_subreaper() -> bool:
    """Have orphaned descendants of this process handed to it and not to pid 1 (Linux only).

    For hosts that own their process; the core never calls it. A host that does must also reap
    (`reap`). Returns False where the system cannot.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return prctl is not None and prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def adopted_children(known: set[int]) -> list[int]:
    """Pids of this process's children that are not among `known` and not in its own session.

    Under a sub-reaper these are the orphans of attempts; what the program started itself without
    a new session (a library's helper) is left to whoever waits for it.
    """
    if _first_thread_is_childless():
        return []
    own_session = os.getsid(0)
    adopted = []
    for pid in _child_pids() - known:
        proc = read_proc(pid)
        if proc and proc.session != own_session:
            adopted.append(pid)
    return sorted(adopted)


def _first_thread_is_childless() -> bool:
    """Proof that there are no orphans, in one system call; False proves nothing.

    Linux hands orphans to the first thread of a sub-reaper. Shims are children of the threads that
    spawn them, so most of the time that thread has no child at all.
    """
    if sys.platform != "linux" or threading.get_native_id() != os.getpid():
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WNOTHREAD)
    except ChildProcessError:
        return True
    return False


def _child_pids() -> set[int]:
    """Children of this process's first thread at least: orphans are handed to it."""
    if has_proc():
        with contextlib.suppress(OSError):
            pid = os.getpid()
            return {int(child) for child in _read_file(f"/proc/self/task/{pid}/children").split()}
    return {child.pid for child in psutil.Process().children()}


def reap(pids: Iterable[int]) -> list[int]:
    """Reap those of these children that are dead; returns their pids. Never waits."""
    reaped = []
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0]:
                reaped.append(pid)
    return reaped
