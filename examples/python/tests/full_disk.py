"""A disk that can be full, and a clock that a test drives."""

import threading
from typing import Any

from procore_auth import SystemClock
from procore_auth.store import Conflict, Entry, Stored, StoreFailure


class Disk:
    """A store in memory, on a disk that can be full."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.is_full = False
        self.revision = 0
        self.locked = threading.Lock()

    def get(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def put(self, key: str, value: bytes, expected: int | None) -> Any:
        if self.is_full:
            raise StoreFailure("full", "no space left")
        current = self.entries.get(key)
        if (current.revision if current else None) != expected:
            return Conflict(current)
        self.revision += 1
        self.entries[key] = Entry(value, self.revision)
        return Stored(self.revision)

    def delete(self, key: str, expected: int) -> Any:
        current = self.entries.get(key)
        if current is None or current.revision != expected:
            return Conflict(current)
        del self.entries[key]
        return Stored(expected)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.entries if key.startswith(prefix))

    def lock(self, wait: float) -> Any:
        return Lock(self.locked) if self.locked.acquire(timeout=wait) else None


class Lock:
    def __init__(self, lock: threading.Lock) -> None:
        self.lock = lock

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class Waking(SystemClock):
    """A clock whose sleeps end where a test says so."""

    def __init__(self) -> None:
        self.woken = threading.Semaphore(0)

    def sleep(self, milliseconds: int) -> None:
        self.woken.acquire()
