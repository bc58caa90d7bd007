"""Waiting for shims and helper processes, without a thread where the system has pidfds.

A pidfd in the event loop costs about 30 microseconds an attempt. Without one, a thread waits in a
blocking shared flock on the attempt's status file: the shim holds that lock as long as it lives,
whoever started it, so one way serves our children and those of an earlier conductor alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from marianne_core.run.attempt_files import look_at_status, open_status_to_wait
from marianne_core.run.processes import has_pidfd

Ended = asyncio.Future[int | None]
"""How a process ended: its exit status, minus a signal's number, or None if it was not our child."""

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
"""The system is short of descriptors or memory for now (ENOSPC: of places to watch)."""

_AGAIN_AFTER = 0.2
"""Seconds until a file is opened again that could not be for want of descriptors."""

_awaited: dict[Ended, int] = {}
"""Children of this process that some Waiter will reap, by the future of their end. One for all
Waiters: children belong to the process, and whoever reaps orphans must see those of every loop."""


class Waiter:
    """Tells an event loop when processes are gone. Reaps our children, each by its own pid.

    Cancelling a future it gave out does not stop the waiting: the child is reaped all the same.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._pidfds: dict[int, Ended] = {}
        self._epoll: select.epoll | None = None
        """Holds all pidfds, and the loop holds it: much cheaper than one reader of the loop each."""
        self._closed = False

    @staticmethod
    def awaited() -> set[int]:
        """Pids of all children of this process that a Waiter (this one or another) will reap."""
        return set(_awaited.values())

    def exited(self, pid: int | None, status: Path | str, *, child: bool = True) -> Ended:
        """A future of a shim's end. `child=False` for an adopted shim; its result is None.

        With `pid=None` (the holder is unknown) it is the lock that is waited for. A shortage of
        descriptors ends no waiting. Raises OSError when the status file cannot be read.
        """
        if pid is None or not has_pidfd():
            return self._wait_for_lock(pid if child else None, status)
        if child:
            return self.child_exited(pid)
        try:
            return self._wait_for_adopted(pid, status)
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            return self._wait_for_lock(None, status)

    def child_exited(self, pid: int) -> Ended:
        """A future of the end of a child that has no status file."""
        if has_pidfd():
            try:
                return self._wait_for_pidfd(os.pidfd_open(pid), pid)
            except ProcessLookupError:
                return self._gone()
            except OSError:
                # No descriptor left (EMFILE): a thread needs none, and the child must be reaped.
                pass
        return self._wait_in_thread(lambda: _reap(pid), pid)

    def close(self) -> None:
        """Stop waiting; futures that are not done stay so. Processes are left alone.

        Threads that wait for a lock end with it, or with the program (they are daemons).
        """
        self._closed = True
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        for fd, future in self._pidfds.items():
            os.close(fd)
            _awaited.pop(future, None)
        self._pidfds.clear()

    def _gone(self) -> Ended:
        future: Ended = self._loop.create_future()
        future.set_result(None)
        return future

    def _wait_for_adopted(self, pid: int, status: Path | str) -> Ended:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return self._gone()
        try:
            held = look_at_status(status).held
        except OSError:
            os.close(fd)
            raise
        if not held:
            # It ended before we held it, and its pid may be somebody else's by now. The other way
            # round there is no doubt: lock held now, so what was opened before was the shim.
            os.close(fd)
            return self._gone()
        return self._wait_for_pidfd(fd)

    def _wait_for_pidfd(self, fd: int, child: int | None = None) -> Ended:
        future: Ended = self._loop.create_future()
        try:
            # Told once: a program that is just being started has a copy of the descriptor, so that
            # it may stand here for a moment after it was closed.
            self._opened_epoll().register(fd, select.EPOLLIN | select.EPOLLONESHOT)
        except OSError:
            os.close(fd)
            raise
        self._pidfds[fd] = future
        if child is not None:
            _awaited[future] = child
        return future

    def _opened_epoll(self) -> select.epoll:
        if self._epoll is None:
            epoll = select.epoll()
            try:
                self._loop.add_reader(epoll.fileno(), self._some_ended, epoll)
            except OSError:
                epoll.close()
                raise
            self._epoll = epoll
        return self._epoll

    def _some_ended(self, epoll: select.epoll) -> None:
        for fd, _ in epoll.poll(0):
            future = self._pidfds.pop(fd)
            try:
                result = _reap_pidfd(fd)
            finally:
                os.close(fd)
                _awaited.pop(future, None)
            if not future.done():
                future.set_result(result)

    def _wait_for_lock(self, child: int | None, status: Path | str) -> Ended:
        try:
            fd = open_status_to_wait(status)
        except OSError as error:
            if child is not None:
                return self._wait_in_thread(lambda: _reap(child), child)
            if isinstance(error, FileNotFoundError):
                return self._gone()
            if error.errno not in _SHORTAGES:
                raise
            return self._wait_in_thread(lambda: self._wait_patiently(status), None)

        def wait() -> int | None:
            _wait_until_free(fd)
            # The lock is freed a moment before the process is dead.
            return None if child is None else _reap(child)

        return self._wait_in_thread(wait, child)

    def _wait_patiently(self, status: Path | str) -> None:
        """Wait for a lock whose file cannot be opened before other files are closed. In a thread."""
        while not self._closed:
            try:
                fd = open_status_to_wait(status)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    raise
                time.sleep(_AGAIN_AFTER)
            else:
                _wait_until_free(fd)
                return

    def _wait_in_thread(self, wait: Callable[[], int | None], child: int | None) -> Ended:
        future: Ended = self._loop.create_future()
        if child is not None:
            _awaited[future] = child

        def run() -> None:
            try:
                result: int | OSError | None = wait()
            except OSError as error:
                result = error
            finally:
                _awaited.pop(future, None)
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._thread_done, future, result)

        threading.Thread(target=run, name="mzt-wait", daemon=True).start()
        return future

    def _thread_done(self, future: Ended, result: int | OSError | None) -> None:
        if future.done() or self._closed:
            return
        if isinstance(result, OSError):
            future.set_exception(result)
        else:
            future.set_result(result)


def _wait_until_free(fd: int) -> None:
    """Wait for the lock of a status file; closes the descriptor."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _reap(pid: int) -> int | None:
    """Wait for a child that is dead or about to die; None when somebody else reaped it."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _reap_pidfd(fd: int) -> int | None:
    # By the descriptor and not by the pid: an adopted shim's pid may be a new child's already.
    try:
        result = os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
