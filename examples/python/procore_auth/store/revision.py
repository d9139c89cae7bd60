"""Revisions of the file store's entries: a counter with a random tail, never used twice for a key.

Bits 52 to 20 are the seconds since 1970, or one more than in the entry's last revision, whichever is greater; bits 19 to 0 are random.
So no revision comes back where an entry was deleted, a newer one was lost, a backup was restored or the clock stepped back.
"""

from __future__ import annotations

import secrets
import time

MAX = (1 << 53) - 1
"""The greatest revision."""

_TAIL_BITS = 20


def following(last: int | None) -> int:
    """Makes the revision that follows ``last``; ``None`` where there is no entry."""
    return _compose(last, int(time.time()), secrets.randbits(_TAIL_BITS))


def _compose(last: int | None, seconds: int, tail: int) -> int:
    follow = 0 if last is None else (last >> _TAIL_BITS) + 1
    counter = min(max(follow, seconds), MAX >> _TAIL_BITS)
    return counter << _TAIL_BITS | tail
