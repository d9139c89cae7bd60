"""The access token that is handed out without asking the plugin."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from .answers import Token
from .clock import Clock


@dataclass(frozen=True)
class _Kept:
    token: Token
    received_at: int
    received_after: int

    def is_current(self, clock: Clock) -> bool:
        now, elapsed = clock.now(), clock.elapsed() - self.received_after
        good_for = self.token.refresh_at - self.received_at
        return self.received_at <= now < self.token.refresh_at and elapsed < good_for


class TokenCache:
    """Keeps the current access token until its refresh moment, which the plugin decided: the cache only compares.

    It trusts neither clock alone: the wall clock may be set back, and the elapsed time may stand still while the machine sleeps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._kept: _Kept | None = None
        self._generation = 0

    def current(self) -> Token | None:
        """Returns the token while it is not due for a refresh."""
        kept = self._kept
        return kept.token if kept is not None and kept.is_current(self._clock) else None

    def generation(self) -> int:
        """Returns the present generation, to be given to :meth:`fill`."""
        return self._generation

    def fill(self, token: Token, generation: int) -> None:
        """Keeps a token, unless the cache has changed since ``generation``: then the token may be older than what changed it."""
        with self._guard:
            if generation == self._generation:
                self._generation += 1
                self._kept = _Kept(token, self._clock.now(), self._clock.elapsed())

    def clear(self, where: Callable[[Token], bool] = lambda _: True) -> None:
        """Forgets the token, and keeps calls that run from putting theirs in its place."""
        with self._guard:
            if self._kept is None or where(self._kept.token):
                self._generation += 1
                self._kept = None
