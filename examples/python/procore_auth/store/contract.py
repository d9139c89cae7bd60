"""What a store promises, in the words of the contract."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

Provenance = Literal["newest", "previous", "copied"]

_KEY = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True)
class Entry:
    """A value with its version. Often tokens, so ``repr`` does not show the value."""

    value: bytes = field(repr=False)
    revision: int
    provenance: Provenance = "newest"


@dataclass(frozen=True)
class Stored:
    """A write was done: the revision that was stored, or deleted."""

    revision: int


@dataclass(frozen=True)
class Conflict:
    """Nothing was written: the entry is not at the expected revision, but as given here."""

    current: Entry | None


Write = Stored | Conflict


class StoreFailure(Exception):
    """Why the store could not do as asked. The message names the place, never its content."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Store(Protocol):
    """One connection's storage: small versioned entries and one exclusive lock.

    A write that returned survives a crash; a write happens whole or not at all; a revision of a key is never used twice; an entry that
    cannot be read is a :class:`StoreFailure`, never ``None``.
    """

    def get(self, key: str) -> Entry | None:
        """Returns the entry; ``None`` where the key was never written or was deleted."""

    def put(self, key: str, value: bytes, expected: int | None) -> Write:
        """Writes the entry if it is at revision ``expected``; ``None`` expects that there is no entry."""

    def delete(self, key: str, expected: int) -> Write:
        """Deletes the entry, and every older version of it, if it is at revision ``expected``."""

    def keys(self, prefix: str) -> list[str]:
        """Returns the keys that begin with ``prefix``, in ascending order."""

    def lock(self, wait: float) -> AbstractContextManager[None] | None:
        """Takes the exclusive lock; ``None`` where it was not free within ``wait`` seconds. Leaving what is returned frees it."""


def checked_key(key: str) -> str:
    """Returns the key, which is fit for a file name; fails with the code ``invalid-key`` otherwise."""
    if _KEY.fullmatch(key) is None:
        raise StoreFailure("invalid-key", "a key is 1 to 64 characters of a-z, 0-9 and -")
    return key
