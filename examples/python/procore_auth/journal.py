"""The journal: what happened, for those who watch."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

Severity = Literal["debug", "info", "warning", "alert"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "alert": logging.ERROR}
_log = logging.getLogger("procore_auth")


@dataclass(frozen=True)
class Event:
    """Something that happened. Holds no secret."""

    at: int
    """When, in milliseconds since 1970."""
    severity: Severity
    code: str
    message: str
    fields: list[tuple[str, str]]


class Journal(Protocol):
    """A sink for events. Does not block for long, and does not fail: what cannot be delivered is the sink's to keep.

    An event of severity ``alert`` asks a person to act: bring it to one.
    """

    def record(self, connection: str, event: Event) -> None:
        """Takes one event of the named connection."""


class LoggingJournal:
    """Records events with :mod:`logging`, under the name ``procore_auth``; an alert is an error.

    Control characters are escaped: an event cannot forge a line of the log.
    """

    def record(self, connection: str, event: Event) -> None:
        """Takes one event."""
        fields = " ".join(f"{name}={value!r}" for name, value in event.fields)
        line = f"{connection} {event.code}: {event.message} {fields}".rstrip()
        printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
        _log.log(_LEVELS[event.severity], "%s", printable)


class JsonLinesJournal:
    """Appends one JSON object per event to a file, as the Rust host does; both may share the file.

    The file is 0600 from its creation; a symbolic link is refused. It is opened anew for each event, so that it can be renamed away at any
    time. Each line is one write. An event that cannot be written goes to :mod:`logging` as an error.
    """

    def __init__(self, path: Path | str) -> None:
        """Opens the file, and creates it where it is missing. Fails with :class:`OSError`."""
        self._path = Path(path)
        self._writing = threading.Lock()
        os.close(self._open())

    def record(self, connection: str, event: Event) -> None:
        """Appends one event."""
        line = {
            "at": _rfc3339(event.at),
            "connection": connection,
            "severity": event.severity,
            "code": event.code,
            "message": event.message,
            "fields": dict(event.fields),
        }
        try:
            self._append(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n")
        except OSError as error:
            _log.error("the event %r could not be written to %s: %s", event.code, self._path, error.strerror)

    def _append(self, line: bytes) -> None:
        # One line at a time: a write that the system cuts in two must not have another in between.
        with self._writing:
            descriptor = self._open()
            try:
                while line:
                    line = line[os.write(descriptor, line) :]
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(f"{self._path} is not a file")
        return descriptor


def _rfc3339(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
