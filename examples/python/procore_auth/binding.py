"""What the wasmtime binding asks of those who use it.

Its conversions keep state in module globals (wasmtime 50: ``case_test_cache``, ``LAST_EXCEPTION``), so one thread at a time may be in
them. :data:`turn` is that: a call holds it while the plugin computes, and gives it up while the host works or waits.
"""

from __future__ import annotations

import threading
from typing import Any

from wasmtime import component

turn = threading.Lock()
"""Whose thread may be in the binding."""


def record(**fields: Any) -> component.Record:
    """Makes a record; ``_`` in a name stands for ``-``."""
    made = component.Record()
    for name, value in fields.items():
        setattr(made, name.replace("_", "-"), value)
    return made


def ok(payload: Any) -> component.Variant:
    """Makes the good case of a result whose cases the binding tags."""
    return component.Variant("ok", payload)


def err(payload: Any) -> component.Variant:
    """Makes the bad case of a result whose cases the binding tags."""
    return component.Variant("err", payload)
