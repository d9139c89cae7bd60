"""Exclusive locks on files, owned by the kernel: the death of a holder frees its lock at once.

They are ``flock`` locks, as the Rust host takes them. ``fcntl.lockf`` would take a lock of another kind, which excludes nobody who
took this one.

:func:`hold_briefly` is for a moment. :class:`FileLock` is for a refresh: waiters of one process queue up in memory, and only the first
of them waits in the kernel, so that a lock which changes hands between processes does so at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import ClassVar
from weakref import WeakValueDictionary

from . import private_file
from .contract import StoreFailure

_BRIEFLY = 20.0
"""Who holds a lock briefly needs it for a few small files."""
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02

_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class Held:
    """A file with its lock, until it is freed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def free(self) -> None:
        """Unlocks instead of just closing: a child process that was forked in between shares the open file."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            os.close(self._descriptor)


@contextmanager
def hold_briefly(path: Path) -> Iterator[None]:
    """Takes a lock that everybody holds for a moment only. Fails with the code ``busy`` where it does not come free."""
    until = time.monotonic() + _BRIEFLY
    pause = _FIRST_PAUSE
    while (held := _try(path)) is None:
        if time.monotonic() >= until:
            raise StoreFailure("busy", f"{path}: somebody has kept it locked for {_BRIEFLY:.0f} seconds")
        # The kernel has no wait for a file's lock that ends by itself.
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    try:
        yield
    finally:
        held.free()


def check_support(path: Path) -> None:
    """Checks that locks exclude here, and waits for none. Some network file systems grant every lock to everybody."""
    first = _try(path)
    if first is None:
        # Somebody else holds it, and that keeps this process out.
        return
    try:
        second = _try(path)
        if second is not None:
            second.free()
            raise _unsupported(path, "two holders were granted one lock")
    finally:
        first.free()


class FileLock:
    """The lock of one file, shared by everybody in this process who locks that file."""

    _all: ClassVar[WeakValueDictionary[Path, FileLock]] = WeakValueDictionary()
    _all_guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue = threading.Lock()
        # Whom to hand the lock to when the kernel grants it, and whether a thread waits for that.
        self._waiter: SimpleQueue[Held | StoreFailure] | None = None
        self._is_waited_for = False
        self._waiter_guard = threading.Lock()

    @classmethod
    def of(cls, path: Path) -> FileLock:
        """Returns the lock of the file at ``path``, which is canonical: the same one for the same path."""
        with cls._all_guard:
            lock = cls._all.get(path)
            if lock is None:
                lock = cls._all[path] = cls(path)
            return lock

    def take(self, wait: float) -> HeldInTurn | None:
        """Takes the lock; ``None`` where it was not free within ``wait`` seconds. A wait of zero takes it if it is free."""
        until = time.monotonic() + wait
        if not self._queue.acquire(timeout=min(wait, threading.TIMEOUT_MAX)):
            return None
        try:
            held = _try(self._path) or self._from_kernel(until - time.monotonic())
        except BaseException:
            self._queue.release()
            raise
        if held is None:
            self._queue.release()
            return None
        return HeldInTurn(held, self._queue)

    def _from_kernel(self, wait: float) -> Held | None:
        """Waits until the kernel grants the lock. Only the head of the queue calls this.

        A thread that waits in the kernel cannot be called back. There is one at most: the next caller takes over the one that an
        earlier caller gave up on, and where nobody waits any more when the lock is granted, it is freed at once.
        """
        if wait <= 0:
            return None
        granted: SimpleQueue[Held | StoreFailure] = SimpleQueue()
        with self._waiter_guard:
            self._waiter = granted
            if not self._is_waited_for:
                threading.Thread(target=self._grant, name="procore-auth-lock", daemon=True).start()
                self._is_waited_for = True
        return self._outcome(granted, wait)

    def _outcome(self, granted: SimpleQueue[Held | StoreFailure], wait: float) -> Held | None:
        try:
            outcome = granted.get(timeout=wait)
        except Empty:
            with self._waiter_guard:
                if self._waiter is granted:
                    self._waiter = None
                    return None
            # It was granted in this very moment.
            outcome = granted.get()
        if isinstance(outcome, StoreFailure):
            raise outcome
        return outcome

    def _grant(self) -> None:
        outcome: Held | StoreFailure
        try:
            outcome = _hold(self._path)
        except StoreFailure as failure:
            outcome = failure
        with self._waiter_guard:
            self._is_waited_for = False
            waiter, self._waiter = self._waiter, None
            if waiter is not None:
                waiter.put(outcome)
                return
        if isinstance(outcome, Held):
            outcome.free()


class HeldInTurn:
    """What a caller of :meth:`FileLock.take` holds: the file's lock, and its turn in this process. A context manager."""

    def __init__(self, held: Held, queue: threading.Lock) -> None:
        self._held = held
        self._queue = queue

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        # The file first, so that the next in the queue finds it free.
        try:
            self._held.free()
        finally:
            self._queue.release()


def _try(path: Path) -> Held | None:
    return _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _hold(path: Path) -> Held:
    held = _locked(path, fcntl.LOCK_EX)
    assert held is not None
    return held


def _locked(path: Path, operation: int) -> Held | None:
    while True:
        descriptor = private_file.open_lock_file(path)
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise _lock_failure(error, path) from error
        if _is_current(descriptor, path):
            return Held(descriptor)
        os.close(descriptor)


def _is_current(descriptor: int, path: Path) -> bool:
    """A lock on a file that somebody removed excludes nobody who comes later."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _lock_failure(error: OSError, path: Path) -> StoreFailure:
    if error.errno in _UNSUPPORTED:
        return _unsupported(path, error.strerror or "")
    return private_file.failure(error, path)


def _unsupported(path: Path, why: str) -> StoreFailure:
    message = f"{path}: the file system does not support locks ({why}); keep the store on a local disk"
    return StoreFailure("locks-unsupported", message)
