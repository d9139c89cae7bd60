"""A connection's store, and what could not be written to it yet."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from .clock import Clock
from .journal import Severity
from .recorder import Recorder
from .store import Conflict, Entry, Store, Stored, StoreFailure, Write
from .store.contract import checked_key

_FIRST_PAUSE = 500
_LONGEST_PAUSE = 30_000
_TOP = (1 << 64) - 1


@dataclass(frozen=True)
class _Held:
    """What a key is to become."""

    value: bytes = field(repr=False)
    revision: int
    """What this process calls it."""
    expected: int | None
    """What it replaces in the store."""

    def entry(self) -> Entry:
        return Entry(self.value, self.revision)


class HoldingStore:
    """A connection's store. What cannot be written and must not be lost is held in memory until it is stored.

    While something is held, the store's lock is kept for this process, so that no other acts on what the store still says; the calls of
    this process go on taking turns, and see what is held. A thread tries to store it until that works, and keeps the interpreter from
    ending before.
    """

    def __init__(self, inner: Store, clock: Clock, recorder: Recorder) -> None:
        self._inner = inner
        self._clock = clock
        self._recorder = recorder
        self._turn = threading.Lock()
        self._state = threading.RLock()
        self._held: dict[str, _Held] = {}
        self._lock: AbstractContextManager[None] | None = None
        self._revisions = 0
        self._last_failure: StoreFailure | None = None

    @property
    def holds(self) -> bool:
        """Whether anything lives in this process alone."""
        return bool(self._held)

    def get(self, key: str) -> Entry | None:
        """As :meth:`Store.get`."""
        held = self._held.get(checked_key(key))
        return held.entry() if held else self._inner.get(key)

    def put(self, key: str, value: bytes, expected: int | None) -> Write:
        """As :meth:`Store.put`."""
        held = self._held.get(checked_key(key))
        try:
            if held is None:
                return self._inner.put(key, value, expected)
            if expected != held.revision:
                return Conflict(held.entry())
            return self._replace(key, value, held)
        except StoreFailure as failure:
            self._last_failure = failure
            raise

    def delete(self, key: str, expected: int) -> Write:
        """As :meth:`Store.delete`. What somebody else wrote meanwhile in a held entry's place stays."""
        held = self._held.get(checked_key(key))
        if held is None:
            return self._inner.delete(key, expected)
        if held.revision != expected:
            return Conflict(held.entry())
        stored = self._inner.get(key)
        if stored is not None:
            if stored.revision != held.expected and stored.value != held.value:
                return Conflict(stored)
            deleted = self._inner.delete(key, stored.revision)
            if isinstance(deleted, Conflict) and deleted.current is not None:
                return deleted
        self._let_go(key)
        return Stored(held.revision)

    def keys(self, prefix: str) -> list[str]:
        """As :meth:`Store.keys`."""
        held = {key for key in list(self._held) if key.startswith(prefix)}
        return sorted(held.union(self._inner.keys(prefix)))

    def hold(self, key: str, value: bytes, expected: int | None) -> int:
        """Holds an entry in place of the one at ``expected``; returns what to call it from now on. The caller has the lock."""
        with self._state:
            is_first = not self._held
            self._revisions += 1
            revision = _TOP - self._revisions
            earlier = self._held.get(key)
            if earlier is not None and earlier.revision == expected:
                expected = earlier.expected
            self._held[key] = _Held(value, revision, expected)
        if is_first:
            self._tell_held()
            threading.Thread(target=self._store_what_is_held, name="procore-auth-save").start()
        return revision

    def keep_unread(self, reply: bytes) -> None:
        """Keeps a reply with tokens that a stopped plugin left, under a key of its own, and tells so."""
        cause = "The plugin was stopped before it had saved them: by a defect, or a limit."
        try:
            key = self._keep_under("unread-reply", reply)
        except StoreFailure as failure:
            message = f"New tokens were received and could not be kept: {failure}."
            remedy = "Mend the store, and sign in: `procore-auth login`. Report it."
            self._tell("alert", "tokens-lost", message, cause, remedy)
            return
        if key is not None:
            message = f"New tokens were received; the reply is kept as `{key}`."
            self._tell("alert", "kept-aside", message, cause, "Sign in: `procore-auth login`. Report it.")

    def lock(self, wait: float) -> Locked | None:
        """Takes the turn in this process and the store's lock, unless that is kept already."""
        until = time.monotonic() + wait
        if not self._turn.acquire(timeout=min(wait, threading.TIMEOUT_MAX)):
            return None
        try:
            if not self._held:
                lock = self._inner.lock(max(until - time.monotonic(), 0))
                if lock is None:
                    self._turn.release()
                    return None
                lock.__enter__()
                self._lock = lock
        except BaseException:
            self._turn.release()
            raise
        return Locked(self)

    def _free(self) -> None:
        """Ends a call's turn; the lock stays where something is held."""
        try:
            self._free_lock_unless_held()
        finally:
            self._turn.release()

    def _free_lock_unless_held(self) -> bool:
        with self._state:
            if self._held:
                return False
            lock, self._lock = self._lock, None
        if lock is not None:
            lock.__exit__(None, None, None)
        return True

    def _replace(self, key: str, value: bytes, held: _Held) -> Write:
        """Writes what takes the place of a held entry. Where that fails, the held one stays."""
        written = self._inner.put(key, value, held.expected)
        if isinstance(written, Conflict) and written.current is not None and written.current.value == held.value:
            # An earlier try did write, and could not say so.
            written = self._inner.put(key, value, written.current.revision)
        if isinstance(written, Stored):
            self._saved(key)
        return written

    def _store_what_is_held(self) -> None:
        """Tries again and again, between the turns of the calls, until nothing is held."""
        pause = _FIRST_PAUSE
        while True:
            self._clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            with self._turn:
                for key, held in list(self._held.items()):
                    try:
                        self._store(key, held)
                    except StoreFailure as failure:
                        self._last_failure = failure
                if self._free_lock_unless_held():
                    return

    def _store(self, key: str, held: _Held) -> None:
        """Stores what is held. It is newer than what somebody wrote without the lock meanwhile, which is kept aside."""
        for _ in range(3):
            written = self._inner.put(key, held.value, held.expected)
            if isinstance(written, Stored) or (written.current is not None and written.current.value == held.value):
                self._saved(key)
                return
            if written.current is not None:
                self._keep_conflict(key, written.current.value)
            held = replace(held, expected=written.current.revision if written.current else None)

    def _keep_conflict(self, key: str, value: bytes) -> None:
        aside = self._keep_under(f"{key}-conflict", value)
        if aside is not None:
            self._tell(
                "alert",
                "write-without-lock",
                f"Somebody changed the store without its lock while tokens could not be saved: what was written is kept as `{aside}`.",
                "A program writes the store without taking its lock, or the lock excludes nobody.",
                "Move the store to a local disk, and let only procore-auth write it. Look at what was kept before you delete it.",
            )

    def _keep_under(self, label: str, value: bytes) -> str | None:
        """Keeps bytes under a key that they name themselves; ``None`` where they are kept already."""
        aside = checked_key(f"{label}-{hashlib.sha256(value).hexdigest()[:16]}")
        written = self._inner.put(aside, value, None)
        if isinstance(written, Stored):
            return aside
        if written.current is not None and written.current.value == value:
            return None
        raise StoreFailure("corrupt", f"the entry {aside} is not what was kept there")

    def _saved(self, key: str) -> None:
        if self._let_go(key):
            message = "The tokens that could not be saved are saved now."
            self._recorder.record("info", "tokens-saved", message, [])

    def _let_go(self, key: str) -> bool:
        """Holds an entry no more. Returns whether it was the last one."""
        with self._state:
            self._held.pop(key, None)
            return not self._held

    def _tell_held(self) -> None:
        self._tell(
            "alert",
            "tokens-not-saved",
            "New tokens were received and cannot be saved: they live in this process alone. The save is tried again until it works.",
            str(self._last_failure or ""),
            "Make the store writable while this process runs. If the process ends before, its sign-in is lost: `procore-auth login`.",
        )

    def _tell(self, severity: Severity, code: str, message: str, cause: str, remedy: str) -> None:
        self._recorder.record(severity, code, message, [("cause", cause), ("remedy", remedy)])


class Locked:
    """A call's turn with the lock."""

    def __init__(self, store: HoldingStore) -> None:
        self._store = store

    def free(self) -> None:
        """Frees the lock, unless something is held."""
        self._store._free()
