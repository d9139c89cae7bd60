"""Where the events of one connection go."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from .clock import Clock
from .journal import Event, Journal, Severity

_NEWS = 3_600_000
"""For how many milliseconds an alert that comes again is no news."""

_log = logging.getLogger("procore_auth")


class Recorder:
    """Hands the events of one connection, the plugin's and its host's, to every journal."""

    def __init__(self, connection: str, clock: Clock, journals: Iterable[Journal]) -> None:
        self._connection = connection
        self._clock = clock
        self._journals = tuple(journals)
        self._told: dict[tuple[str, str], int] = {}
        self._guard = threading.Lock()

    def record(self, severity: Severity, code: str, message: str, fields: list[tuple[str, str]]) -> None:
        """Records an event."""
        event = Event(self._clock.now(), severity, code, message, fields)
        for journal in self._journals:
            try:
                journal.record(self._connection, event)
            except Exception:
                _log.exception("a journal failed")

    def record_of_plugin(self, severity: Severity, code: str, message: str, fields: list[tuple[str, str]]) -> None:
        """Records an event of the plugin: an alert that was told of late as a warning.

        The plugin notes in the store what it has told; where the store cannot be written, it tells it at every call.
        """
        if severity == "alert" and not self._is_news(code, dict(fields).get("stage")):
            severity = "warning"
        if code == "recovered":
            self.forget()
        self.record(severity, code, message, fields)

    def forget(self) -> None:
        """Notes that the store or the connection works: whatever is told from now on is news."""
        with self._guard:
            self._told.clear()

    def _is_news(self, code: str, stage: str | None) -> bool:
        if stage is None:
            return True
        now = self._clock.elapsed()
        with self._guard:
            self._told = {told: at for told, at in self._told.items() if now - at < _NEWS}
            return self._told.setdefault((code, stage), now) == now
