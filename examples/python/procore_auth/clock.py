"""Time, as lent to the plugin. In milliseconds."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks and a wait."""

    def now(self) -> int:
        """Returns the wall clock: milliseconds since 1970. It may jump in both directions."""

    def elapsed(self) -> int:
        """Returns the milliseconds since an arbitrary fixed point, never decreasing."""

    def sleep(self, milliseconds: int) -> None:
        """Returns after this time."""


class SystemClock:
    """The system's clocks."""

    def now(self) -> int:
        """Returns the wall clock."""
        return time.time_ns() // 1_000_000

    def elapsed(self) -> int:
        """Returns the monotonic clock."""
        return time.monotonic_ns() // 1_000_000

    def sleep(self, milliseconds: int) -> None:
        """Sleeps this thread."""
        time.sleep(milliseconds / 1000)
