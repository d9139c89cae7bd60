"""Until when a connection's next request waits for the rate limit."""

from __future__ import annotations

import threading

from .clock import Clock


class Pause:
    """The latest pause that a reply asked for. In this process's memory: others learn of a spent window from their own replies.

    Kept on the scale of the elapsed time, so that a wall clock that is set back does not prolong it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._end = 0

    def note(self, until: int | None) -> None:
        """Notes a moment of the wall clock; an earlier one than is known changes nothing."""
        wait = 0 if until is None else until - self._clock.now()
        if wait > 0:
            with self._guard:
                self._end = max(self._end, self._clock.elapsed() + wait)

    def until(self) -> int | None:
        """Returns the moment on the wall clock as it is now; ``None`` where nothing is to be waited for."""
        left = self._end - self._clock.elapsed()
        return self._clock.now() + left if left > 0 else None
