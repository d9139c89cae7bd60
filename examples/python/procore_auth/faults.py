"""How calls that go wrong are told: once when it begins, and once when it is over."""

from __future__ import annotations

import threading

from .errors import Internal
from .recorder import Recorder


class Faults:
    """The functions whose last call ended with a fault, so that a fault that lasts is one alert."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._guard = threading.Lock()
        self._faulty: set[str] = set()

    def note(self, function: str, error: Internal) -> None:
        """Notes that a call of ``function`` ended with a defect of the plugin or its host."""
        with self._guard:
            is_first = function not in self._faulty
            self._faulty.add(function)
        self._recorder.record("alert" if is_first else "warning", error.code, error.summary, [("function", function)])

    def note_success(self, function: str) -> None:
        """Notes that a call of ``function`` ended as it should, be it with a result or with an error of the plugin."""
        with self._guard:
            if function not in self._faulty:
                return
            self._faulty.remove(function)
        self._recorder.record("info", "plugin-recovered", "the plugin works again", [("function", function)])
